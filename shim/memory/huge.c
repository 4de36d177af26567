/* SPDX-License-Identifier: MIT */
/* Makes huge pages, and remembers where there are some. */
#include "memory/huge.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/config.h"
#include "base/os.h"
#include "memory/populate.h"

enum { PAGES_OF_BLOCK = BLOCK_SIZE / OS_PAGE_SIZE };

static _Atomic bool is_wanted; /* set under LOCK_ARENA, never taken back */
/* Some of the heap. Before that a forked child has nothing to forget, and copies no page for it. */
static bool was_pinned;

static bool is_expected(void)
{
    return atomic_load_explicit(&is_wanted, memory_order_acquire);
}

static void set_whole(struct zone *zone, uintptr_t start, uintptr_t end, bool whole)
{
    for (uintptr_t block = start; block < end; block += BLOCK_SIZE) {
        size_t bit = (block - zone->start) >> BLOCK_SHIFT;
        uint64_t mask = UINT64_C(1) << (bit % 64);
        if (whole)
            atomic_fetch_or_explicit(&zone->whole[bit / 64], mask, memory_order_relaxed);
        else if (atomic_load_explicit(&zone->whole[bit / 64], memory_order_relaxed) & mask)
            atomic_fetch_and_explicit(&zone->whole[bit / 64], ~mask, memory_order_relaxed);
    }
}

static bool is_whole(const struct zone *zone, uintptr_t block)
{
    size_t bit = (block - zone->start) >> BLOCK_SHIFT;
    return zone->whole &&
           atomic_load_explicit(&zone->whole[bit / 64], memory_order_relaxed) >> (bit % 64) & 1;
}

static uintptr_t block_up(uintptr_t addr)
{
    return (addr + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);
}

void huge_committed(struct zone *zone, uintptr_t start, size_t len)
{
    uintptr_t end = start + len, last_whole = end & ~(BLOCK_SIZE - 1);
    bool asked = config.thp == THP_ALWAYS || (config.thp != THP_NEVER && is_expected());
    if (asked)
        asked = os_madvise(start, len, MADV_HUGEPAGE) == 0;
    set_whole(zone, start & ~(BLOCK_SIZE - 1), end, false);
    if (asked && block_up(start) < last_whole)
        set_whole(zone, block_up(start), last_whole, true);
}

void huge_dropped(struct zone *zone, uintptr_t start, size_t len)
{
    uintptr_t end = start + len;
    if (start & (BLOCK_SIZE - 1))
        set_whole(zone, start & ~(BLOCK_SIZE - 1), start, false);
    if (end & (BLOCK_SIZE - 1))
        set_whole(zone, end & ~(BLOCK_SIZE - 1), end, false);
}

void huge_moved(struct zone *zone, uintptr_t start, size_t len)
{
    set_whole(zone, start & ~(BLOCK_SIZE - 1), start + len, false);
}

/* [start, end) where the runs from `run` on are all committed; returns the first that is not. */
static struct run *committed_from(struct run *run, uintptr_t *start, uintptr_t *end)
{
    *start = *end = run->start;
    for (; run && run->kind.state != PAGE_NONE; run = runs_next(run))
        *end = run->start + run->len;
    return run ? runs_next(run) : NULL; /* a PAGE_NONE has no other behind it */
}

/* From now on: what is committed already, too, as far as it is still to be touched. */
static void want(void)
{
    uintptr_t start, end;
    lock_take(&zones_lock);
    bool was_wanted = atomic_exchange_explicit(&is_wanted, true, memory_order_acq_rel);
    for (unsigned i = 0; config.thp != THP_ALWAYS && !was_wanted && i < nr_zones; i++) {
        struct run *run = zones[i].kind == ZONE_HEAP ? runs_at(&zones[i].runs, zones[i].start) : NULL;
        while (run) {
            run = committed_from(run, &start, &end);
            if (end > start)
                os_madvise(start, end - start, MADV_HUGEPAGE);
        }
    }
    lock_release(&zones_lock);
}

/* One huge page instead of 512: fill in a page (an untouched block can't be collapsed), collapse, and pin afterwards (a
 * pinned page can't be). By calls only: no lock keeps the block mapped. Since Linux 6.1; failure means base pages. */
static int collapse(uintptr_t block)
{
    enum { ADVICE_POPULATE_WRITE = 23, ADVICE_COLLAPSE = 25 };
    int error = os_madvise(block, OS_PAGE_SIZE, ADVICE_POPULATE_WRITE);
    return error ? error : os_madvise(block, BLOCK_SIZE, ADVICE_COLLAPSE);
}

static _Atomic bool is_filtered;

void huge_give_up(void)
{
    is_filtered = true;
}

/* How many pages of the block are there; all, where nobody may be asked. */
static unsigned touched(uintptr_t block)
{
    unsigned char there[PAGES_OF_BLOCK];
    unsigned nr = 0;
    if (is_filtered || os_call(SYS_mincore, (long)block, BLOCK_SIZE, (long)there, 0, 0, 0) != 0)
        return PAGES_OF_BLOCK;
    for (unsigned i = 0; i < PAGES_OF_BLOCK; i++)
        nr += there[i] & 1;
    return nr;
}

/*
 * What may be spent on making blocks, unless ANYDMA_THP=always: where half of the pages is untouched, a huge page takes less than
 * bringing in those pages one by one, which the pin would do in the same place; where all are touched, ten times as long as the pin.
 * So much is right while the kernel has huge pages: each block takes 0.2 to 0.8 ms, and up to 4 ms in a virtual machine whose host
 * has to find the memory first. Where it moves others' pages about, which takes longer, that is a debt, in which nothing is made.
 */
enum { PAGE_NS = 8000, MOST_CREDIT_NS = 100000000 };
static int64_t credit_ns = MOST_CREDIT_NS; /* under LOCK_REGISTRY */

/* Of `len` bytes that are to be pinned. -EAGAIN: it stays as it is. The heap's untouched blocks become huge by themselves. */
static int collapse_within_budget(const struct zone *zone, uintptr_t block, size_t len)
{
    if (config.thp == THP_ALWAYS)
        return is_filtered ? -EINVAL : collapse(block);
    unsigned nr = touched(block);
    if (nr > PAGES_OF_BLOCK / 2 || (nr == 0 && zone->kind == ZONE_HEAP))
        return -EAGAIN;
    if (!populate_may_be_pinned(len))
        return -ENOMEM;
    credit_ns += (int64_t)(PAGES_OF_BLOCK - nr) * PAGE_NS;
    credit_ns = credit_ns < MOST_CREDIT_NS ? credit_ns : MOST_CREDIT_NS;
    if (credit_ns < 0)
        return -EAGAIN;
    uint64_t began = os_monotonic_ns();
    int error = collapse(block);
    credit_ns -= (int64_t)(os_monotonic_ns() - began);
    return error;
}

void huge_expect_device(void)
{
    if (config.thp != THP_NEVER && !is_expected())
        want();
}

void huge_prepare(struct zone *zone, uintptr_t start, size_t len)
{
    if (config.thp == THP_NEVER)
        return;
    huge_expect_device();
    was_pinned = true;
    for (uintptr_t block = block_up(start); block + BLOCK_SIZE <= start + len; block += BLOCK_SIZE) {
        int error = is_whole(zone, block) ? 0 : collapse_within_budget(zone, block, len);
        if (error == -EINVAL || error == -ENOMEM)
            return;
        if (!error && zone->whole)
            set_whole(zone, block, block + BLOCK_SIZE, true);
    }
}

void huge_forget(void)
{
    for (unsigned i = 0; was_pinned && i < nr_zones; i++)
        if (zones[i].kind == ZONE_HEAP)
            set_whole(&zones[i], zones[i].start, zones[i].end, false);
}
