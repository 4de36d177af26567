/* SPDX-License-Identifier: MIT */
/* The heap is huge pages where it is pinned: from the first pin on as soon as it is touched, before that by a
 * copy at the lookup. */
#include "expect.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK ((size_t)2 << 20)
#define LEN (8 * BLOCK)

static char *early; /* touched before the first pin */

/* Bytes of huge pages in the whole process. */
static size_t huge_now(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    unsigned long kib = 0;
    while (file && fgets(line, sizeof(line), file) && sscanf(line, "AnonHugePages: %lu", &kib) != 1)
        ;
    if (file)
        fclose(file);
    return (size_t)kib << 10;
}

/* A machine that is short of huge pages may leave some out. */
static bool is_most(size_t bytes)
{
    return bytes >= LEN / 4 * 3;
}

static void touch(char *memory)
{
    for (size_t at = 0; at < LEN; at += 4096)
        memory[at] = 1;
}

static bool look_up(const char *memory)
{
    uint64_t iova;
    return EXPECT(anydma_iova_range(memory, LEN, &iova) == 0);
}

static void touched_before_is_collapsed_by_its_lookup(void)
{
    size_t before = huge_now();
    look_up(early);
    EXPECT(is_most(huge_now() - before));
    EXPECT(early[0] == 1 && early[LEN - 4096] == 1);
}

static void touched_afterwards_is_huge_at_once(void)
{
    char *memory = aligned_alloc(BLOCK, LEN);
    size_t before = huge_now();
    touch(memory);
    EXPECT(is_most(huge_now() - before));
    look_up(memory);
    EXPECT(is_most(huge_now() - before));
    free(memory);
    malloc_trim(0);
}

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
    char mode[64] = "";
    FILE *enabled = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (!enabled || !fgets(mode, sizeof(mode), enabled) || !strstr(mode, "[madvise]")) {
        printf(
            "only where huge pages come when they are asked for (transparent_hugepage/enabled is madvise)\n");
        return 77;
    }
    fclose(enabled);
    early = aligned_alloc(BLOCK, LEN);
    touch(early);
    expect_that(huge_now() == 0, "no huge pages before the first pin", __FILE__, __LINE__);
    behaviour("memory_touched_before_the_first_pin_is_collapsed_by_its_lookup",
              touched_before_is_collapsed_by_its_lookup);
    shim_must_be_there();
    behaviour("memory_touched_after_the_first_pin_is_huge_at_once", touched_afterwards_is_huge_at_once);
    behaviour("holes_that_a_purge_left_are_mended_by_the_next_lookup", holes_are_mended_by_the_next_lookup);
    behaviour("what_a_fork_left_small_is_mended_by_the_next_lookup", what_a_fork_left_small_is_mended_too);
    return behaviours_end();
}
