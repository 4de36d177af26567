/* SPDX-License-Identifier: MIT */
/*
 * DPDK as shared libraries: rte_mem_virt2iova and rte_mem_virt2memseg of memory that is not DPDK's, for drivers that are
 * given it: rte_pktmbuf_attach_extbuf of a malloc'ed buffer and the like.
 *
 * DPDK's locks: memory_hotplug_lock, which some callers hold and these two functions do not take. So the bridge may take the
 * registry's lock; it calls back nothing.
 *
 * Where DPDK knows the memory (its own, or made known by rte_extmem_register) its answer stands. It refuses, which means that
 * DPDK's answer stands: without an attached container, what a lookup refuses, and for callers that ask about the memory
 * itself and not for a device: DPDK's memory management, and SPDK's environment, which maps what is not DPDK's. In VA mode
 * DPDK's answer would be the address, whether a device reaches it or not; in PA mode the physical address, which means
 * nothing behind an IOMMU.
 */
#include <bsd/sys/tree.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/lock.h"
#include "base/os.h"
#include "base/pool.h"
#include "interpose/bridges/bind.h"
#include "interpose/bridges/bridges.h"
#include "interpose/lookup.h"

/* Source: DPDK's rte_memory.h, since 17.11. */
struct rte_memseg {
    uint64_t iova;
    uint64_t addr;
    size_t len;
    uint64_t hugepage_sz;
    int32_t socket_id;
    uint32_t nr_channels;
    uint32_t nr_ranks;
    uint32_t flags;
};

static uint64_t virt2iova(const void *addr);
static const struct rte_memseg *virt2memseg(const void *addr, const void *list);

enum { IOVA, MEMSEG };
static struct bound_name names[] = {
    [IOVA] = {.name = "rte_mem_virt2iova", .ours = virt2iova},
    [MEMSEG] = {.name = "rte_mem_virt2memseg", .ours = virt2memseg},
};
static struct bound_library dpdk = {.witness = "rte_eal_iova_mode",
                                    .names = names,
                                    .nr_names = 2,
                                    .spared = {"rte_eal_iova_mode", "spdk_mem_register"}};

bool bridge_dpdk_bind(void)
{
    return bind_library(&dpdk);
}

static const struct rte_memseg *own_memseg(const void *addr, const void *list)
{
    const struct rte_memseg *(*next)(const void *, const void *) = (__typeof__(next))names[MEMSEG].next;
    return next ? next(addr, list) : NULL;
}

bool bridge_dpdk_owns(const void *addr)
{
    return own_memseg(addr, NULL) != NULL;
}

static uint64_t virt2iova(const void *addr)
{
    uint64_t (*next)(const void *) = (__typeof__(next))names[IOVA].next;
    uint64_t iova;
    if (!own_memseg(addr, NULL) && lookup_ahead((uintptr_t)addr, &iova) == 0)
        return iova;
    return next(addr);
}

/* --- segments for what DPDK has none of ------------------------------------------------------------------------- */

/* A page each, since a caller may take any of one for mapped. What was given out stays where it is for good. */
struct segment {
    RB_ENTRY(segment) by_addr;
    struct rte_memseg memseg;
};

static int compare_addr(const struct segment *a, const struct segment *b)
{
    return a->memseg.addr < b->memseg.addr ? -1 : a->memseg.addr > b->memseg.addr;
}

static RB_HEAD(segments, segment) segments = RB_INITIALIZER(&segments);
RB_GENERATE_INTERNAL(segments, segment, by_addr, compare_addr, __attribute__((unused)) static)
static struct pool pool = POOL_OF(struct segment);
static struct lock lock = {.rank = LOCK_BRIDGES};
LOCK_ON_LIST(lock);

static const struct rte_memseg *segment_of(uintptr_t page, uint64_t iova)
{
    struct segment wanted = {.memseg = {.addr = page}};
    lock_take(&lock);
    struct segment *segment = RB_FIND(segments, &segments, &wanted);
    if (!segment && (segment = pool_take(&pool))) {
        segment->memseg = (struct rte_memseg){.addr = page, .len = OS_PAGE_SIZE, .hugepage_sz = OS_PAGE_SIZE};
        RB_INSERT(segments, &segments, segment);
    }
    if (segment)
        segment->memseg.iova = iova;
    lock_release(&lock);
    return segment ? &segment->memseg : NULL;
}

static const struct rte_memseg *virt2memseg(const void *addr, const void *list)
{
    const struct rte_memseg *own = own_memseg(addr, list);
    uintptr_t page = (uintptr_t)addr & ~(OS_PAGE_SIZE - 1);
    uint64_t iova;
    size_t run;
    if (own || list || lookup_first(page, 1, &iova, &run) != 0)
        return own;
    return segment_of(page, iova);
}
