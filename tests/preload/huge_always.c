/* SPDX-License-Identifier: MIT */
/*
 * With --thp=always what is small pages is copied into huge ones before it is pinned.
 *
 * @env ANYDMA_IOMMU=sim ANYDMA_THP=always
 */
#include "huge.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A program's purge leaves holes; what it writes there next comes as small pages. */
static void holes_are_mended_by_the_next_lookup(void)
{
    char *memory = aligned_alloc(BLOCK, LEN);
    touch(memory);
    for (size_t at = 0; at < LEN; at += BLOCK)
        EXPECT(madvise(memory + at + 4096, 4096, MADV_DONTNEED) == 0);
    touch(memory);
    size_t before = huge_now();
    look_up(memory);
    EXPECT(is_most(huge_now() - before));
    free(memory);
    malloc_trim(0);
}

static void what_a_fork_left_small_is_mended_too(void)
{
    char *memory = aligned_alloc(BLOCK, LEN);
    int release[2];
    touch(memory);
    EXPECT(pipe(release) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(release[1]);
        _exit(read(release[0], &byte, 1) != 0);
    }
    touch(memory); /* copied page by page, since the child has them too */
    size_t before = huge_now();
    close(release[1]);
    EXPECT(waitpid(child, NULL, 0) == child);
    look_up(memory);
    EXPECT(is_most(huge_now() - before));
    close(release[0]);
    free(memory);
    malloc_trim(0);
}

int main(void)
{
    if (!huge_pages_can_be_asked_for())
        return 77;
    shim_must_be_there();
    behaviour("holes_that_a_purge_left_are_mended_by_the_next_lookup", holes_are_mended_by_the_next_lookup);
    behaviour("what_a_fork_left_small_is_mended_by_the_next_lookup", what_a_fork_left_small_is_mended_too);
    return behaviours_end();
}
