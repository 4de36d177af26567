/* SPDX-License-Identifier: MIT */
/* Hands out, takes back and purges the arena's pages; answers what the registry asks. Owns LOCK_ARENA. */
#include "memory/arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/config.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/pagemap.h"
#include "memory/huge.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

struct arena_bounds arena_first_heap;

static const struct run_kind none = {.state = RUN_NONE};
static const struct run_kind ready = {.state = RUN_READY, .prot = RW, .flags = RUN_ORDINARY};
static const struct run_kind heap_used = {.state = RUN_USED, .prot = RW, .flags = RUN_ORDINARY};

void arena_init(void)
{
    zones_init();
    for (unsigned i = nr_zones; i-- > 0;)
        if (zones[i].kind == ZONE_HEAP)
            arena_first_heap = (struct arena_bounds){zones[i].start, zones[i].end - zones[i].start};
}

bool arena_contains(uintptr_t addr)
{
    return zone_of(addr) != NULL;
}

bool arena_is_heap(uintptr_t addr)
{
    struct zone *zone = zone_of(addr);
    return zone && zone->kind == ZONE_HEAP;
}

uintptr_t arena_split(uintptr_t addr, uintptr_t end, bool *inside)
{
    unsigned n = atomic_load_explicit(&nr_zones, memory_order_acquire);
    *inside = false;
    for (unsigned i = 0; i < n; i++) {
        if (addr >= zones[i].start && addr < zones[i].end) {
            *inside = true;
            return zones[i].end < end ? zones[i].end : end;
        }
        if (zones[i].start > addr && zones[i].start < end)
            end = zones[i].start;
    }
    return end;
}

/* Granules of the heap: small at the bottom, larger further up, so that a heap of 4 TiB needs less than a quarter of the
 * 65,535 mappings of a container: 9,216 up to 416 GiB, 4,096 up to 2 TiB, 1,024 for each TiB above. */
static size_t granule_at(const struct zone *zone, uintptr_t addr)
{
    if (config.granule_bytes)
        return config.granule_bytes;
    if (zone != &zones[0])
        return addr < 2048 * GIB ? 256 * MIB : GIB;
    size_t offset = addr - zone->start;
    return offset < 8 * GIB ? BLOCK_SIZE : offset < 64 * GIB ? 16 * MIB : 64 * MIB;
}

/* --- the dirty map: pages that were kept instead of purged, to be zeroed before their next use ------------------------ */

static void set_dirty(struct zone *zone, uintptr_t start, size_t len, bool dirty)
{
    size_t first = (start - zone->start) >> OS_PAGE_SHIFT, last = first + (len >> OS_PAGE_SHIFT) - 1;
    for (size_t word = first / 64; word <= last / 64; word++) {
        uint64_t mask = UINT64_MAX;
        if (word == first / 64)
            mask &= UINT64_MAX << (first % 64);
        if (word == last / 64)
            mask &= UINT64_MAX >> (63 - last % 64);
        if (dirty)
            atomic_fetch_or_explicit(&zone->dirty[word], mask, memory_order_relaxed);
        else if (atomic_load_explicit(&zone->dirty[word], memory_order_relaxed) & mask)
            atomic_fetch_and_explicit(&zone->dirty[word], ~mask, memory_order_relaxed);
    }
}

/* Takes the pages of the range out of the map. Returns how many were in it. */
static size_t take_dirty(struct zone *zone, uintptr_t start, size_t len)
{
    size_t page = (start - zone->start) >> OS_PAGE_SHIFT, end = page + (len >> OS_PAGE_SHIFT), nr = 0;
    for (size_t next; page < end; page = next) {
        next = (page | 63) + 1;
        uint64_t mask = UINT64_MAX << (page % 64);
        if (next > end)
            mask &= UINT64_MAX >> (next - end);
        if (atomic_load_explicit(&zone->dirty[page / 64], memory_order_relaxed) & mask)
            nr += (size_t)__builtin_popcountll(
                atomic_fetch_and_explicit(&zone->dirty[page / 64], ~mask, memory_order_relaxed) & mask);
    }
    return nr;
}

static void zero_dirty(struct zone *zone, uintptr_t start, size_t len)
{
    size_t page = (start - zone->start) >> OS_PAGE_SHIFT, end = page + (len >> OS_PAGE_SHIFT);
    while (page < end) {
        uint64_t word = atomic_load_explicit(&zone->dirty[page / 64], memory_order_relaxed);
        if (!(word >> (page % 64))) {
            page = (page | 63) + 1;
            continue;
        }
        if (word >> (page % 64) & 1) {
            atomic_fetch_and_explicit(&zone->dirty[page / 64], ~(UINT64_C(1) << (page % 64)),
                                      memory_order_relaxed);
            memset((void *)(zone->start + (page << OS_PAGE_SHIFT)), 0, OS_PAGE_SIZE);
        }
        page++;
    }
}

/* --- the heap's pages ------------------------------------------------------------------------------------------------ */

static _Atomic bool keeps_pages;         /* of what is nobody's: who watches pages go would not hear of it */
static bool is_economical;               /* what is committed and not used is too much */
static size_t decommit_least = 16 * MIB; /* smaller stretches stay committed, without pages */

/* Commits the granules around [start, start + len) as far as `run`, which is RUN_NONE, goes. */
static int commit(struct zone *zone, const struct run *run, uintptr_t start, size_t len,
                  uintptr_t *committed_end)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    size_t granule = granule_at(zone, start);
    if (granule < BLOCK_SIZE || is_economical)
        granule = BLOCK_SIZE;
    uintptr_t run_end = run->start + run->len;
    uintptr_t end = (start + len + granule - 1) & ~(granule - 1);
    if (end > run_end)
        end = run_end;
    intptr_t got = zone_map_free(start, end - start, RW, flags);
    if (os_is_error(got)) {
        end = start + len;
        got = zone_map_free(start, end - start, RW, flags);
    }
    if (got == -EEXIST)
        zone_close_taken(zone, start, len);
    if (os_is_error(got))
        return (int)got;
    huge_committed(zone, start, end - start);
    *committed_end = end;
    return runs_set(&zone->runs, start, end - start, ready);
}

static uintptr_t take_ready(struct zone *zone, size_t len, size_t align)
{
    uintptr_t start;
    if (!runs_fit(&zone->runs, RUN_READY, len, align, &start) ||
        runs_set(&zone->runs, start, len, heap_used) != 0)
        return 0;
    return start;
}

/* Returns 0 and *start; -ENOSPC: the zone has no room; or the kernel's refusal. */
static int take_fresh(struct zone *zone, size_t len, size_t align, uintptr_t *start, uintptr_t *committed_end)
{
    struct run *run;
    int error = -EEXIST;
    while (error == -EEXIST) {
        run = runs_fit(&zone->runs, RUN_NONE, len, align > BLOCK_SIZE ? align : BLOCK_SIZE, start);
        error = run ? commit(zone, run, *start, len, committed_end) : -ENOSPC;
    }
    return error ? error : runs_set(&zone->runs, *start, len, heap_used);
}

static uintptr_t take_locked(size_t len, size_t align, struct zone **from, uintptr_t *committed_end)
{
    uintptr_t start;
    int error = -ENOSPC;
    for (unsigned i = 0; i < nr_zones; i++) {
        *from = &zones[i];
        if (zones[i].kind == ZONE_HEAP && (start = take_ready(&zones[i], len, align)) != 0)
            return start;
    }
    for (unsigned i = 0; error == -ENOSPC && (i < nr_zones || zones_grow(ZONE_HEAP, len + align)); i++) {
        *from = &zones[i];
        if (zones[i].kind == ZONE_HEAP)
            error = take_fresh(&zones[i], len, align, &start, committed_end);
    }
    return error ? 0 : start;
}

/* Where the stretch of blocks that are all pinned, or all not, ends. */
static uintptr_t same_pinned_until(uintptr_t start, uintptr_t end, bool *is_pinned)
{
    uintptr_t next = (start | (BLOCK_SIZE - 1)) + 1;
    *is_pinned = pagemap_is_pinned(start);
    while (next < end && pagemap_is_pinned(next) == *is_pinned)
        next += BLOCK_SIZE;
    return next < end ? next : end;
}

/* Unmaps the whole blocks of a run that are nobody's and not pinned. */
static void unmap_ready(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    uintptr_t end = (start + len) & ~(BLOCK_SIZE - 1), next;
    bool is_pinned;
    if (kind.state != RUN_READY || keeps_pages)
        return;
    for (start = (start + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1); start < end; start = next) {
        next = same_pinned_until(start, end, &is_pinned);
        if (is_pinned || os_munmap(start, next - start) != 0)
            continue;
        set_dirty(zone, start, next - start, false);
        zone_set_or_leak(zone, start, next - start, none);
    }
}

static void trim_locked(void)
{
    for (unsigned i = 0; i < nr_zones; i++)
        if (zones[i].kind == ZONE_HEAP)
            zone_for_each_run(&zones[i], zones[i].start, zones[i].end, unmap_ready);
}

void arena_keep_pages(void)
{
    keeps_pages = true;
}

void arena_economize(void)
{
    lock_take(&zones_lock);
    is_economical = true;
    decommit_least = BLOCK_SIZE;
    trim_locked();
    lock_release(&zones_lock);
}

uintptr_t arena_heap_take(size_t len, size_t align, bool *is_zero)
{
    struct zone *zone = NULL;
    uintptr_t committed_end = 0;
    lock_take(&zones_lock);
    uintptr_t start = take_locked(len, align, &zone, &committed_end);
    lock_release(&zones_lock);
    if (!start)
        return 0;
    if (*is_zero)
        zero_dirty(zone, start, len);
    else
        *is_zero = take_dirty(zone, start, len) == 0;
    if (registry_offer(start, committed_end ? committed_end - start : len) == 0)
        return start;
    arena_heap_give(start, len);
    return 0;
}

/* Drops the pages of memory that nothing pins. */
static void drop_pages(struct zone *zone, uintptr_t start, size_t len, struct run_kind to)
{
    if (to.state == RUN_READY && keeps_pages) {
        set_dirty(zone, start, len, true);
        zone_set_or_leak(zone, start, len, to);
        return;
    }
    if (to.state == RUN_READY && len >= decommit_least && !(start & (BLOCK_SIZE - 1)) &&
        os_munmap(start, len) == 0) {
        set_dirty(zone, start, len, false);
        zone_set_or_leak(zone, start, len, none);
        return;
    }
    set_dirty(zone, start, len, os_madvise(start, len, MADV_DONTNEED) != 0); /* EINVAL: locked */
    huge_dropped(zone, start, len);
    zone_set_or_leak(zone, start, len, to);
}

void arena_heap_give(uintptr_t addr, size_t len)
{
    struct zone *zone = zone_of(addr);
    bool any_pinned = false, is_pinned;
    uintptr_t end = addr + len, next;
    lock_take(&zones_lock);
    for (uintptr_t start = addr; start < end; start = next) {
        next = same_pinned_until(start, end, &is_pinned);
        any_pinned |= is_pinned;
        if (is_pinned) {
            set_dirty(zone, start, next - start, true);
            zone_set_or_leak(zone, start, next - start, ready);
        } else {
            uintptr_t aligned = (start + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);
            if (aligned > start && aligned < next && next - aligned >= decommit_least)
                next = aligned;
            drop_pages(zone, start, next - start, ready);
        }
    }
    lock_release(&zones_lock);
    if (any_pinned)
        registry_settle(addr, len);
}

/* --- what the registry asks -------------------------------------------------------------------------------------------- */

static bool may_join(const struct run *run)
{
    return run && (run->kind.state == RUN_USED || run->kind.state == RUN_READY) &&
           (run->kind.prot & RW) == RW && run->kind.flags & RUN_ORDINARY;
}

/* The heap's unit: the committed stretch around `run` within the granule. */
static void heap_unit(struct zone *zone, struct run *run, uintptr_t va, uintptr_t *start, uintptr_t *end)
{
    size_t granule = granule_at(zone, va);
    uintptr_t low = va & ~(granule - 1), high = low + granule;
    struct run *other = run;
    *start = run->start;
    *end = run->start + run->len;
    while (*start > low && may_join(other = runs_at(&zone->runs, *start - 1)))
        *start = other->start;
    while (*end < high && may_join(other = runs_at(&zone->runs, *end)))
        *end = other->start + other->len;
    *start = *start < low ? low : *start;
    *end = *end > high ? high : *end;
}

static int unit_locked(struct zone *zone, uintptr_t va, uintptr_t *start, uintptr_t *end)
{
    struct run *run = runs_at(&zone->runs, va);
    if (run->kind.state == RUN_DETACHED)
        return -ESTALE;
    if (run->kind.state != RUN_USED)
        return -EFAULT;
    if (!(run->kind.flags & RUN_ORDINARY))
        return -EOPNOTSUPP;
    if ((run->kind.prot & RW) != RW)
        return -EFAULT;
    if (zone->kind == ZONE_HEAP) {
        heap_unit(zone, run, va, start, end);
        return 0;
    }
    size_t unit = config.granule_bytes ? config.granule_bytes : (size_t)1 << run->kind.unit_shift;
    uintptr_t low = va & ~(unit - 1);
    *start = run->start > low ? run->start : low;
    *end = run->start + run->len < low + unit ? run->start + run->len : low + unit;
    return 0;
}

static bool is_owned(uintptr_t va)
{
    return zone_of(va) != NULL;
}

static void registered(uintptr_t start, size_t len)
{
    (void)start;
    (void)len;
}

static int intact(uintptr_t va, uintptr_t *start, size_t *len)
{
    struct zone *zone = zone_of(va);
    uintptr_t end = 0;
    if (!zone)
        return -ENOENT;
    lock_take(&zones_lock);
    int error = unit_locked(zone, va, start, &end);
    lock_release(&zones_lock);
    *len = end - *start;
    return error;
}

static int plan(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len)
{
    (void)want_len; /* the unit says more */
    return intact(va, start, len);
}

/* The first run of the zone that reaches into [from, end) and is registered in eager mode; NULL: none. */
static struct run *alive_from(struct zone *zone, uintptr_t from, uintptr_t end)
{
    from = from > zone->start ? from : zone->start;
    struct run *run = from < zone->end ? runs_at(&zone->runs, from) : NULL;
    while (run && run->start < end &&
           (run->kind.state != RUN_USED || !may_join(run) || run->kind.flags & RUN_SPARSE))
        run = runs_next(run);
    return run && run->start < end ? run : NULL;
}

static bool next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    struct run *found = NULL;
    struct zone *zone = NULL;
    lock_take(&zones_lock);
    for (unsigned i = 0; i < nr_zones; i++) {
        struct run *run = alive_from(&zones[i], *cursor, found ? found->start : end);
        zone = run ? &zones[i] : zone;
        found = run ? run : found;
    }
    if (found) {
        uintptr_t run_end = found->start + found->len;
        *start = found->start > *cursor ? found->start : *cursor;
        if (zone->kind == ZONE_HEAP) { /* a run there is no single allocation */
            uintptr_t granule_end = (*start | (granule_at(zone, *start) - 1)) + 1;
            run_end = granule_end < run_end ? granule_end : run_end;
        }
        *cursor = run_end < end ? run_end : end;
        *len = *cursor - *start;
    }
    lock_release(&zones_lock);
    return found;
}

static void prepare(uintptr_t start, size_t len)
{
    lock_take(&zones_lock);
    lock_release(&zones_lock);
    struct zone *zone = zone_of(start);
    if (zone)
        huge_prepare(zone, start, len);
}

static bool is_alive(const struct run *run)
{
    return run->kind.state == RUN_USED;
}

static void quarantine(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_READY)
        zone_set_or_leak(zone, start, len, with_state(kind, RUN_PENDING));
}

static bool retire(uintptr_t start, size_t len)
{
    struct zone *zone = zone_of(start);
    bool idle = true;
    if (!zone)
        return false;
    lock_take(&zones_lock);
    for (struct run *run = runs_at(&zone->runs, start); run && run->start < start + len; run = runs_next(run))
        idle &= !is_alive(run);
    if (idle && zone->kind == ZONE_HEAP)
        zone_for_each_run(zone, start, start + len, quarantine);
    lock_release(&zones_lock);
    return idle;
}

static void release_run(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_DETACHED) {
        zone_set_or_leak(zone, start, len, with_state(kind, RUN_USED));
    } else if (kind.state == RUN_HELD) {
        zone_let_go(zone, start, len);
    } else if (kind.state == RUN_PENDING && zone->kind == ZONE_HEAP) {
        drop_pages(zone, start, len, ready);
    }
}

static void release(uintptr_t start, size_t len)
{
    struct zone *zone = zone_of(start);
    lock_take(&zones_lock);
    if (zone)
        zone_for_each_run(zone, start, start + len, release_run);
    lock_release(&zones_lock);
}

const struct memory_ops arena_memory_ops = {
    .plan = plan,
    .intact = intact,
    .is_owned = is_owned,
    .registered = registered,
    .next_alive = next_alive,
    .prepare = prepare,
    .expose = arena_expose,
    .retire = retire,
    .release = release,
};
