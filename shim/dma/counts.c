/* SPDX-License-Identifier: MIT */
/* Counters, and nothing else. */
#include "dma/counts.h"

#include <stdatomic.h>

static struct counts counts[2];
static _Atomic uint64_t lookups, refused;

const struct counts *counts_of(enum counts_whose whose)
{
    return &counts[whose];
}

void counts_map(enum counts_whose whose)
{
    counts[whose].maps++;
}

void counts_map_failed(enum counts_whose whose)
{
    counts[whose].map_failures++;
}

void counts_unmap(enum counts_whose whose)
{
    counts[whose].unmaps++;
}

void counts_unmap_failed(enum counts_whose whose)
{
    counts[whose].unmap_failures++;
}

void counts_pin(enum counts_whose whose, uint64_t len)
{
    struct counts *of = &counts[whose];
    of->pinned += len;
    if (of->pinned > of->pinned_peak)
        of->pinned_peak = of->pinned;
}

void counts_unpin(enum counts_whose whose, uint64_t len)
{
    counts[whose].pinned -= len;
}

uint64_t counts_pinned(void)
{
    return counts[COUNTS_OURS].pinned + counts[COUNTS_APPLICATIONS].pinned;
}

void counts_lookup(bool is_refused)
{
    atomic_fetch_add_explicit(&lookups, 1, memory_order_relaxed);
    if (is_refused)
        atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
}

uint64_t counts_lookups(void)
{
    return atomic_load_explicit(&lookups, memory_order_relaxed);
}

uint64_t counts_refused(void)
{
    return atomic_load_explicit(&refused, memory_order_relaxed);
}

void counts_reset(void)
{
    counts[COUNTS_OURS] = counts[COUNTS_APPLICATIONS] = (struct counts){0};
    lookups = refused = 0;
}
