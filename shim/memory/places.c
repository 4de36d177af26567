/* SPDX-License-Identifier: MIT */
/* Chooses among what is nobody's, and asks the kernel for it by a hint: who has mapped something there is gone around. */
#include "memory/places.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/os.h"
#include "memory/mappings.h"
#include "memory/zones.h"

#define GIB ((size_t)1 << 30)

/* log2 of the unit in which a mapping is registered: at most 128 of them for each mapping. */
static unsigned unit_shift_for(size_t len)
{
    unsigned shift = BLOCK_SHIFT;
    while (shift < 30 && len >> shift > 128)
        shift++;
    return shift;
}

struct page_kind places_kind(size_t len, int prot, unsigned flags)
{
    return (struct page_kind){.state = PAGE_USED,
                              .prot = (uint8_t)prot,
                              .unit_shift = (uint8_t)unit_shift_for(len),
                              .lump_shift = pages_lump_shift(len),
                              .flags = (uint8_t)flags};
}

/*
 * A page of ours, the last of the zone's first block, from the first mapping on: it keeps the page tables that small mappings
 * need from coming and going with each of them. Read-only, so that no mapping is merged with it, which costs more than one
 * of its own; read once, so that it has its tables, and no memory.
 */
static void make_anchor(struct zone *zone)
{
    uintptr_t page = zone->start + BLOCK_SIZE - OS_PAGE_SIZE;
    zone->has_anchor = true;
    if (runs_at(&zone->runs, page)->kind.state != PAGE_NONE ||
        os_is_error(zone_map_free(page, OS_PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS)))
        return;
    pages_apply(zone, page, page + OS_PAGE_SIZE, PAGE_TAKEN, NULL);
    (void)*(volatile char *)page;
}

/* Small mappings end where something else begins, large ones begin with a block, and the largest where no page tables are
 * in their way: unmapping would search them. */
static bool find(struct zone *zone, size_t len, uintptr_t *start)
{
    struct run *run = NULL;
    if (!zone->has_anchor)
        make_anchor(zone);
    if (len >= GIB)
        run = runs_fit(&zone->runs, PAGE_NONE, len, GIB, start);
    if (!run && len >= BLOCK_SIZE)
        run = runs_fit(&zone->runs, PAGE_NONE, len, BLOCK_SIZE, start);
    if (!run && len < BLOCK_SIZE && (run = runs_fit(&zone->runs, PAGE_NONE, len, OS_PAGE_SIZE, start)))
        *start = run->start + run->len - len;
    return run;
}

/* 0: none. */
static uintptr_t choose(size_t len, enum page_event event, const struct page_kind *kind)
{
    uintptr_t start = 0;
    bool is_found = false;
    lock_take(&zones_lock);
    for (unsigned i = 0; !is_found && (i < nr_zones || zones_grow(ZONE_MAP, len)); i++) {
        is_found = zones[i].kind == ZONE_MAP && find(&zones[i], len, &start);
        if (is_found && pages_apply(&zones[i], start, start + len, event, kind) != 0)
            start = 0;
    }
    lock_release(&zones_lock);
    return is_found ? start : 0;
}

/* Somebody else was there before the mapping could be made. */
static void close_place(uintptr_t start, size_t len, enum page_event undo)
{
    struct zone *zone = zone_of(start);
    lock_take(&zones_lock);
    pages_apply(zone, start, start + len, undo, NULL);
    zone_close_taken(zone, start, len);
    lock_release(&zones_lock);
}

intptr_t places_map(size_t len, int prot, int map_flags, unsigned flags)
{
    struct page_kind kind = places_kind(len, prot, flags);
    intptr_t result = -EEXIST;
    while (result == -EEXIST) {
        uintptr_t start = choose(len, PAGE_PLACED, &kind);
        if (!start)
            return -ENOSPC;
        result = zone_map_free(start, len, prot, map_flags);
        if (result == -EEXIST)
            close_place(start, len, PAGE_UNPLACED);
        else if (os_is_error(result))
            pages_change(start, len, PAGE_UNPLACED, NULL);
        else if (mappings_offer(start, len, &kind) != 0) {
            mappings_unmap(start, len);
            return -ENOMEM;
        }
    }
    return result;
}

uintptr_t places_take(size_t len)
{
    for (;;) {
        uintptr_t start = choose(len, PAGE_CLAIMED, NULL);
        intptr_t got = start
                           ? zone_map_free(start, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
                           : -ENOMEM;
        if (got == (intptr_t)start)
            return start;
        if (start && got == -EEXIST)
            close_place(start, len, PAGE_FAILED);
        else if (start)
            pages_change(start, len, PAGE_FAILED, NULL);
        if (got != -EEXIST)
            return 0;
    }
}

void places_give(uintptr_t addr, size_t len)
{
    if (pages_ops->unmap(addr, len) == 0)
        pages_change(addr, len, PAGE_FAILED, NULL);
}
