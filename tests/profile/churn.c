/* SPDX-License-Identifier: MIT */
/* An allocation benchmark: blocks of mixed sizes in a ring, as servers have them; prints nanoseconds for each
 * pair of malloc and free. With "pin" the whole heap is pinned first, so that a capture has something to
 * tell; a number behind it is how many pairs. */
#include "anydma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NR_SLOTS = 4096, USUAL_PAIRS = 6000000 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    static char *slots[NR_SLOTS];
    uint64_t seed = 88172645463325252u, started = 0;
    int nr_pairs = argc > 2 ? atoi(argv[2]) : USUAL_PAIRS;
    for (int i = -nr_pairs / 8; i < nr_pairs; i++) {
        if (i == 0)
            started = now_ns();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        unsigned slot = (unsigned)(seed >> 20) % NR_SLOTS;
        size_t size = 16u << (seed >> 40) % 8; /* 16 bytes to 2 KiB */
        free(slots[slot]);
        slots[slot] = malloc(size);
        slots[slot][0] = 1;
        if (argc > 1 && i < 0)
            anydma_iova(slots[slot]);
    }
    printf("%.2f\n", (double)(now_ns() - started) / nr_pairs);
    return 0;
}
