/* SPDX-License-Identifier: MIT */
/*
 * Large allocations and mappings, which are registered by few calls. Under LOCK_REGISTRY.
 *
 * One call covers at most `most` of a lump (64 MiB of what has 256 MiB and more, a quarter of less): nobody waits longer for the
 * lock than that takes, and what outlives the rest of its lump holds no more than that. Each is an aligned step around what was
 * looked up: as long as the range that is asked for; twice as long as the registration beside it, so that lookups one after the
 * other need ever fewer calls; or all of a step of which an eighth is registered. A lookup that has nothing near it gets its unit
 * alone. 1 GiB takes 17 calls for a range, 18 for lookups in order, some 95 for lookups at random.
 *
 * At random it would be fewer if who uses much of a lump got ever longer steps anywhere in it: 58 calls with steps of an eighth of what
 * is registered by then, 46 with a quarter, 34 with a half. But 32 lookups, for 64 MiB, would pin 334, 530 and 704 MiB instead of 178; and
 * what is registered can't be joined without being undone first, under a neighbour's DMA.
 */
#include "dma/lumps.h"

#include "dma/holds.h"
#include "dma/pagemap.h"
#include "dma/registrations.h"

enum { DENSE = 8 };

/* The longer one of the registrations that touch [start, end), which lies in the lump, and that reach into the lump themselves. */
static size_t longest_beside(const struct memory_lump *lump, uintptr_t start, uintptr_t end)
{
    struct registration *above = registration_from(end), *below = registration_before(start);
    size_t len = above && above->start <= end && above->start < lump->end ? above->len : 0;
    bool is_below = below && below->start + below->len >= start && below->start + below->len > lump->start;
    return is_below && below->len > len ? below->len : len;
}

static bool is_worth(const struct memory_lump *lump, uintptr_t start, uintptr_t end, size_t step)
{
    uintptr_t low = start & ~(step - 1);
    return 2 * longest_beside(lump, start, end) >= step ||
           registrations_in(low, low + step, step / DENSE) >= step / DENSE;
}

static void extend(uintptr_t *start, uintptr_t *end, uintptr_t low, uintptr_t high)
{
    *start = low < *start ? low : *start;
    *end = high > *end ? high : *end;
}

/* What is asked for, in whole blocks, as far as one call goes. */
static void extend_to_wanted(const struct memory_lump *lump, uintptr_t wanted_end, uintptr_t *start,
                             uintptr_t *end)
{
    uintptr_t high = (*start & ~(lump->most - 1)) + lump->most;
    wanted_end = (wanted_end + PAGEMAP_BLOCK_SIZE - 1) & ~(PAGEMAP_BLOCK_SIZE - 1);
    if (wanted_end > *end)
        extend(start, end, *start, wanted_end < high ? wanted_end : high);
}

bool lump_widen(const struct memory_lump *lump, uintptr_t wanted_end, bool grows, uintptr_t *start,
                uintptr_t *end)
{
    uintptr_t unit_start = *start, unit_end = *end;
    if (unit_start < lump->start || unit_end > lump->end)
        return false;
    extend_to_wanted(lump, wanted_end, start, end);
    for (size_t step = 2 * PAGEMAP_BLOCK_SIZE; grows && step <= lump->most; step *= 2)
        if (is_worth(lump, unit_start, unit_end, step))
            extend(start, end, unit_start & ~(step - 1), (unit_start & ~(step - 1)) + step);
    *start = *start > lump->start ? *start : lump->start;
    *end = *end < lump->end ? *end : lump->end;
    return *start != unit_start || *end != unit_end;
}

/* --- what is owed ----------------------------------------------------------------------------------------------------- */

/* Nobody has it, and it can be cut and joined. */
static bool is_loose(const struct registration *reg)
{
    return !reg->mapped && !reg->is_stuck && reg->pins == holds_over(reg->start, reg->len);
}

void lump_join(const struct memory_lump *lump, struct registration *reg)
{
    uintptr_t high = (reg->start & ~(lump->most - 1)) + lump->most;
    struct registration *next;
    while (is_loose(reg) && (next = registration_next(reg)) && is_loose(next) &&
           next->start == reg->start + reg->len && next->iova == reg->iova + reg->len &&
           next->start + next->len <= (high < lump->end ? high : lump->end)) {
        registration_join(reg);
        reg->pins = holds_over(reg->start, reg->len);
    }
}

bool lump_halve(struct registration *reg)
{
    size_t half = (reg->len / 2) & ~(PAGEMAP_BLOCK_SIZE - 1);
    struct registration *rest = half && is_loose(reg) ? registration_cut(reg, reg->start + half) : NULL;
    if (rest) {
        reg->pins = holds_over(reg->start, reg->len);
        rest->pins = holds_over(rest->start, rest->len);
    }
    return rest;
}
