/* SPDX-License-Identifier: MIT */
/* After Larson and Krishnan's server simulation: threads replace random blocks of a set, then hand the set on
 * to a new thread, which frees what another allocated. */
#include "workload.h"

enum { THREADS = 2, GENERATIONS = 40, SLOTS = 4000, REPLACEMENTS = 160000 };

struct set {
    uint64_t seed;
    char *blocks[SLOTS];
};

static void *serve(void *arg)
{
    struct set *set = arg;
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        unsigned slot = random_below(&set->seed, SLOTS);
        free(set->blocks[slot]);
        set->blocks[slot] = take(10 + random_below(&set->seed, 490));
    }
    return NULL;
}

int main(void)
{
    static struct set sets[THREADS];
    workload_start();
    for (unsigned i = 0; i < THREADS; i++)
        sets[i].seed = i + 1;
    for (unsigned i = 0; i < GENERATIONS; i++)
        run_threads(THREADS, serve, sets, sizeof(*sets));
    return 0;
}
