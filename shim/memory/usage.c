/* SPDX-License-Identifier: MIT */
/* Adds up what is alive in a range: whole runs of the arena, and inside the heap's what jemalloc says of each
 * slab. */
#include "memory/usage.h"

#include <stdbool.h>

#include "base/os.h"
#include "memory/heap.h"
#include "memory/zones.h"

/* What jemalloc answers for an address (experimental.utilization.batch_query); reads no lock. */
struct extent {
    size_t nr_free, nr_regions, size;
};

static size_t query_mib[3], query_mib_len = 3;
extern int jem_mallctlnametomib(const char *name, size_t *mib, size_t *len);
extern int jem_mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len, void *new,
                            size_t new_len);

void usage_init(void)
{
    if (jem_mallctlnametomib("experimental.utilization.batch_query", query_mib, &query_mib_len) != 0)
        query_mib_len = 0;
}

/* The live bytes of the heap's pages [start, start + len). */
static size_t heap_bytes(uintptr_t start, size_t len)
{
    size_t used = 0;
    for (uintptr_t page = start, end = start + len; page < end;) {
        const void *address = (const void *)page;
        struct extent extent = {0, 0, 0};
        size_t out_len = sizeof(extent), step = OS_PAGE_SIZE;
        if (!query_mib_len || jem_mallctlbymib(query_mib, query_mib_len, &extent, &out_len, (void *)&address,
                                               sizeof(address)) != 0)
            return used + (end - page);
        if (extent.nr_regions > 1) /* each page of a slab tells of all of it */
            used += (extent.nr_regions - extent.nr_free) * OS_PAGE_SIZE / extent.nr_regions;
        else if (extent.nr_regions == 1 && extent.size > OS_PAGE_SIZE) {
            step = os_page_up(extent.size);
            step = step < end - page ? step : end - page;
            used += extent.nr_free ? 0 : step;
        } else {
            used +=
                extent.nr_free ? 0 : OS_PAGE_SIZE; /* or the inside of a large one that begins elsewhere */
        }
        page += step;
    }
    return used;
}

/* The next stretch that is used at or after *start and before `end`. */
static bool next_used(struct zone *zone, uintptr_t *start, uintptr_t end, size_t *len)
{
    bool found = false;
    lock_take(&zones_lock);
    struct run *run = runs_at(&zone->runs, *start);
    while (run && run->start < end && run->kind.state != RUN_USED)
        run = runs_next(run);
    if (run && run->start < end) {
        uintptr_t run_end = run->start + run->len;
        *start = run->start > *start ? run->start : *start;
        *len = (run_end < end ? run_end : end) - *start;
        found = true;
    }
    lock_release(&zones_lock);
    return found;
}

size_t usage_of(uintptr_t start, size_t len)
{
    struct zone *zone = zone_of(start);
    uintptr_t end = start + len;
    size_t used = 0, run_len;
    if (!zone)
        return len;
    while (start < end && next_used(zone, &start, end, &run_len)) {
        used += zone->kind == ZONE_HEAP ? heap_bytes(start, run_len) : run_len;
        start += run_len;
    }
    return used;
}
