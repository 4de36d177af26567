/* SPDX-License-Identifier: MIT */
/* After glibc's bench-malloc-thread: each thread replaces random blocks of its own working set; sizes are
 * mostly small, their number falls with the square of the size. */
#include "workload.h"

enum { THREADS = 2, WORKING_SET = 1024, STEPS = 5000000, LEAST = 4, MOST = 32768 };

/* A size between LEAST and MOST whose density is that of 1/size^2. */
static size_t random_size(uint64_t *seed)
{
    double uniform = random_below(seed, 1 << 24) / (double)(1 << 24);
    return (size_t)(1 / (uniform / MOST + (1 - uniform) / LEAST));
}

static void *work(void *arg)
{
    uint64_t *seed = arg;
    void **blocks = calloc(WORKING_SET, sizeof(*blocks));
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned slot = random_below(seed, WORKING_SET);
        if (blocks[slot])
            free(blocks[slot]);
        blocks[slot] = take(random_size(seed));
    }
    for (unsigned i = 0; i < WORKING_SET; i++)
        free(blocks[i]);
    free(blocks);
    return NULL;
}

int main(void)
{
    uint64_t seeds[THREADS] = {1, 2};
    workload_start();
    run_threads(THREADS, work, seeds, sizeof(*seeds));
    return 0;
}
