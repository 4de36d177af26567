/* SPDX-License-Identifier: MIT */
/* After mimalloc's stress test: threads come and go; each keeps some of what it allocates, mostly small, now
 * and then large, exchanges blocks with the others, and frees what it got from them. */
#include <stdatomic.h>

#include "workload.h"

enum { THREADS = 4, GENERATIONS = 25, SHARED = 1000, KEPT = 2000, STEPS = 50000 };

static _Atomic(void *) shared[SHARED];

static size_t random_size(uint64_t *seed)
{
    uint32_t kind = random_below(seed, 1000);
    if (kind == 0)
        return 1 + random_below(seed, 1 << 20);
    return kind < 10 ? 1 + random_below(seed, 32768) : 1 + random_below(seed, 512);
}

static void *stress(void *arg)
{
    uint64_t *seed = arg;
    void **kept = calloc(KEPT, sizeof(*kept));
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned slot = random_below(seed, KEPT);
        switch (random_below(seed, 4)) {
        case 0:
        case 1:
            free(kept[slot]);
            kept[slot] = take(random_size(seed));
            break;
        case 2:
            free(kept[slot]);
            kept[slot] = NULL;
            break;
        default:
            kept[slot] = atomic_exchange(&shared[random_below(seed, SHARED)], kept[slot]);
        }
    }
    for (unsigned i = 0; i < KEPT; i++)
        free(kept[i]);
    free(kept);
    return NULL;
}

int main(void)
{
    uint64_t seeds[THREADS] = {1, 2, 3, 4};
    workload_start();
    for (unsigned i = 0; i < GENERATIONS; i++) {
        run_threads(THREADS, stress, seeds, sizeof(*seeds));
        for (unsigned n = 0; n < SHARED / 2; n++)
            free(atomic_exchange(&shared[n], NULL));
    }
    return 0;
}
