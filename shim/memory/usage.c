/* SPDX-License-Identifier: MIT */
/*
 * Walks what is alive in a range: whole runs of the arena, and inside the heap's what jemalloc knows of each page.
 *
 * jemalloc's public query says how many of a slab's regions are free, but calls a freed extent, which it keeps for the
 * next request, an allocation. So the state is taken from jemalloc's own map of pages (5.3: a radix tree whose leaves
 * hold one word a page, for a slab's every page, for other extents' first and last ones). Its words are read without a
 * lock, as jemalloc itself reads them; usage_init tries the layout out and does without where it is another.
 */
#include "memory/usage.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "base/os.h"
#include "memory/heap.h"
#include "memory/zones.h"

/* What jemalloc answers for an address (experimental.utilization.batch_query). */
struct slab {
    size_t nr_free, nr_regions, size;
};

/* The first words of jemalloc's edata_t. */
struct extent {
    uint64_t bits;
    uintptr_t start;
    uint64_t size; /* and a serial number in the low bits */
};

enum { LEAF_SLAB = 1, LEAF_STATE_SHIFT = 2, LEAF_STATE_MASK = 7, STATE_ACTIVE = 0, LEAF_PAGES = 1 << 18 };
#define LEAF_POINTER_MASK (((UINT64_C(1) << 48) - 1) & ~UINT64_C(127))

typedef _Atomic uint64_t leaf_word;
struct rtree_ctx { /* larger than jemalloc's, which it fills in */
    _Alignas(64) unsigned char bytes[4096];
};
extern unsigned char je_arena_emap_global[]; /* begins with the radix tree */
extern void je_rtree_ctx_data_init(struct rtree_ctx *ctx);
extern leaf_word *je_rtree_leaf_elm_lookup_hard(void *tsdn, void *rtree, struct rtree_ctx *ctx, uintptr_t key,
                                                bool is_dependent, bool init_missing);

static size_t query_mib[3], query_mib_len = 3;
static bool has_leaves;
extern int jem_mallctlnametomib(const char *name, size_t *mib, size_t *len);
extern int jem_mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len, void *new,
                            size_t new_len);

/* The word of the page; NULL where jemalloc has none. The words of one GiB lie side by side. */
static const leaf_word *leaf_of(uintptr_t page)
{
    struct rtree_ctx ctx;
    je_rtree_ctx_data_init(&ctx);
    return je_rtree_leaf_elm_lookup_hard(NULL, je_arena_emap_global, &ctx, page, false, false);
}

static const struct extent *extent_of(uint64_t word)
{
    return (const struct extent *)(uintptr_t)(word & LEAF_POINTER_MASK);
}

static size_t extent_size(const struct extent *extent)
{
    return extent->size & ~(OS_PAGE_SIZE - 1);
}

/* Whether the map of pages says of an allocation what is true of it. */
static bool try_leaves(void)
{
    enum { TRIED_BYTES = 256 << 10 };
    uintptr_t start = (uintptr_t)jem_malloc(TRIED_BYTES);
    const leaf_word *leaf = start ? leaf_of(start & ~(OS_PAGE_SIZE - 1)) : NULL;
    uint64_t word = leaf ? atomic_load_explicit(leaf, memory_order_acquire) : 0;
    const struct extent *extent = extent_of(word);
    uintptr_t leaf_start = start & ~((uintptr_t)LEAF_PAGES * OS_PAGE_SIZE - 1);
    bool is_right = extent && leaf_of(leaf_start) == leaf - (start - leaf_start) / OS_PAGE_SIZE &&
                    !(word & LEAF_SLAB) && (word >> LEAF_STATE_SHIFT & LEAF_STATE_MASK) == STATE_ACTIVE &&
                    extent->start <= start && extent_size(extent) >= TRIED_BYTES &&
                    extent_size(extent) < 2 * TRIED_BYTES;
    jem_free((void *)start);
    return is_right;
}

void usage_init(void)
{
    if (jem_mallctlnametomib("experimental.utilization.batch_query", query_mib, &query_mib_len) != 0)
        query_mib_len = 0;
    has_leaves = arena_first_heap.len && try_leaves();
}

/* The live bytes of a slab's page. */
static size_t slab_bytes(uintptr_t page)
{
    const void *address = (const void *)page;
    struct slab slab = {0, 0, 0};
    size_t out_len = sizeof(slab);
    if (!query_mib_len ||
        jem_mallctlbymib(query_mib, query_mib_len, &slab, &out_len, (void *)&address, sizeof(address)) != 0)
        return OS_PAGE_SIZE;
    return slab.nr_regions > 1 ? (slab.nr_regions - slab.nr_free) * OS_PAGE_SIZE / slab.nr_regions
                               : OS_PAGE_SIZE;
}

/* The next page at or after `index` of the leaf, and before `end`, with a word; `end` if there is none. */
static size_t next_word(const leaf_word *leaf, size_t index, size_t end)
{
    while (index < end && !extent_of(atomic_load_explicit(&leaf[index], memory_order_acquire)))
        index++;
    return index;
}

/* The word of the page whose extent holds page `index`, which has none of its own: its last page, ahead, or its first. */
static uint64_t word_around(const leaf_word *leaf, size_t index, uintptr_t leaf_start)
{
    uintptr_t address = leaf_start + index * OS_PAGE_SIZE;
    size_t ahead = next_word(leaf, index, LEAF_PAGES), behind = index;
    uint64_t word = ahead < LEAF_PAGES ? atomic_load_explicit(&leaf[ahead], memory_order_acquire) : 0;
    const struct extent *extent = extent_of(word);
    if (extent && extent->start <= address)
        return word;
    do
        word = atomic_load_explicit(&leaf[behind], memory_order_acquire);
    while (!extent_of(word) && behind-- > 0);
    extent = extent_of(word);
    return extent && extent->start + extent_size(extent) > address ? word : 0;
}

struct walk {
    void (*visit)(void *arg, uintptr_t part, size_t part_len, size_t live);
    void *arg;
};

/* The pages [start, end) of the heap, which lie in one leaf. */
static void visit_leaf(const struct walk *walk, const leaf_word *leaf, uintptr_t start, uintptr_t end)
{
    const uintptr_t leaf_start = start & ~((uintptr_t)LEAF_PAGES * OS_PAGE_SIZE - 1);
    for (uintptr_t at = start, next; at < end; at = next) {
        size_t index = (at - leaf_start) / OS_PAGE_SIZE;
        uint64_t word = atomic_load_explicit(&leaf[index], memory_order_acquire);
        next = at + OS_PAGE_SIZE;
        if (word & LEAF_SLAB && extent_of(word)) {
            walk->visit(walk->arg, at, OS_PAGE_SIZE, slab_bytes(at));
            continue;
        }
        if (!extent_of(word))
            word = word_around(leaf, index, leaf_start);
        const struct extent *extent = extent_of(word);
        uintptr_t extent_end = extent ? extent->start + extent_size(extent) : 0;
        if (extent_end > next) /* it may be changing at this moment: what it says is bounded below */
            next = extent_end < end ? extent_end : end;
        bool is_live = !extent || (word >> LEAF_STATE_SHIFT & LEAF_STATE_MASK) == STATE_ACTIVE;
        walk->visit(walk->arg, at, next - at, is_live ? next - at : 0);
    }
}

static void visit_heap(const struct walk *walk, uintptr_t start, size_t len)
{
    const uintptr_t leaf_bytes = (uintptr_t)LEAF_PAGES * OS_PAGE_SIZE;
    for (uintptr_t end = start + len, next; start < end; start = next) {
        uintptr_t leaf_start = start & ~(leaf_bytes - 1);
        const leaf_word *leaf = has_leaves ? leaf_of(start) : NULL;
        next = leaf_start + leaf_bytes < end ? leaf_start + leaf_bytes : end;
        if (leaf)
            visit_leaf(walk, leaf - (start - leaf_start) / OS_PAGE_SIZE, start, next);
        else
            walk->visit(walk->arg, start, next - start, next - start);
    }
}

/* The next stretch that is used at or after *start and before `end`. */
static bool next_used(struct zone *zone, uintptr_t *start, uintptr_t end, size_t *len)
{
    bool found = false;
    lock_take(&zones_lock);
    struct run *run = runs_at(&zone->runs, *start);
    while (run && run->start < end && run->kind.state != PAGE_USED)
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

void usage_visit(uintptr_t start, size_t len,
                 void (*visit)(void *arg, uintptr_t part, size_t part_len, size_t live), void *arg)
{
    const struct walk walk = {visit, arg};
    struct zone *zone = zone_of(start);
    uintptr_t end = start + len;
    size_t run_len;
    if (!zone) {
        visit(arg, start, len, len);
        return;
    }
    while (start < end && next_used(zone, &start, end, &run_len)) {
        if (zone->kind == ZONE_HEAP)
            visit_heap(&walk, start, run_len);
        else
            visit(arg, start, run_len, run_len);
        start += run_len;
    }
}
