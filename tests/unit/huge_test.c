/* SPDX-License-Identifier: MIT */
/* What is remembered of huge pages in the heap's zone: which blocks are whole. The kernel's own part, the collapse, is in
 * tests/preload/huge_pages.c. */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "attached.h"
#include "memory/extents.h"
#include "memory/huge.h"
#include "memory/owners.h"

static struct zone *zone;

/* Eight blocks of the heap, mapped, where huge pages may be asked for. */
static void start(void)
{
    start_unattached(&owners_memory_ops);
    for (unsigned i = 0; i < nr_zones && !zone; i++)
        zone = zones[i].kind == ZONE_HEAP ? &zones[i] : NULL;
    cr_assert(zone && zone->whole);
    void *at = mmap((void *)zone->start, 8 * BLOCK_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    cr_assert_eq((uintptr_t)at, zone->start);
    if (madvise(at, BLOCK_SIZE, MADV_HUGEPAGE) != 0)
        cr_skip("this kernel has no huge pages to ask for");
    config.thp = THP_ALWAYS;
}

/* A bit for each of the first eight blocks. */
static unsigned whole(void)
{
    return (unsigned)zone->whole[0] & 0xff;
}

Test(huge, what_is_committed_for_huge_pages_is_whole_in_its_inner_blocks, .init = start)
{
    huge_committed(zone, zone->start + BLOCK_SIZE / 2, 3 * BLOCK_SIZE);
    cr_expect_eq(whole(), 0x06);
    huge_committed(zone, zone->start + 4 * BLOCK_SIZE, 2 * BLOCK_SIZE);
    cr_expect_eq(whole(), 0x36);
}

Test(huge, less_than_a_block_is_not_whole_and_ends_what_was, .init = start)
{
    huge_committed(zone, zone->start, 4 * BLOCK_SIZE);
    cr_expect_eq(whole(), 0x0f);
    huge_committed(zone, zone->start + BLOCK_SIZE, BLOCK_SIZE / 2);
    cr_expect_eq(whole(), 0x0d);
}

Test(huge, a_block_of_which_a_part_was_dropped_is_not_whole, .init = start)
{
    huge_committed(zone, zone->start, 8 * BLOCK_SIZE);
    huge_dropped(zone, zone->start + BLOCK_SIZE,
                 2 * BLOCK_SIZE); /* all of both: what comes there is huge again */
    cr_expect_eq(whole(), 0xff);
    huge_dropped(zone, zone->start + 4 * BLOCK_SIZE + BLOCK_SIZE / 2, BLOCK_SIZE);
    cr_expect_eq(whole(), 0xcf);
}

Test(huge, unasked_nothing_is_whole, .init = start)
{
    config.thp = THP_NEVER;
    huge_committed(zone, zone->start, 8 * BLOCK_SIZE);
    cr_expect_eq(whole(), 0);
    config.thp = THP_AUTO; /* from the first pin on */
    huge_committed(zone, zone->start, 8 * BLOCK_SIZE);
    cr_expect_eq(whole(), 0);
    huge_prepare(zone, zone->start, 0);
    huge_committed(zone, zone->start, 8 * BLOCK_SIZE);
    cr_expect_eq(whole(), 0xff);
}

Test(huge, a_fork_makes_small_pages_of_what_was_pinned, .init = start)
{
    huge_committed(zone, zone->start, 8 * BLOCK_SIZE);
    huge_forget();
    cr_expect_eq(whole(), 0xff); /* nothing was pinned: nothing is copied page by page */
    huge_prepare(zone, zone->start, 0);
    huge_forget();
    cr_expect_eq(whole(), 0);
}
