/* SPDX-License-Identifier: MIT */
/*
 * How long a lookup takes, beside one load and beside the peers. Run with the shim preloaded and the
 * simulated IOMMU: lookup            hot, random over 1 GiB, 1,024 regions, pages behind a bitmap, 128 KiB
 * ranges, misses lookup dense      65,535 regions of 16 KiB back to back; with ANYDMA_GRANULE=16K each is a
 * registration of its own All figures are net of the loop around them, but where one of anydma's is compared
 * with another.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "anydma.h"
#include "bench.h"
#include "lookup_ops.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
enum { NR_ADDRS = 1 << 16, ROUNDS = 101, FAST_SLICE = 16384, SLOW_SLICE = 2048 };

/* Goals of the project: the largest ratios. */
#define GOAL_HOT 1.3
#define GOAL_PEER (1 / 1.5)
#define GOAL_PEER_THROUGHPUT (1 / 3.0)
#define LEAST_NET_NS 0.05 /* what can be told from the loop */

static uint64_t addrs[NR_ADDRS];

static uint64_t random_next(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t map_memory(uint64_t hint, uint64_t len)
{
    int fixed = hint ? MAP_FIXED_NOREPLACE : 0;
    void *memory =
        mmap((void *)hint, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    bench_require(memory != MAP_FAILED, "mmap");
    return (uint64_t)memory;
}

/* Registers it all, with the shim and with the peers. */
static void register_memory(uint64_t va, uint64_t len)
{
    uint64_t iova;
    bench_require(anydma_iova_range((void *)va, len, &iova) == 0 && iova == va,
                  "the range could not be registered");
    for (uint64_t page = va; page < va + len; page += 4096) /* publishes it */
        bench_require(anydma_iova((void *)page) == page, "a page is not registered");
    ops_register(va, len);
}

static void fill_random(uint64_t base, uint64_t len, uint64_t room_behind)
{
    for (unsigned i = 0; i < NR_ADDRS; i++)
        addrs[i] = base + random_next() % (len - room_behind);
}

static bool is_slow(enum op op)
{
    return op == OP_SKIPLIST || op == OP_BSEARCH || op == OP_DPDK || op == OP_UCX || op == OP_TWO_LEVEL_RANGE;
}

static struct samples measured[2][NR_OPS]; /* [is_chain] */

static void measure(unsigned ops)
{
    memset(measured, 0, sizeof(measured));
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned op = 0; op < NR_OPS; op++) {
            size_t n = is_slow(op) ? SLOW_SLICE : FAST_SLICE;
            for (unsigned chain = 0; chain < 2 && ops >> op & 1; chain++)
                bench_add(&measured[chain][op],
                          ops_time(op, chain, &addrs[round % (NR_ADDRS / FAST_SLICE) * FAST_SLICE], n));
        }
    }
}

static double net(bool is_chain, enum op op)
{
    double ns = bench_median(&measured[is_chain][op]) - bench_median(&measured[is_chain][OP_LOOP]);
    return ns > LEAST_NET_NS ? ns : LEAST_NET_NS;
}

static void emit(const char *bench, bool is_chain, enum op op, enum op ref, double goal)
{
    char name[64];
    snprintf(name, sizeof(name), "lookup_%s%s", bench, is_chain ? "" : "_throughput");
    bench_emit(&(struct figure){.bench = name,
                                .value = net(is_chain, op),
                                .unit = "ns",
                                .ref = op_names[ref],
                                .ref_value = net(is_chain, ref),
                                .goal = goal,
                                .spread = bench_spread(&measured[is_chain][op])});
}

/* Beside a figure of its own: the loop included, since net of it there is too little to divide by. */
static void emit_own(const char *bench, bool is_chain, enum op op, const char *ref, double ref_ns,
                     double goal)
{
    char name[64];
    snprintf(name, sizeof(name), "lookup_%s%s", bench, is_chain ? "" : "_throughput");
    bench_emit(&(struct figure){.bench = name,
                                .value = bench_median(&measured[is_chain][op]),
                                .unit = "ns with loop",
                                .ref = ref,
                                .ref_value = ref_ns,
                                .goal = goal,
                                .spread = bench_spread(&measured[is_chain][op])});
}

/* One column: beside every peer that was measured. */
static void run_column(const char *bench, unsigned peers, double goal_l1)
{
    measure(1u << OP_LOOP | 1u << OP_L1 | 1u << OP_ANYDMA | peers);
    emit(bench, true, OP_ANYDMA, OP_L1, goal_l1);
    for (unsigned chain = 2; chain-- > 0;)
        for (unsigned op = OP_TWO_LEVEL; op <= OP_UCX; op++)
            if (peers >> op & 1)
                emit(bench, chain, OP_ANYDMA, op,
                     op != OP_TWO_LEVEL ? 0
                     : chain            ? GOAL_PEER
                                        : GOAL_PEER_THROUGHPUT);
}

static const unsigned all_own_peers = 1u << OP_TWO_LEVEL | 1u << OP_SKIPLIST | 1u << OP_BSEARCH;

/* --- columns
 * ----------------------------------------------------------------------------------------------------------
 */

static uint64_t big; /* 1 GiB in whole blocks */

static void run_big(void)
{
    big = map_memory(0, GIB);
    register_memory(big, GIB);
    dpdk_register(big, GIB);
    ucx_register(big, GIB);
    unsigned peers = all_own_peers | 1u << OP_DPDK | 1u << OP_UCX;
    for (unsigned i = 0; i < NR_ADDRS; i++)
        addrs[i] = big + 123 * MIB + 4567;
    run_column("hot", peers, GOAL_HOT);
    fill_random(big, GIB, 0);
    run_column("random_1g", peers, 0);
}

static void run_range(void)
{
    fill_random(big, GIB, RANGE_BYTES);
    measure(1u << OP_LOOP | 1u << OP_ANYDMA | 1u << OP_ANYDMA_RANGE | 1u << OP_TWO_LEVEL_RANGE);
    for (unsigned chain = 2; chain-- > 0;) {
        emit_own("range_128k", chain, OP_ANYDMA_RANGE, "single_lookup",
                 bench_median(&measured[chain][OP_ANYDMA]), 2);
        emit("range_128k", chain, OP_ANYDMA_RANGE, OP_TWO_LEVEL_RANGE,
             chain ? GOAL_PEER : GOAL_PEER_THROUGHPUT);
    }
}

/* 1,024 buffers of 2 MiB, each in a cache line of the table of its own. */
static void run_regions(void)
{
    const uint64_t apart = 64 * MIB, first = 420 * GIB;
    ops_forget();
    for (unsigned i = 0; i < 1024; i++) {
        register_memory(map_memory(first + i * apart, 2 * MIB), 2 * MIB);
        ucx_register(first + i * apart, 2 * MIB);
    }
    for (unsigned i = 0; i < NR_ADDRS; i++)
        addrs[i] = first + random_next() % 1024 * apart + random_next() % (2 * MIB);
    run_column("regions_1024", all_own_peers | 1u << OP_UCX, 0);
}

/* 1 GiB of 4 KiB pages: one page of each 2 MiB is another's, so no block is registered whole. */
static void run_pages(void)
{
    fill_random(big, GIB, 0);
    measure(1u << OP_LOOP | 1u << OP_ANYDMA);
    double whole_ns[2] = {bench_median(&measured[0][OP_ANYDMA]), bench_median(&measured[1][OP_ANYDMA])};
    const uint64_t first = 490 * GIB;
    ops_forget();
    for (unsigned i = 0; i < 512; i++)
        register_memory(map_memory(first + i * 2 * MIB, 2 * MIB - 4096), 2 * MIB - 4096);
    for (unsigned i = 0; i < NR_ADDRS; i++)
        addrs[i] = first + random_next() % 512 * 2 * MIB + random_next() % (2 * MIB - 4096);
    run_column("pages_1g", all_own_peers, 0);
    for (unsigned chain = 2; chain-- > 0;)
        emit_own("pages_1g", chain, OP_ANYDMA, "anydma_2m_blocks", whole_ns[chain], 2);
}

/* An address that has no IOVA and gets none: shared memory, which can't be watched. */
static void run_misses(void)
{
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < NR_ADDRS; i++)
        addrs[i] = (uint64_t)shared;
    memset(measured, 0, sizeof(measured));
    for (unsigned round = 0; round < 11; round++) {
        bench_add(&measured[1][OP_LOOP], ops_time(OP_LOOP, true, addrs, 512));
        bench_add(&measured[1][OP_ANYDMA], ops_time(OP_ANYDMA, true, addrs, 512));
        bench_add(&measured[1][OP_TWO_LEVEL], ops_time(OP_TWO_LEVEL, true, addrs, 512));
    }
    emit("miss", true, OP_ANYDMA, OP_TWO_LEVEL, 0);
    munmap(shared, 4096);
}

static void run_dense(void)
{
    const uint64_t len = 16384, nr = 65535;
    uint64_t base = map_memory(0, nr * len), iova;
    bench_require(anydma_iova_range((void *)base, nr * len, &iova) == 0,
                  "the regions could not be registered");
    for (uint64_t page = base; page < base + nr * len; page += 4096)
        bench_require(anydma_iova((void *)page) == page, "a page is not registered");
    for (uint64_t i = 0; i < nr; i++)
        ops_register(base + i * len, len);
    struct anydma_stats stats;
    anydma_stats(&stats, sizeof(stats));
    fprintf(stderr, "lookup: %lu registrations\n", (unsigned long)stats.registrations);
    fill_random(base, nr * len, 0);
    run_column("regions_65535", all_own_peers, 0);
}

int main(int argc, char **argv)
{
    bench_require(anydma_active(), "the shim is not preloaded");
    if (argc > 1 && strcmp(argv[1], "dense") == 0) {
        bench_pin(0);
        run_dense();
        return 0;
    }
    bench_require(dpdk_init(), "DPDK's memory layer did not start");
    bench_require(ucx_init(), "UCX's registration cache did not start");
    bench_pin(0);
    run_big();
    run_range();
    run_pages();
    run_regions();
    run_misses();
    return 0;
}
