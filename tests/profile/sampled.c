/* SPDX-License-Identifier: MIT */
/* Two functions allocate known amounts of small and large blocks, free some of them, and all of the heap is
 * pinned. Prints what each of them has alive: tests/profile/sampled.sh compares the samples with that. */
#include "anydma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NR_SMALL = 60000, SMALL_BYTES = 200, NR_LARGE = 300, LARGE_BYTES = 20000 };

static void *small[NR_SMALL], *large[NR_LARGE];

__attribute__((noinline)) static void allocates_small(void)
{
    for (int i = 0; i < NR_SMALL; i++)
        small[i] = malloc(SMALL_BYTES);
}

__attribute__((noinline)) static void allocates_large(void)
{
    for (int i = 0; i < NR_LARGE; i++)
        large[i] = calloc(1, LARGE_BYTES);
}

int main(void)
{
    unsigned long alive_small = 0, alive_large = 0;
    allocates_small();
    allocates_large();
    for (int i = 0; i < NR_SMALL; i += 2) {
        free(small[i]);
        small[i] = NULL;
    }
    for (int i = 0; i < NR_LARGE; i += 3)
        large[i] = realloc(large[i], 2 * LARGE_BYTES);
    for (int i = 0; i < NR_SMALL; i++) {
        alive_small += small[i] ? SMALL_BYTES : 0;
        if (small[i] && anydma_iova(small[i]) == ANYDMA_BAD_IOVA)
            return 1;
    }
    for (int i = 0; i < NR_LARGE; i++) {
        alive_large += i % 3 ? LARGE_BYTES : 0; /* the rest is main's */
        if (anydma_iova(large[i]) == ANYDMA_BAD_IOVA)
            return 1;
    }
    printf("allocates_small %lu\nallocates_large %lu\nmain %lu\n", alive_small, alive_large,
           100ul * 2 * LARGE_BYTES);
    fflush(stdout);
    _exit(0);
}
