/* SPDX-License-Identifier: MIT */
/* Commits, hands out and takes back the pages of heap zones. What may be pinned stays where it is, on the dirty map; what is
 * not is dropped. */
#include "memory/extents.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/config.h"
#include "base/os.h"
#include "dma/eager.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "memory/dirty.h"
#include "memory/huge.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* Small at the bottom, larger further up, so that a heap of 4 TiB needs less than a quarter of the 65,535 mappings of a
 * container: 9,216 up to 416 GiB, 4,096 up to 2 TiB, 1,024 for each TiB above. */
size_t extents_granule(const struct zone *zone, uintptr_t addr)
{
    if (config.granule_bytes)
        return config.granule_bytes;
    if (zone != &zones[0])
        return addr < 2048 * GIB ? 256 * MIB : GIB;
    size_t offset = addr - zone->start;
    return offset < 8 * GIB ? BLOCK_SIZE : offset < 64 * GIB ? 16 * MIB : 64 * MIB;
}

/* Commits the granules around [start, start + len) as far as `run`, which is PAGE_NONE, goes. */
static int commit(struct zone *zone, const struct run *run, uintptr_t start, size_t len,
                  uintptr_t *committed_end)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    size_t granule = extents_granule(zone, start);
    if (granule < BLOCK_SIZE || pages_unmap_least == BLOCK_SIZE)
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
    return pages_apply(zone, start, end, PAGE_COMMITTED, NULL);
}

static int allocated(struct zone *zone, uintptr_t start, size_t len)
{
    struct page_kind kind = {.lump_shift = pages_lump_shift(len)};
    return pages_apply(zone, start, start + len, PAGE_ALLOCATED, &kind);
}

/* Returns 0 and *start; -ENOSPC: the zone has no room; or the kernel's refusal. */
static int take_fresh(struct zone *zone, size_t len, size_t align, uintptr_t *start, uintptr_t *committed_end)
{
    int error = -EEXIST;
    while (error == -EEXIST) {
        struct run *run =
            runs_fit(&zone->runs, PAGE_NONE, len, align > BLOCK_SIZE ? align : BLOCK_SIZE, start);
        error = run ? commit(zone, run, *start, len, committed_end) : -ENOSPC;
    }
    return error ? error : allocated(zone, *start, len);
}

static uintptr_t take_locked(size_t len, size_t align, struct zone **from, uintptr_t *committed_end)
{
    uintptr_t start;
    int error = -ENOSPC;
    for (unsigned i = 0; i < nr_zones; i++) {
        *from = &zones[i];
        if (zones[i].kind == ZONE_HEAP && runs_fit(&zones[i].runs, PAGE_READY, len, align, &start) &&
            allocated(&zones[i], start, len) == 0)
            return start;
    }
    for (unsigned i = 0; error == -ENOSPC && (i < nr_zones || zones_grow(ZONE_HEAP, len + align)); i++) {
        *from = &zones[i];
        if (zones[i].kind == ZONE_HEAP)
            error = take_fresh(&zones[i], len, align, &start, committed_end);
    }
    return error ? 0 : start;
}

/* The same for [start, start + len), if it is free: what is committed of it, then what is not. */
static int take_at_locked(struct zone *zone, uintptr_t start, size_t len, uintptr_t *committed_end)
{
    uintptr_t end = start + len, fresh = start;
    struct run *run = runs_at(&zone->runs, start);
    if (run->kind.state == PAGE_READY) {
        fresh = run->start + run->len;
        run = fresh < end && fresh < zone->end ? runs_next(run) : run;
    }
    if (fresh < end) {
        if (run->kind.state != PAGE_NONE || run->start + run->len < end || fresh & (BLOCK_SIZE - 1))
            return -ENOSPC;
        int error = commit(zone, run, fresh, end - fresh, committed_end);
        if (error)
            return error;
    }
    return allocated(zone, start, len);
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

/* Many whole blocks are dropped apart from what is left of one before them: they are unmapped. */
static void free_unpinned(struct zone *zone, uintptr_t start, uintptr_t end)
{
    uintptr_t aligned = (start + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);
    if (aligned > start && aligned < end && end - aligned >= pages_unmap_least) {
        pages_apply(zone, start, aligned, PAGE_FREED, NULL);
        start = aligned;
    }
    pages_apply(zone, start, end, PAGE_FREED, NULL);
}

void extents_give(uintptr_t start, size_t len)
{
    struct zone *zone = zone_of(start);
    bool any_pinned = false, is_pinned;
    uintptr_t at = start, end = start + len, next;
    lock_take(&zones_lock);
    for (; at < end; at = next) {
        next = same_pinned_until(at, end, &is_pinned);
        any_pinned |= is_pinned;
        if (is_pinned)
            pages_apply(zone, at, next, PAGE_KEPT, NULL);
        else
            free_unpinned(zone, at, next);
    }
    lock_release(&zones_lock);
    if (any_pinned)
        registry_settle(start, len);
}

/* What was taken is cleared, if it is to be, and offered to eager mode. */
static uintptr_t hand_out(struct zone *zone, uintptr_t start, size_t len, uintptr_t committed_end,
                          bool *is_zero)
{
    if (*is_zero)
        dirty_zero(zone, start, len);
    else
        *is_zero = dirty_take(zone, start, len) == 0;
    if (eager_offer(start, committed_end ? committed_end - start : len) == 0)
        return start;
    extents_give(start, len);
    return 0;
}

uintptr_t extents_take(size_t len, size_t align, bool *is_zero)
{
    struct zone *zone = NULL;
    uintptr_t committed_end = 0;
    lock_take(&zones_lock);
    uintptr_t start = take_locked(len, align, &zone, &committed_end);
    lock_release(&zones_lock);
    return start ? hand_out(zone, start, len, committed_end, is_zero) : 0;
}

uintptr_t extents_take_at(uintptr_t start, size_t len, bool *is_zero)
{
    struct zone *zone = zone_of(start);
    uintptr_t committed_end = 0;
    if (!zone || zone->kind != ZONE_HEAP || len > zone->end - start)
        return 0;
    lock_take(&zones_lock);
    int error = take_at_locked(zone, start, len, &committed_end);
    lock_release(&zones_lock);
    return error ? 0 : hand_out(zone, start, len, committed_end, is_zero);
}

/* Unmaps the whole blocks of a run that are nobody's and not pinned. */
static void unmap_ready(struct zone *zone, uintptr_t start, uintptr_t end)
{
    bool is_pinned;
    for (uintptr_t next; start < end; start = next) {
        next = same_pinned_until(start, end, &is_pinned);
        if (is_pinned || pages_are_kept || pages_ops->unmap(start, next - start) != 0)
            continue;
        dirty_set(zone, start, next - start, false);
        pages_apply(zone, start, next, PAGE_UNMAPPED, NULL);
    }
}

void extents_keep_pages(void)
{
    pages_are_kept = true;
}

void extents_economize(void)
{
    lock_take(&zones_lock);
    pages_unmap_least = BLOCK_SIZE;
    for (unsigned i = 0; i < nr_zones; i++)
        for (uintptr_t at = zones[i].start, end; at < zones[i].end; at = end) {
            struct run *run = runs_at(&zones[i].runs, at);
            end = run->start + run->len;
            if (run->kind.state == PAGE_READY)
                unmap_ready(&zones[i], (at + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1), end & ~(BLOCK_SIZE - 1));
        }
    lock_release(&zones_lock);
}
