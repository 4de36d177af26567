/* SPDX-License-Identifier: MIT */
/* The zones of address space: two low ones, where a 39-bit IOMMU reaches them, and further ones above 512 GiB as they are
 * needed. Nothing is reserved: what is mapped is what is used. */
#include "memory/zones.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/procmaps.h"

#define GIB ((uintptr_t)1 << 30)
#define LOW_START (256 * GIB)
#define HEAP_END (416 * GIB)
#define LOW_END (512 * GIB - BLOCK_SIZE)
#define FURTHER_START (1024 * GIB)
#define FURTHER_END (64 * 1024 * GIB)
#define FURTHER (256 * GIB) /* size of the zones above 512 GiB */

struct zone zones[MAX_ZONES];
_Atomic unsigned nr_zones;
struct lock zones_lock = {.rank = LOCK_ARENA};
LOCK_ON_LIST(zones_lock);

static bool add_zone(enum zone_kind kind, uintptr_t start, uintptr_t end)
{
    unsigned n = atomic_load_explicit(&nr_zones, memory_order_relaxed);
    struct zone *zone = &zones[n];
    if (n == MAX_ZONES || runs_init(&zone->runs, start, end - start) != 0)
        return false;
    size_t dirty_len = (end - start) >> OS_PAGE_SHIFT >> 3, whole_len = (end - start) >> BLOCK_SHIFT >> 3;
    if (kind == ZONE_HEAP) {
        zone->dirty = pool_map(dirty_len + whole_len + sizeof(uint64_t));
        if (!zone->dirty)
            return false;
        zone->whole = zone->dirty + dirty_len / sizeof(uint64_t);
    }
    zone->kind = kind;
    zone->start = start;
    zone->end = end;
    atomic_store_explicit(&nr_zones, n + 1, memory_order_release);
    return true;
}

void zones_init(void)
{
    add_zone(ZONE_HEAP, LOW_START, HEAP_END);
    add_zone(ZONE_MAP, HEAP_END, LOW_END);
}

static size_t further_up(size_t value)
{
    return (value + FURTHER - 1) & ~(FURTHER - 1);
}

/* Where `size` bytes are free, as far as that can be told, at or after `at`. */
static uintptr_t find_free(uintptr_t at, size_t size)
{
    struct procmaps maps;
    struct procmaps_entry entry;
    if (procmaps_open(&maps) != 0)
        return at;
    while (procmaps_next(&maps, &entry) && entry.start < at + size)
        if (entry.end > at)
            at = further_up(entry.end);
    procmaps_close(&maps);
    return at;
}

bool zones_grow(enum zone_kind kind, size_t len)
{
    uintptr_t at = FURTHER_START;
    for (unsigned i = 0; i < nr_zones; i++)
        if (zones[i].end > at)
            at = zones[i].end;
    if (len > FURTHER_END)
        return false;
    size_t size = further_up(len);
    at = find_free(at, size);
    if (at + size > FURTHER_END)
        return false;
    log_write(LOG_INFO, "the low arena is full: memory from 0x%lx on is used, out of reach of a 39-bit IOMMU",
              at);
    return add_zone(kind, at, at + size);
}

struct zone *zone_of(uintptr_t addr)
{
    unsigned n = atomic_load_explicit(&nr_zones, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if (addr >= zones[i].start && addr < zones[i].end)
            return &zones[i];
    return NULL;
}

intptr_t zone_map_free(uintptr_t addr, size_t len, int prot, int flags)
{
    intptr_t got = pages_ops->map(addr, len, prot, flags, -1, 0);
    if (os_is_error(got) || (uintptr_t)got == addr)
        return got;
    pages_ops->unmap((uintptr_t)got, len);
    /* From 6.7 to 6.12 the kernel passes over a hint for 2 MiB and more behind which less than that is free. */
    if (len >= BLOCK_SIZE && procmaps_is_free(addr, addr + len))
        return pages_ops->map(addr, len, prot, flags | MAP_FIXED, -1, 0);
    return -EEXIST;
}

void zone_close_taken(struct zone *zone, uintptr_t start, size_t len)
{
    struct procmaps maps;
    struct procmaps_entry entry;
    bool is_seen = false;
    if (procmaps_open(&maps) == 0) {
        while (procmaps_next(&maps, &entry)) {
            if (entry.end <= start || entry.start >= start + len)
                continue;
            pages_apply(zone, entry.start > zone->start ? entry.start : zone->start,
                        entry.end < zone->end ? entry.end : zone->end, PAGE_TAKEN, NULL);
            is_seen = true;
        }
        procmaps_close(&maps);
    }
    if (!is_seen)
        pages_apply(zone, start, start + len, PAGE_TAKEN, NULL);
}
