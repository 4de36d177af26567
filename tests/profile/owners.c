/* SPDX-License-Identifier: MIT */
/* Owners of pinned memory that are larger than a registration, come from mmap, or were freed into the heap. Says what it
 * has by "site BYTES" lines; each function's memory is live at the end, but for freed_by's. */
#include "anydma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { NR = 8, BIG = 16 << 20, MAPPED = 5 << 20, FREED = 192 << 10, NR_FREED = 64 };

static void look_up(void *start, size_t len)
{
    struct anydma_segment segments[64];
    if (anydma_segments(start, len, segments, 64) < 0)
        exit(1);
}

static __attribute__((noinline)) void *has_big(void)
{
    void *block = malloc(BIG);
    memset(block, 1, BIG);
    return block;
}

static __attribute__((noinline)) void *has_mapped(void)
{
    void *block = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(block, 1, MAPPED);
    return block;
}

static __attribute__((noinline)) void *freed_by(void)
{
    void *block = malloc(FREED);
    memset(block, 1, FREED);
    return block;
}

/* Never written to. */
static __attribute__((noinline)) void *has_untouched(void)
{
    return mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int main(void)
{
    void *freed[NR_FREED], *block;
    struct anydma_stats stats;
    for (int i = 0; i < NR; i++) {
        look_up(block = has_big(), BIG);
        if (!block)
            return 1;
    }
    for (int i = 0; i < NR; i++)
        look_up(has_mapped(), MAPPED);
    /* A part that goes is no longer its owner's; nor is one that moves counted twice. */
    munmap(has_mapped(), MAPPED);
    char *part = has_mapped();
    munmap(part, MAPPED - (1 << 20));
    look_up(part + MAPPED - (1 << 20), 1 << 20);
    look_up(has_untouched(), MAPPED);
    for (int i = 0; i < NR_FREED; i++) {
        freed[i] = freed_by();
        look_up(freed[i], FREED);
    }
    for (int i = 0; i < NR_FREED; i++)
        free(freed[i]);
    if (anydma_stats(&stats, sizeof(stats)) != 0)
        return 1;
    printf("has_big %d\nhas_mapped %d\nhas_untouched %d\nfreed_by 0\npinned %llu\nfreed %d\n", NR * BIG,
           NR * MAPPED + (1 << 20), MAPPED, (unsigned long long)stats.pinned, FREED * NR_FREED);
    return 0;
}
