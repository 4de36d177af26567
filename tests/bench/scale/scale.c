/* SPDX-License-Identifier: MIT */
/*
 * What grows with the heap, from 1 GiB to 4 TiB of addresses, all looked up: mappings used, the shim's own
 * memory, the cost of a lookup, of a registration and of its end; and with threads, from 1 to 64. Run with
 * the shim preloaded, the simulated IOMMU, and ANYDMA_THP=never. The memory is never touched: the device
 * takes every mapping and pins nothing. A size's name is its GiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../proc.h"
#include "anydma.h"
#include "bench.h"
#include "iommu/iommu.h"
#include "scale/crowd.h"

#define GIB ((uint64_t)1 << 30)
#define BLOCK ((uint64_t)2 << 20)
enum { NR_HOT = 1024, LOOKUP_ROUNDS = 201, OP_ROUNDS = 1001, NR_SIZES = 13, MOST_ENTRIES = 65535 / 4 };

static uint64_t chunks[1 << (NR_SIZES - 1)]; /* of 1 GiB */

static int mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg, (void)iova, (void)va, (void)len;
    return 0;
}

static void unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg, (void)iova, (void)va, (void)len;
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device = {mapped, unmapped, NULL};
extern const char anydma_sim_device_pins;
const char anydma_sim_device_pins = 1;

static uint64_t random_below(uint64_t limit)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

/* Bytes of memory that the process has touched, itself and the shim's. */
static uint64_t resident(void)
{
    return proc_bytes("/proc/self/status", "RssAnon");
}

static void grow(unsigned from_gib, unsigned to_gib)
{
    for (unsigned i = from_gib; i < to_gib; i++) {
        chunks[i] = (uint64_t)malloc(GIB);
        bench_require(chunks[i] != 0, "the heap does not grow that far");
        for (uint64_t at = 0; at < GIB; at += BLOCK)
            bench_require(anydma_iova((char *)chunks[i] + at) == chunks[i] + at, "a block has no IOVA");
    }
}

/* As many addresses whatever the size, so that it is not the processor's caches that are measured. */
static double time_lookups(const uint64_t *addrs)
{
    uint64_t sum = 0, began = bench_now_ns();
    for (unsigned i = 0; i < 16 * NR_HOT; i++)
        sum += anydma_iova((void *)addrs[i % NR_HOT]);
    uint64_t ended = bench_now_ns();
    __asm__ volatile("" ::"r"(sum));
    return (double)(ended - began) / (16.0 * NR_HOT);
}

static void time_operations(struct samples *registers, struct samples *unregisters)
{
    for (unsigned i = 0; i < OP_ROUNDS; i++) {
        void *block = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint64_t began = bench_now_ns();
        bench_require(anydma_iova(block) == (uint64_t)block, "a mapping has no IOVA");
        uint64_t ended = bench_now_ns();
        bench_add(registers, (double)(ended - began));
        began = bench_now_ns();
        munmap(block, BLOCK);
        bench_add(unregisters, (double)(bench_now_ns() - began));
    }
}

static void emit(const char *what, unsigned gib, double value, double spread, const char *unit,
                 const char *ref, double ref_value, double goal)
{
    char name[64];
    snprintf(name, sizeof(name), "scale_%s_%u", what, gib);
    bench_emit(&(struct figure){name, value, unit, ref, ref_value, goal, spread});
}

/* The times, beside those of the smallest size. */
static void emit_times(const char *what, unsigned gib, const struct samples *times, double *smallest)
{
    double median = bench_median(times);
    *smallest = gib == 1 ? median : *smallest;
    emit(what, gib, median, bench_spread(times), "ns", "of_1_gib", *smallest, 0);
}

static void measure(unsigned gib, uint64_t resident_before)
{
    static double smallest[3];
    static struct samples lookups, registers, unregisters;
    uint64_t addrs[NR_HOT];
    struct anydma_stats stats;
    lookups.nr = registers.nr = unregisters.nr = 0;
    anydma_stats(&stats, sizeof(stats));
    double own = (double)(resident() - resident_before) / gib;
    emit("entries", gib, (double)stats.entries_used, 0, "mappings", "quarter_of_65535", MOST_ENTRIES, 1);
    emit("metadata", gib, own, 0, "bytes/GiB", "thousandth", (double)GIB / 1000, 1);
    for (unsigned i = 0; i < NR_HOT; i++)
        addrs[i] = chunks[random_below(gib)] + random_below(GIB);
    for (unsigned i = 0; i < LOOKUP_ROUNDS; i++)
        bench_add(&lookups, time_lookups(addrs));
    time_operations(&registers, &unregisters);
    emit_times("lookup", gib, &lookups, &smallest[0]);
    emit_times("register", gib, &registers, &smallest[1]);
    emit_times("unregister", gib, &unregisters, &smallest[2]);
}

int main(void)
{
    bench_require(anydma_active(), "the shim is not preloaded");
    bench_pin(0);
    anydma_iova(malloc(1)); /* what starts once has started */
    uint64_t before = resident();
    unsigned gib = 0;
    for (unsigned i = 0; i < NR_SIZES; i++) {
        grow(gib, 1u << i);
        gib = 1u << i;
        measure(gib, before);
    }
    crowd_run(chunks, gib);
    return 0;
}
