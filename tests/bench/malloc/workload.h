/* SPDX-License-Identifier: MIT */
/* What the malloc workloads share: random numbers, allocation with a look at the result, threads. With
 * BENCH_LOOKUP=1 in the environment each block is looked up as it is allocated, as a program does that hands
 * everything to a device. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anydma.h"

static bool looks_up;

static inline void workload_start(void)
{
    const char *value = getenv("BENCH_LOOKUP");
    looks_up = value && *value == '1';
}

static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 32) * limit >> 32);
}

/* A block whose first and last bytes are written. */
static inline void *take(size_t size)
{
    char *block = malloc(size);
    if (!block || (looks_up && anydma_iova(block) == ANYDMA_BAD_IOVA)) {
        fprintf(stderr, "workload: a block of %zu bytes could not be had or looked up\n", size);
        exit(1);
    }
    block[0] = block[size - 1] = 1;
    return block;
}

static inline void run_threads(unsigned nr, void *(*body)(void *arg), void *args, size_t arg_size)
{
    pthread_t threads[16];
    for (unsigned i = 0; i < nr; i++)
        pthread_create(&threads[i], NULL, body, (char *)args + i * arg_size);
    for (unsigned i = 0; i < nr; i++)
        pthread_join(threads[i], NULL);
}

#endif
