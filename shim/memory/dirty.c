/* SPDX-License-Identifier: MIT */
/* Bits of the dirty map, a word at a time. */
#include "memory/dirty.h"

#include <string.h>

#include "base/os.h"
#include "memory/zones.h"

void dirty_set(struct zone *zone, uintptr_t start, size_t len, bool dirty)
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

size_t dirty_take(struct zone *zone, uintptr_t start, size_t len)
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

void dirty_zero(struct zone *zone, uintptr_t start, size_t len)
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
