/* SPDX-License-Identifier: MIT */
/* See crowd.h. A figure is processor time that an operation takes: it stays what it is while threads do not
 * hinder each other, however many processors there are. */
#include "scale/crowd.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "anydma.h"
#include "bench.h"

#define GIB ((uint64_t)1 << 30)
#define BLOCK ((uint64_t)2 << 20)
enum { MOST_THREADS = 64, NR_HOT = 1024, ALL_LOOKUPS = 1 << 24, ALL_WRITES = 1 << 14, ROUNDS = 5 };

static uint64_t addrs[NR_HOT];
static pthread_barrier_t start;

static void *look_up(void *arg)
{
    uint64_t sum = 0;
    pthread_barrier_wait(&start);
    for (unsigned i = 0, n = ALL_LOOKUPS / *(unsigned *)arg; i < n; i++)
        sum += anydma_iova((void *)addrs[i % NR_HOT]);
    __asm__ volatile("" ::"r"(sum));
    return NULL;
}

static void *register_and_end(void *arg)
{
    pthread_barrier_wait(&start);
    for (unsigned i = 0, n = ALL_WRITES / *(unsigned *)arg; i < n; i++) {
        void *block = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bench_require(anydma_iova(block) == (uint64_t)block, "a thread's mapping has no IOVA");
        munmap(block, BLOCK);
    }
    return NULL;
}

static double processor_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static double time_crowd(void *(*work)(void *), unsigned nr, unsigned all)
{
    pthread_t threads[MOST_THREADS];
    double before = processor_ns();
    pthread_barrier_init(&start, NULL, nr);
    for (unsigned i = 0; i < nr; i++)
        bench_require(pthread_create(&threads[i], NULL, work, &nr) == 0, "no thread");
    for (unsigned i = 0; i < nr; i++)
        pthread_join(threads[i], NULL);
    return (processor_ns() - before) / all;
}

static void run(const char *what, void *(*work)(void *), unsigned all)
{
    double alone = 0;
    for (unsigned nr = 1; nr <= MOST_THREADS; nr *= 2) {
        struct samples times = {0};
        char name[64];
        for (unsigned round = 0; round < ROUNDS; round++)
            bench_add(&times, time_crowd(work, nr, all));
        alone = nr == 1 ? bench_median(&times) : alone;
        snprintf(name, sizeof(name), "scale_%s_%u_threads", what, nr);
        bench_emit(&(struct figure){name, bench_median(&times), "ns cpu", "1_thread", alone, 0,
                                    bench_spread(&times)});
    }
}

void crowd_run(const uint64_t *chunks, unsigned nr)
{
    uint64_t state = 1;
    for (unsigned i = 0; i < NR_HOT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        addrs[i] = chunks[(state >> 40) % nr] + (state >> 33) % GIB;
    }
    run("lookup", look_up, ALL_LOOKUPS);
    run("register_and_end", register_and_end, ALL_WRITES);
}
