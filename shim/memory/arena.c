/* SPDX-License-Identifier: MIT */
/* Where the arena is, and what a fork makes of it. */
#include "memory/arena.h"

#include "memory/huge.h"
#include "memory/populate.h"
#include "memory/zones.h"

struct arena_bounds arena_first_heap;

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

uint64_t arena_held_back_bytes(void)
{
    return pages_held_back_bytes;
}

void arena_after_fork(void)
{
    huge_forget();
}

/* What another thread was about to change is as it was before, or as the kernel made it: nobody uses it here. */
void arena_reset(void)
{
    huge_forget();
    populate_reset();
    for (unsigned i = 0; pages_were_odd && i < nr_zones; i++) {
        pages_apply(&zones[i], zones[i].start, zones[i].end, PAGE_FAILED, NULL);
        pages_apply(&zones[i], zones[i].start, zones[i].end, PAGE_RELEASED, NULL);
    }
}
