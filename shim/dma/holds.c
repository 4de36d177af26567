/* SPDX-License-Identifier: MIT */
/* A tree by address and length. */
#include "dma/holds.h"

#include "base/pool.h"

RB_HEAD(holds, hold);

static struct holds holds;
static size_t longest; /* of the ranges that were ever held */
static struct pool pool = POOL_OF(struct hold);

static int compare_range(const struct hold *a, const struct hold *b)
{
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return a->len < b->len ? -1 : a->len > b->len;
}

RB_GENERATE_INTERNAL(holds, hold, by_range, compare_range, __attribute__((unused)) static)

struct hold *holds_find(uintptr_t start, size_t len)
{
    struct hold key = {.start = start, .len = len};
    return RB_FIND(holds, &holds, &key);
}

uint32_t holds_over(uintptr_t start, size_t len)
{
    struct hold key = {.start = start > longest ? start - longest : 0};
    uint32_t n = 0;
    for (struct hold *hold = RB_NFIND(holds, &holds, &key); hold && hold->start < start + len;
         hold = RB_NEXT(holds, , hold))
        n += hold->start + hold->len > start;
    return n;
}

struct hold *holds_any_over(uintptr_t start, size_t len)
{
    struct hold *hold;
    RB_FOREACH(hold, holds, &holds)
    {
        if (hold->start < start + len && start < hold->start + hold->len)
            return hold;
    }
    return NULL;
}

struct hold *holds_insert(uintptr_t start, size_t len)
{
    struct hold *hold = pool_take(&pool);
    if (!hold)
        return NULL;
    hold->start = start;
    hold->len = len;
    hold->count = 1;
    RB_INSERT(holds, &holds, hold);
    longest = len > longest ? len : longest;
    return hold;
}

void holds_remove(struct hold *hold)
{
    RB_REMOVE(holds, &holds, hold);
    pool_give(&pool, hold);
}

void holds_reset(void)
{
    RB_INIT(&holds);
}
