/* SPDX-License-Identifier: MIT */
/* The lookups that tests/bench/lookup.c compares, and how one slice of any of them is timed: as a chain, each
 * address depending on the answer before, or as independent lookups. */
#ifndef BENCH_LOOKUP_OPS_H
#define BENCH_LOOKUP_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op {
    OP_LOOP, /* the loop itself, subtracted from all others */
    OP_L1,   /* one load that hits the first cache */
    OP_ANYDMA,
    OP_TWO_LEVEL,
    OP_SKIPLIST,
    OP_BSEARCH,
    OP_DPDK,
    OP_UCX,          /* its registration cache */
    OP_ANYDMA_RANGE, /* 128 KiB */
    OP_TWO_LEVEL_RANGE,
    NR_OPS
};
extern const char *const op_names[NR_OPS];

enum { RANGE_BYTES = 128 << 10 };

/* What the peers are told of a registered range. */
void ops_register(uint64_t va, uint64_t len);
/* Peers that search ranges forget them all. */
void ops_forget(void);

/* Nanoseconds a lookup over addrs[0..n). */
double ops_time(enum op op, bool is_chain, const uint64_t *addrs, size_t n);

/* lookup_dpdk.c; init returns whether DPDK's memory layer could be had. */
bool dpdk_init(void);
void dpdk_register(uint64_t va, uint64_t len);
uint64_t dpdk_translate(uint64_t va);
/* lookup_ucx.c, likewise. */
bool ucx_init(void);
void ucx_register(uint64_t va, uint64_t len);
uint64_t ucx_translate(uint64_t va);

#endif
