/* SPDX-License-Identifier: MIT */
/* Reserves address space: low where a 39-bit IOMMU reaches it, then wherever the kernel has room; all at once, or in
 * steps under a limit on address space (RLIMIT_AS), which a reservation counts against. Caller: memory/arena.c. */
#include "memory/zones.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/os.h"
#include "base/procmaps.h"

#define GIB ((uintptr_t)1 << 30)
#define LOW_START (256 * GIB)
#define HEAP_END (416 * GIB)
#define LOW_END (512 * GIB - BLOCK_SIZE)
#define PROBE_STEP (16 * GIB)
#define LEAST (1 * GIB)
#define FURTHER (256 * GIB) /* size of the zones above 512 GiB */
#define LIMITED_STEP ((size_t)32 << 20)

struct zone zones[MAX_ZONES];
_Atomic unsigned nr_zones;
struct lock zones_lock = {.rank = LOCK_ARENA};
uint64_t zones_held_bytes;
static bool is_limited;       /* RLIMIT_AS is in force: reserve in steps */
static bool is_locked_future; /* mlockall(MCL_FUTURE) is in force */

intptr_t zone_map_free(uintptr_t addr, size_t len, int prot, int flags)
{
    intptr_t got = os_mmap(addr, len, prot, flags, -1, 0);
    if (os_is_error(got) || (uintptr_t)got == addr)
        return got;
    os_munmap((uintptr_t)got, len);
    /* From 6.7 to 6.12 the kernel passes over a hint for 2 MiB and more behind which less than that is free. */
    if (len >= BLOCK_SIZE && procmaps_is_free(addr, addr + len))
        return os_mmap(addr, len, prot, flags | MAP_FIXED, -1, 0);
    return -EEXIST;
}

static bool reserve_at(uintptr_t addr, size_t len)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (os_is_error(zone_map_free(addr, len, PROT_NONE, flags)))
        return false;
    if (is_locked_future)
        os_munlock(addr, len);
    return true;
}

/* Finds out whether the range is free, and keeps it so where it has to be kept. */
static bool claim(enum zone_kind kind, uintptr_t addr, size_t len)
{
    return reserve_at(addr, len) && (kind == ZONE_HEAP || os_munmap(addr, len) == 0);
}

static bool add_zone(enum zone_kind kind, uintptr_t start, size_t len, uintptr_t limit)
{
    unsigned n = atomic_load_explicit(&nr_zones, memory_order_relaxed);
    struct zone *zone = &zones[n];
    if (n == MAX_ZONES || runs_init(&zone->runs, start, len) != 0)
        return false;
    size_t dirty_len = (limit - start) >> OS_PAGE_SHIFT >> 3, whole_len = (limit - start) >> BLOCK_SHIFT >> 3;
    if (kind == ZONE_HEAP) {
        zone->dirty = pool_map(dirty_len + whole_len + sizeof(uint64_t));
        if (!zone->dirty)
            return false;
        zone->whole = zone->dirty + dirty_len / sizeof(uint64_t);
    }
    zone->kind = kind;
    zone->start = start;
    zone->limit = limit;
    atomic_store_explicit(&zone->end, start + len, memory_order_relaxed);
    atomic_store_explicit(&nr_zones, n + 1, memory_order_release);
    return true;
}

/* The largest reservation that starts at or after *start and ends by `end`. */
static bool reserve_within(enum zone_kind kind, uintptr_t *start, uintptr_t end)
{
    for (uintptr_t at = *start; at < end; at += PROBE_STEP) {
        if (is_limited) {
            if (!claim(kind, at, LIMITED_STEP))
                continue;
            *start = end;
            return add_zone(kind, at, LIMITED_STEP, end);
        }
        for (size_t len = end - at; len >= LEAST; len = len / 2 & ~(BLOCK_SIZE - 1)) {
            if (!claim(kind, at, len))
                continue;
            *start = at + len;
            return add_zone(kind, at, len, at + len);
        }
    }
    return false;
}

void zones_init(void)
{
    uintptr_t heap_at = LOW_START, map_at = HEAP_END;
    is_limited = os_limit(RLIMIT_AS) != UINT64_MAX;
    bool has_heap = reserve_within(ZONE_HEAP, &heap_at, HEAP_END);
    bool has_maps = reserve_within(ZONE_MAP, &map_at, LOW_END);
    if (!has_heap || !has_maps)
        log_write(LOG_INFO,
                  "the low arena is occupied: memory above 512 GiB is used, out of reach of a 39-bit IOMMU");
    if (!has_heap)
        zones_grow(ZONE_HEAP, BLOCK_SIZE);
}

static bool grow_in_place(struct zone *zone, size_t len)
{
    uintptr_t end = atomic_load_explicit(&zone->end, memory_order_relaxed);
    size_t step = len > LIMITED_STEP ? (len + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1) : LIMITED_STEP;
    if (zone->limit - end < step || !claim(zone->kind, end, step))
        return false;
    if (runs_extend(&zone->runs, end, step) != 0)
        return false;
    atomic_store_explicit(&zone->end, end + step, memory_order_release);
    return true;
}

/* A zone above 512 GiB, where a 48-bit IOMMU reaches it. */
static bool add_further(enum zone_kind kind, size_t len)
{
    size_t want = is_limited ? len + LIMITED_STEP : len > FURTHER / 2 ? 2 * len : FURTHER;
    want = (want + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);
    for (uintptr_t at = 1024 * GIB; at + want < 64 * 1024 * GIB; at += FURTHER)
        if (!zone_of(at) && claim(kind, at, want))
            return add_zone(kind, at, want, is_limited ? at + FURTHER : at + want);
    return false;
}

bool zones_grow(enum zone_kind kind, size_t len)
{
    if (len > (size_t)1 << 46)
        return false;
    for (unsigned i = 0; i < nr_zones; i++)
        if (zones[i].kind == kind && zones[i].limit > zones[i].end && grow_in_place(&zones[i], len))
            return true;
    return add_further(kind, len);
}

struct zone *zone_of(uintptr_t addr)
{
    unsigned n = atomic_load_explicit(&nr_zones, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if (addr >= zones[i].start && addr < atomic_load_explicit(&zones[i].end, memory_order_acquire))
            return &zones[i];
    return NULL;
}

int zone_decommit(uintptr_t addr, size_t len)
{
    if (is_locked_future)
        os_munlock(addr, len); /* a new mapping would be charged and filled as locked */
    intptr_t got =
        os_mmap(addr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (os_is_error(got))
        return (int)got;
    if (is_locked_future)
        os_munlock(addr, len);
    return 0;
}

int zone_vacate(const struct zone *zone, uintptr_t addr, size_t len)
{
    return zone->kind == ZONE_MAP ? os_munmap(addr, len) : zone_decommit(addr, len);
}

void zones_lock_in_future(bool locked)
{
    is_locked_future = locked;
}

void zone_set_or_leak(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (runs_set(&zone->runs, start, len, kind) != 0)
        log_write(LOG_WARNING, "no memory to record that 0x%lx (%lu bytes) is free: it is not used again",
                  start, len);
}

void zone_for_each_run(struct zone *zone, uintptr_t start, uintptr_t end,
                       void (*change)(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind))
{
    while (start < end) {
        struct run *run = runs_at(&zone->runs, start);
        uintptr_t next = run->start + run->len < end ? run->start + run->len : end;
        change(zone, start, next - start, run->kind);
        start = next;
    }
}

void zone_let_go(struct zone *zone, uintptr_t start, size_t len)
{
    static const struct run_kind none = {.state = RUN_NONE};
    zones_held_bytes -= len;
    if (zone->kind == ZONE_HEAP || os_munmap(start, len) == 0)
        zone_set_or_leak(zone, start, len, none);
}
