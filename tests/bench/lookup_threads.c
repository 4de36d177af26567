/* SPDX-License-Identifier: MIT */
/* Lookups by two threads at once, and by one while another registers and unregisters all the time. Run as
 * lookup.c. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "anydma.h"
#include "bench.h"
#include "lookup_ops.h"

#define GIB ((uint64_t)1 << 30)
enum { NR_ADDRS = 1 << 14, ROUNDS = 201, WRITES_A_ROUND = 16 };

static uint64_t addrs[NR_ADDRS];

struct reader {
    enum op op;
    unsigned cpu;
    pthread_barrier_t *round;
    struct samples samples;
};

static void *read_in_rounds(void *arg)
{
    struct reader *reader = arg;
    bench_pin(reader->cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(reader->round);
        bench_add(&reader->samples, ops_time(reader->op, false, addrs, NR_ADDRS));
    }
    return NULL;
}

/* Nanoseconds a lookup of each of `nr` threads. */
static struct samples read_with(enum op op, unsigned nr)
{
    static struct reader readers[2];
    pthread_t threads[2];
    pthread_barrier_t round;
    pthread_barrier_init(&round, NULL, nr);
    for (unsigned i = 0; i < nr; i++) {
        readers[i] = (struct reader){.op = op, .cpu = i, .round = &round};
        pthread_create(&threads[i], NULL, read_in_rounds, &readers[i]);
    }
    for (unsigned i = 0; i < nr; i++)
        pthread_join(threads[i], NULL);
    return readers[0].samples;
}

static void emit(const char *bench, const struct samples *samples, const char *ref,
                 const struct samples *ref_samples, double goal)
{
    bench_emit(&(struct figure){.bench = bench,
                                .value = bench_median(samples),
                                .unit = "ns",
                                .ref = ref,
                                .ref_value = bench_median(ref_samples),
                                .goal = goal,
                                .spread = bench_spread(samples)});
}

static void run_two_threads(void)
{
    static struct samples one, two, two_level, bsearch;
    one = read_with(OP_ANYDMA, 1);
    two = read_with(OP_ANYDMA, 2);
    two_level = read_with(OP_TWO_LEVEL, 2);
    bsearch = read_with(OP_BSEARCH, 2);
    emit("lookup_2_threads", &two, "one_thread", &one, 0);
    emit("lookup_2_threads", &two, op_names[OP_TWO_LEVEL], &two_level, 0);
    emit("lookup_2_threads", &two, op_names[OP_BSEARCH], &bsearch, 0);
}

/* --- a writer
 * -----------------------------------------------------------------------------------------------------------
 */

static _Atomic bool is_writing, is_done;
static _Atomic unsigned nr_writes;

static void *write_when_told(void *unused)
{
    bench_pin(1);
    while (!atomic_load(&is_done)) {
        if (!atomic_load(&is_writing)) {
            __builtin_ia32_pause();
            continue;
        }
        void *block = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bench_require(anydma_iova(block) == (uint64_t)block, "the writer's block has no IOVA");
        munmap(block, 2 << 20);
        atomic_fetch_add(&nr_writes, 1);
    }
    return NULL;
}

static void run_beside_writer(void)
{
    static struct samples alone, beside;
    pthread_t writer;
    pthread_create(&writer, NULL, write_when_told, NULL);
    bench_pin(0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bench_add(&alone, ops_time(OP_ANYDMA, false, addrs, NR_ADDRS));
        unsigned before = atomic_load(&nr_writes);
        atomic_store(&is_writing, true);
        while (atomic_load(&nr_writes) - before < 1)
            __builtin_ia32_pause();
        do
            bench_add(&beside, ops_time(OP_ANYDMA, false, addrs, NR_ADDRS));
        while (atomic_load(&nr_writes) - before < WRITES_A_ROUND && beside.nr % 5);
        atomic_store(&is_writing, false);
    }
    atomic_store(&is_done, true);
    pthread_join(writer, NULL);
    emit("lookup_beside_writer", &beside, "no_writer", &alone, 1 / 0.95);
    fprintf(stderr, "lookup_threads: %u registrations and their ends beside the readers\n", nr_writes);
}

int main(void)
{
    bench_require(anydma_active(), "the shim is not preloaded");
    uint64_t state = 1, iova;
    char *big = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_require(anydma_iova_range(big, GIB, &iova) == 0, "the range could not be registered");
    for (uint64_t at = 0; at < GIB; at += 4096)
        anydma_iova(big + at);
    ops_register((uint64_t)big, GIB);
    for (unsigned i = 0; i < NR_ADDRS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        addrs[i] = (uint64_t)big + (state >> 33) % GIB;
    }
    run_two_threads();
    run_beside_writer();
    return 0;
}
