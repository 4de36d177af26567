/* SPDX-License-Identifier: MIT */
/* The flat table of the first 512 GiB with the leaves behind it, then the entries up to 8 TiB, all in one mapping; above,
 * one such table for each further 512 GiB in use. Writers hold the registry's lock; readers hold nothing. */
#include "dma/pagemap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/os.h"
#include "base/pool.h"

#define NR_CHUNKS 256    /* of 512 GiB: the 47 bits of user addresses */
#define NR_FAR_CHUNKS 15 /* right behind the leaves, where there is room */
#define LEAF_SHIFT 3
#define MAX_LEAVES ((uint64_t)1 << (PAGEMAP_BLOCK_SHIFT - LEAF_SHIFT))
#define FEW_LEAVES 4096 /* where address space is limited */
#define DELTA_MASK (~(PAGEMAP_BLOCK_SIZE - 1))
#define PAGES_PER_BLOCK 512

struct leaf {
    _Atomic uint64_t present[PAGES_PER_BLOCK / 64];
};
_Static_assert(sizeof(struct leaf) == sizeof(uint64_t) << LEAF_SHIFT,
               "the number in an entry is an index of words");

/* What include/anydma.h knows by heart: the first table is followed by a page, that by the leaves, and those by the
 * tables of the next addresses. */
#define CHUNK_BYTES (PAGEMAP_NR_FLAT * sizeof(uint64_t))
#define TABLE_BYTES (CHUNK_BYTES + OS_PAGE_SIZE)
#define FAR_OFFSET (TABLE_BYTES + MAX_LEAVES * sizeof(struct leaf))

__attribute__((visibility("default"))) struct pagemap_table anydma_table_v1;

static _Atomic(_Atomic uint64_t *) chunks[NR_CHUNKS];
static struct leaf *leaves; /* `nr_leaves` of them */
static uint64_t nr_leaves;
static uint64_t nr_leaves_used = 1; /* number 0 means none */
static bool outlives_fork;          /* the kernel does not wipe every table in a forked child */
static _Atomic uint64_t *alive;     /* in the page behind the flat table: wiped in a forked child */

static _Atomic uint64_t *map_chunk(size_t len)
{
    void *chunk = pool_map(len);
    if (!chunk)
        return NULL;
    if (os_madvise((uintptr_t)chunk, len, MADV_WIPEONFORK) != 0)
        outlives_fork = true;
    os_madvise((uintptr_t)chunk, len, MADV_DONTDUMP);
    return chunk;
}

/* The tables up to 8 TiB, so that a lookup there is one load, too. */
static _Atomic uint64_t *map_with_far(void)
{
    const size_t far_bytes = NR_FAR_CHUNKS * CHUNK_BYTES;
    _Atomic uint64_t *flat = map_chunk(FAR_OFFSET + far_bytes);
    for (unsigned i = 0; flat && i < NR_FAR_CHUNKS; i++)
        atomic_store_explicit(&chunks[1 + i], flat + (FAR_OFFSET + i * CHUNK_BYTES) / sizeof(uint64_t),
                              memory_order_relaxed);
    if (flat) {
        anydma_table_v1.nr_far = far_bytes / sizeof(uint64_t);
    }
    return flat;
}

int pagemap_init(void)
{
    _Atomic uint64_t *flat = NULL;
    nr_leaves = MAX_LEAVES;
    if (os_limit(RLIMIT_AS) == UINT64_MAX)
        flat = map_with_far();
    if (!flat) {
        nr_leaves = FEW_LEAVES;
        flat = map_chunk(TABLE_BYTES + nr_leaves * sizeof(struct leaf));
    }
    if (!flat)
        return -ENOMEM;
    leaves = (struct leaf *)((char *)flat + TABLE_BYTES);
    alive = flat + PAGEMAP_NR_FLAT + 1; /* the word before it is no block's, and reads as such */
    atomic_store_explicit(alive, 1, memory_order_relaxed);
    atomic_store_explicit(&chunks[0], flat, memory_order_release);
    anydma_table_v1.entries = flat;
    anydma_table_v1.nr_entries = PAGEMAP_NR_FLAT;
    return 0;
}

bool pagemap_is_ours(void)
{
    return atomic_load_explicit(alive, memory_order_relaxed);
}

static void wipe(_Atomic uint64_t *table, size_t len)
{
    if (table && os_madvise((uintptr_t)table, len, MADV_DONTNEED) != 0)
        memset((void *)table, 0, len); /* locked memory */
}

static bool is_silent; /* nothing is published any more */

void pagemap_reset(void)
{
    unsigned nr_far = (unsigned)(anydma_table_v1.nr_far / PAGEMAP_NR_FLAT);
    nr_leaves_used = 1;
    if (is_silent)
        is_silent = false;
    if (!atomic_exchange_explicit(alive, 1, memory_order_relaxed) && !outlives_fork)
        return; /* wiped */
    wipe(atomic_load_explicit(&chunks[0], memory_order_relaxed), CHUNK_BYTES);
    if (nr_far)
        wipe(atomic_load_explicit(&chunks[1], memory_order_relaxed), nr_far * CHUNK_BYTES);
    for (unsigned i = 1 + nr_far; i < NR_CHUNKS; i++)
        wipe(atomic_load_explicit(&chunks[i], memory_order_relaxed), CHUNK_BYTES);
    atomic_store_explicit(alive, 1, memory_order_relaxed);
}

/* The entry for `va`, or NULL where there is no table yet. */
static inline _Atomic uint64_t *find_entry(uintptr_t va)
{
    uint64_t index = va >> 39;
    if (index >= NR_CHUNKS)
        return NULL;
    _Atomic uint64_t *chunk = atomic_load_explicit(&chunks[index], memory_order_acquire);
    return chunk ? &chunk[(va >> PAGEMAP_BLOCK_SHIFT) & (PAGEMAP_NR_FLAT - 1)] : NULL;
}

static _Atomic uint64_t *make_entry(uintptr_t va)
{
    uint64_t index = va >> 39;
    if (index < NR_CHUNKS && !atomic_load_explicit(&chunks[index], memory_order_relaxed)) {
        _Atomic uint64_t *chunk = map_chunk(TABLE_BYTES);
        if (chunk)
            atomic_store_explicit(&chunks[index], chunk, memory_order_release);
    }
    return find_entry(va);
}

static inline struct leaf *leaf_of(uint64_t entry)
{
    return &leaves[(entry & (PAGEMAP_BLOCK_SIZE - 1)) >> LEAF_SHIFT];
}

static inline unsigned page_in_block(uintptr_t va)
{
    return (unsigned)(va >> OS_PAGE_SHIFT) & (PAGES_PER_BLOCK - 1);
}

bool pagemap_lookup_run(uintptr_t va, uint64_t *iova, size_t *run_len)
{
    _Atomic uint64_t *slot = find_entry(va);
    if (!slot)
        return false;
    uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
    *run_len = PAGEMAP_BLOCK_SIZE - (va & (PAGEMAP_BLOCK_SIZE - 1));
    if (!(entry & PAGEMAP_FULL)) {
        if (!(entry & PAGEMAP_LEAF))
            return false;
        unsigned page = page_in_block(va);
        uint64_t word = atomic_load_explicit(&leaf_of(entry)->present[page / 64], memory_order_acquire);
        if (!(word >> (page % 64) & 1))
            return false;
        *run_len = OS_PAGE_SIZE - (va & (OS_PAGE_SIZE - 1));
    }
    *iova = va + (entry & DELTA_MASK);
    return true;
}

bool pagemap_lookup(uintptr_t va, uint64_t *iova)
{
    size_t run_len;
    return pagemap_lookup_run(va, iova, &run_len);
}

bool pagemap_is_pinned(uintptr_t va)
{
    _Atomic uint64_t *slot = find_entry(va);
    return slot && atomic_load_explicit(slot, memory_order_acquire) & (PAGEMAP_FULL | PAGEMAP_PINNED);
}

int pagemap_mark_pinned(uintptr_t start, size_t len)
{
    for (uintptr_t va = start & DELTA_MASK; va < start + len; va += PAGEMAP_BLOCK_SIZE) {
        _Atomic uint64_t *slot = make_entry(va);
        if (!slot)
            return -ENOMEM;
        uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);
        if (!(entry & PAGEMAP_FULL))
            atomic_store_explicit(slot, entry | PAGEMAP_PINNED, memory_order_release);
    }
    return 0;
}

void pagemap_mark_whole(uintptr_t start, size_t len)
{
    uintptr_t block = (start + PAGEMAP_BLOCK_SIZE - 1) & DELTA_MASK;
    for (; block + PAGEMAP_BLOCK_SIZE <= start + len; block += PAGEMAP_BLOCK_SIZE) {
        _Atomic uint64_t *slot = find_entry(block);
        uint64_t entry = slot ? atomic_load_explicit(slot, memory_order_relaxed) : PAGEMAP_FULL;
        if (!(entry & (PAGEMAP_FULL | PAGEMAP_LEAF)))
            atomic_store_explicit(slot, PAGEMAP_PINNED | PAGEMAP_WHOLE, memory_order_release);
    }
}

/* Bits [first, last] of the leaf's map are all set. */
static bool leaf_has(struct leaf *leaf, unsigned first, unsigned last)
{
    for (unsigned page = first; page <= last; page++)
        if (!(atomic_load_explicit(&leaf->present[page / 64], memory_order_acquire) >> (page % 64) & 1))
            return false;
    return true;
}

bool pagemap_is_registered(uintptr_t start, size_t len)
{
    for (uintptr_t va = start, end = start + len, next; va < end; va = next) {
        next = (va | (PAGEMAP_BLOCK_SIZE - 1)) + 1;
        _Atomic uint64_t *slot = find_entry(va);
        uint64_t entry = slot ? atomic_load_explicit(slot, memory_order_acquire) : 0;
        unsigned last = page_in_block((next < end ? next : end) - 1);
        bool is_registered = entry & PAGEMAP_LEAF ? leaf_has(leaf_of(entry), page_in_block(va), last)
                                                  : entry & (PAGEMAP_FULL | PAGEMAP_WHOLE);
        if (!is_registered)
            return false;
    }
    return true;
}

void pagemap_unmark_pinned(uintptr_t block)
{
    _Atomic uint64_t *slot = find_entry(block);
    if (!slot)
        return;
    uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);
    atomic_store_explicit(slot, entry & ~PAGEMAP_PINNED, memory_order_release);
}

/* Bits [first, last] of the leaf's map set or cleared. */
static void leaf_change(struct leaf *leaf, unsigned first, unsigned last, bool present)
{
    for (unsigned word = first / 64; word <= last / 64; word++) {
        uint64_t mask = UINT64_MAX;
        if (word == first / 64)
            mask &= UINT64_MAX << (first % 64);
        if (word == last / 64)
            mask &= UINT64_MAX >> (63 - last % 64);
        if (present)
            atomic_fetch_or_explicit(&leaf->present[word], mask, memory_order_release);
        else
            atomic_fetch_and_explicit(&leaf->present[word], ~mask, memory_order_release);
    }
}

static bool leaf_is_empty(struct leaf *leaf)
{
    for (unsigned i = 0; i < PAGES_PER_BLOCK / 64; i++)
        if (atomic_load_explicit(&leaf->present[i], memory_order_relaxed))
            return false;
    return true;
}

/* Low bits for a fresh leaf with no page, or 0 when there are none left. */
static uint64_t new_leaf(bool present)
{
    if (nr_leaves_used == nr_leaves)
        return 0;
    uint64_t number = nr_leaves_used++;
    leaf_change(&leaves[number], 0, PAGES_PER_BLOCK - 1, present);
    return number << LEAF_SHIFT | PAGEMAP_LEAF;
}

static void publish_in_block(uintptr_t start, uintptr_t end, uint64_t delta)
{
    _Atomic uint64_t *slot = make_entry(start);
    if (!slot)
        return;
    uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);
    if (entry & PAGEMAP_FULL)
        return;
    if (!(entry & PAGEMAP_LEAF) && end - start == PAGEMAP_BLOCK_SIZE) {
        atomic_store_explicit(slot, delta | PAGEMAP_FULL, memory_order_release);
        return;
    }
    /* Another delta takes a new leaf: a reader may still combine the old entry with what the old leaf says. */
    bool keeps_leaf = entry & PAGEMAP_LEAF && (entry & DELTA_MASK) == delta;
    if (entry & PAGEMAP_LEAF && !keeps_leaf && !leaf_is_empty(leaf_of(entry)))
        return;
    uint64_t low = keeps_leaf ? entry & ~DELTA_MASK : new_leaf(false);
    if (!(low & PAGEMAP_LEAF))
        return;
    atomic_store_explicit(slot, delta | low | PAGEMAP_PINNED, memory_order_release);
    leaf_change(leaf_of(low), page_in_block(start), page_in_block(end - 1), true);
}

static void clear_in_block(uintptr_t start, uintptr_t end)
{
    _Atomic uint64_t *slot = find_entry(start);
    uint64_t entry = slot ? atomic_load_explicit(slot, memory_order_relaxed) : 0;
    if (entry & PAGEMAP_LEAF) {
        leaf_change(leaf_of(entry), page_in_block(start), page_in_block(end - 1), false);
    } else if (entry & PAGEMAP_FULL) {
        uint64_t low = end - start == PAGEMAP_BLOCK_SIZE ? 0 : new_leaf(true);
        if (low)
            leaf_change(leaf_of(low), page_in_block(start), page_in_block(end - 1), false);
        atomic_store_explicit(slot, low ? (entry & DELTA_MASK) | low | PAGEMAP_PINNED : PAGEMAP_PINNED,
                              memory_order_release);
    } else if (entry & PAGEMAP_WHOLE) {
        atomic_store_explicit(slot, entry & ~PAGEMAP_WHOLE, memory_order_release);
    }
}

void pagemap_publish_no_more(void)
{
    is_silent = true;
}

void pagemap_publish(uintptr_t start, size_t len, uint64_t delta)
{
    for (uintptr_t va = start, end = start + len, next; !is_silent && va < end; va = next) {
        next = (va | (PAGEMAP_BLOCK_SIZE - 1)) + 1;
        publish_in_block(va, next < end ? next : end, delta);
    }
}

void pagemap_clear(uintptr_t start, size_t len)
{
    for (uintptr_t va = start, end = start + len, next; va < end; va = next) {
        next = (va | (PAGEMAP_BLOCK_SIZE - 1)) + 1;
        clear_in_block(va, next < end ? next : end);
    }
}
