/* SPDX-License-Identifier: MIT */
/* The loops around each lookup. Every case below is compiled for itself, with the lookup inlined where it can
 * be. */
#include "lookup_ops.h"

#include "anydma.h"
#include "bench.h"
#include "peers.h"

const char *const op_names[NR_OPS] = {
    "loop",          "l1_load",          "anydma",     "two_level_call", "skiplist_lock",
    "mutex_bsearch", "dpdk_virt2memseg", "ucx_rcache", "anydma_range",   "two_level_call_range"};

static volatile uint64_t opaque_zero;
static uint64_t l1_cell;

static inline uint64_t do_loop(uint64_t va)
{
    return va;
}

static inline uint64_t do_l1(uint64_t cell)
{
    return *(volatile uint64_t *)cell;
}

static inline uint64_t do_anydma(uint64_t va)
{
    return anydma_iova((const void *)va);
}

static inline uint64_t do_two_level(uint64_t va)
{
    return two_level_translate(va, NULL);
}

static inline uint64_t do_anydma_range(uint64_t va)
{
    uint64_t iova = 0;
    bench_require(anydma_iova_range((const void *)va, RANGE_BYTES, &iova) == 0, "anydma_iova_range failed");
    return iova;
}

static inline uint64_t do_two_level_range(uint64_t va)
{
    uint64_t size = RANGE_BYTES, iova = two_level_translate(va, &size);
    bench_require(size == RANGE_BYTES, "the two-level table has no such range");
    return iova;
}

static inline __attribute__((always_inline)) double time_loop(uint64_t (*lookup)(uint64_t), bool is_chain,
                                                              const uint64_t *addrs, size_t n)
{
    uint64_t zero = opaque_zero, last = 0, sum = 0;
    uint64_t began = bench_now_ns();
    if (is_chain) {
        for (size_t i = 0; i < n; i++) {
            last = lookup(addrs[i] + (last & zero));
            __asm__ volatile("" : "+r"(last));
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            sum += lookup(addrs[i]);
            __asm__ volatile("" : "+r"(sum));
        }
    }
    uint64_t ended = bench_now_ns();
    opaque_zero = (last + sum) & zero;
    return (double)(ended - began) / (double)n;
}

/* The reference reads one cell, by as many different pointers as there are addresses. */
static const uint64_t *l1_addrs(size_t n)
{
    static uint64_t cells[1 << 16];
    for (size_t i = 0; !cells[n - 1] && i < sizeof(cells) / sizeof(*cells); i++)
        cells[i] = (uint64_t)(uintptr_t)&l1_cell;
    return cells;
}

double ops_time(enum op op, bool is_chain, const uint64_t *addrs, size_t n)
{
    switch (op) {
    case OP_LOOP:
        return time_loop(do_loop, is_chain, addrs, n);
    case OP_L1:
        return time_loop(do_l1, is_chain, l1_addrs(n), n);
    case OP_ANYDMA:
        return time_loop(do_anydma, is_chain, addrs, n);
    case OP_TWO_LEVEL:
        return time_loop(do_two_level, is_chain, addrs, n);
    case OP_SKIPLIST:
        return time_loop(skiplist_translate, is_chain, addrs, n);
    case OP_BSEARCH:
        return time_loop(bsearch_translate, is_chain, addrs, n);
    case OP_DPDK:
        return time_loop(dpdk_translate, is_chain, addrs, n);
    case OP_UCX:
        return time_loop(ucx_translate, is_chain, addrs, n);
    case OP_ANYDMA_RANGE:
        return time_loop(do_anydma_range, is_chain, addrs, n);
    default:
        return time_loop(do_two_level_range, is_chain, addrs, n);
    }
}

void ops_register(uint64_t va, uint64_t len)
{
    two_level_add(va, len, va);
    skiplist_add(va, len, va);
    bsearch_add(va, len, va);
}

void ops_forget(void)
{
    skiplist_clear();
    bsearch_clear();
}
