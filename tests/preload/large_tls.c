/* SPDX-License-Identifier: MIT */
/* A program with many thread-local variables: the thread that reads the events of what is watched has none. */
#include "expect.h"

#include <sys/mman.h>

enum { BYTES = 96 << 20, PAGE = 4096, NR = 100 };

static _Thread_local char large[BYTES];

static void watched_memory_is_told_to_be_gone(void)
{
    char *at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    uint64_t iova;
    EXPECT(at != MAP_FAILED && anydma_iova_range(at, NR * PAGE, &iova) == 0);
    for (int i = 0; i < NR; i++) /* each waits until the event is read */
        EXPECT(madvise(at + (size_t)i * PAGE, PAGE, MADV_COLD) == 0 &&
               munmap(at + (size_t)i * PAGE, PAGE) == 0);
    EXPECT(anydma_iova(at) == ANYDMA_BAD_IOVA);
    EXPECT(large[0] == -1 && anydma_iova(large) != ANYDMA_BAD_IOVA); /* they can be looked up themselves */
}

int main(void)
{
    memset(large, -1, BYTES); /* no address that could be used */
    shim_must_be_there();
    behaviour("watched_memory_is_told_to_be_gone", watched_memory_is_told_to_be_gone);
    return behaviours_end();
}
