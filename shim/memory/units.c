/* SPDX-License-Identifier: MIT */
/* What the registry asks of the arena's memory: which stretch is registered at once, and whether it still lives. */
#include <errno.h>
#include <sys/mman.h>

#include "base/config.h"
#include "base/os.h"
#include "memory/arena.h"
#include "memory/extents.h"
#include "memory/huge.h"
#include "memory/populate.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)

static bool may_join(const struct run *run)
{
    return run && (run->kind.state == PAGE_USED || run->kind.state == PAGE_READY) &&
           (run->kind.prot & RW) == RW && run->kind.flags & PAGE_ORDINARY;
}

static size_t lump_of(const struct run *run)
{
    return may_join(run) && run->kind.lump_shift && !config.granule_bytes ? (size_t)1 << run->kind.lump_shift
                                                                          : 0;
}

/* The heap's unit: the committed stretch around `run` within the granule. */
static void heap_unit(struct zone *zone, struct run *run, uintptr_t va, uintptr_t *start, uintptr_t *end)
{
    size_t granule = extents_granule(zone, va);
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
    if (run->kind.state == PAGE_DETACHED)
        return -ESTALE;
    if (run->kind.state != PAGE_USED)
        return -EFAULT;
    if (!(run->kind.flags & PAGE_ORDINARY))
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

/* In the heap something else may lie in the blocks in which it begins and ends. */
static bool lump(uintptr_t va, struct memory_lump *lump)
{
    struct zone *zone = zone_of(va);
    lock_take(&zones_lock);
    struct run *run = runs_at(&zone->runs, va);
    lump->most = lump_of(run);
    lump->start = run->start;
    lump->end = run->start + run->len;
    size_t whole = zone->kind == ZONE_HEAP ? extents_granule(zone, va) : OS_PAGE_SIZE;
    lock_release(&zones_lock);
    lump->start = (lump->start + whole - 1) & ~(whole - 1);
    lump->end &= ~(whole - 1);
    return lump->most && lump->start < lump->end;
}

static bool is_owned(uintptr_t va)
{
    return zone_of(va) != NULL;
}

static void registered(uintptr_t start, size_t len)
{
}

/* The unit; and, if `is_whole`, all of its lump, of which any part may have been registered together with it. */
static int stretch(uintptr_t va, bool is_whole, uintptr_t *start, size_t *len)
{
    struct zone *zone = zone_of(va);
    uintptr_t end = 0;
    lock_take(&zones_lock);
    int error = unit_locked(zone, va, start, &end);
    struct run *run = error || !is_whole ? NULL : runs_at(&zone->runs, va);
    if (run && lump_of(run)) {
        *start = run->start < *start ? run->start : *start;
        end = run->start + run->len > end ? run->start + run->len : end;
    }
    lock_release(&zones_lock);
    *len = end - *start;
    return error;
}

static int intact(uintptr_t va, uintptr_t *start, size_t *len)
{
    return stretch(va, true, start, len);
}

/* The unit says more than what is wanted. */
static int plan(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len)
{
    return stretch(va, false, start, len);
}

/* The first run of the zone that reaches into [from, end) and is registered in eager mode; NULL: none. */
static struct run *alive_from(struct zone *zone, uintptr_t from, uintptr_t end)
{
    from = from > zone->start ? from : zone->start;
    struct run *run = from < zone->end ? runs_at(&zone->runs, from) : NULL;
    while (run && run->start < end &&
           (run->kind.state != PAGE_USED || !may_join(run) || run->kind.flags & PAGE_SPARSE))
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
            size_t granule = extents_granule(zone, *start), most = lump_of(found);
            uintptr_t granule_end = (*start | ((most > granule ? most : granule) - 1)) + 1;
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
    huge_prepare(zone_of(start), start, len);
    populate(start, len);
}

/* What is held back is mapped for as long as it is exposed. Failing, it can't be pinned: the registry says so. */
static bool expose(uintptr_t start, size_t len, bool exposed)
{
    bool is_in_flight = false;
    struct zone *zone = zone_of(start);
    lock_take(&zones_lock);
    for (struct run *run = runs_at(&zone->runs, start); run && run->start < start + len;
         run = runs_next(run)) {
        uintptr_t from = run->start > start ? run->start : start, to = run->start + run->len;
        to = to < start + len ? to : start + len;
        is_in_flight |= run->kind.state == PAGE_BUSY;
        if (run->kind.state == PAGE_HELD_BACK && exposed)
            zone_map_free(from, to - from, RW, MAP_PRIVATE | MAP_ANONYMOUS);
        else if (run->kind.state == PAGE_HELD_BACK)
            pages_ops->unmap(from, to - from);
    }
    lock_release(&zones_lock);
    return is_in_flight;
}

/* What is busy may turn out to have stayed. */
static bool retire(uintptr_t start, size_t len)
{
    struct zone *zone = zone_of(start);
    bool is_idle = true;
    lock_take(&zones_lock);
    for (struct run *run = runs_at(&zone->runs, start); run && run->start < start + len; run = runs_next(run))
        is_idle &= run->kind.state != PAGE_USED && run->kind.state != PAGE_BUSY;
    if (is_idle)
        pages_apply(zone, start, start + len, PAGE_RETIRING, NULL);
    lock_release(&zones_lock);
    return is_idle;
}

static void release(uintptr_t start, size_t len)
{
    pages_change(start, len, PAGE_RELEASED, NULL);
}

const struct memory_ops arena_memory_ops = {
    .plan = plan,
    .lump = lump,
    .intact = intact,
    .is_owned = is_owned,
    .registered = registered,
    .next_alive = next_alive,
    .prepare = prepare,
    .expose = expose,
    .retire = retire,
    .release = release,
};
