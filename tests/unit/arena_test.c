/* SPDX-License-Identifier: MIT */
/* The arena over the registry and the simulated IOMMU: who gets which pages, what is held back, what a failed
 * call leaves. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "anydma.h"
#include "attached.h"
#include "base/config.h"
#include "dma/dma.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "dma/stats.h"
#include "memory/arena.h"
#include "memory/extents.h"
#include "memory/mappings.h"
#include "memory/places.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)
#define BLOCK_PAGES ((size_t)512)

static void start(void)
{
    start_unattached(&arena_memory_ops);
    attach_sim();
}

static int look_up(uintptr_t va)
{
    uint64_t iova;
    size_t run_len;
    return registry_lookup(va, 1, &iova, &run_len);
}

static uint64_t pinned(void)
{
    struct anydma_stats stats = {0};
    stats_fill(&stats);
    return stats.pinned;
}

/* A mapping of the program's, as the door makes it. */
static uintptr_t map(size_t nr_pages)
{
    intptr_t at = places_map(nr_pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, PAGE_ORDINARY);
    cr_assert_gt(at, 0);
    return (uintptr_t)at;
}

static bool is_zero_at(uintptr_t at, size_t len)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static uintptr_t take(size_t nr_pages)
{
    bool is_zero = true;
    uintptr_t at = extents_take(nr_pages * PAGE, PAGE, &is_zero);
    cr_assert(is_zero);
    return at;
}

Test(arena, the_heap_is_told_which_pages_are_not_zero, .init = start)
{
    uintptr_t neighbour = take(1), at = take(3), third = take(64);
    bool is_zero = false;
    cr_assert_eq(look_up(neighbour), 0);
    memset((void *)at, 0xee, 3 * PAGE);
    extents_give(at, 3 * PAGE);
    cr_assert_eq(extents_take(2 * PAGE, PAGE, &is_zero), at);
    cr_assert_not(is_zero);
    cr_assert_eq(*(unsigned char *)at, 0xee, "nobody asked for zeroed pages");
    cr_assert_eq(take(1), at + 2 * PAGE);
    cr_assert(is_zero_at(at + 2 * PAGE, PAGE));
    is_zero = false;
    uintptr_t fresh = extents_take(128 * PAGE, PAGE, &is_zero);
    cr_assert(is_zero);
    cr_assert(is_zero_at(fresh, 128 * PAGE));
    extents_give(third, 64 * PAGE);
}

Test(arena, the_heap_gets_zeroed_pages_also_of_what_stays_pinned, .init = start)
{
    uintptr_t at = take(8), neighbour = take(1);
    cr_assert(is_zero_at(at, 8 * PAGE));
    memset((void *)at, 0xee, 8 * PAGE);
    cr_assert_eq(look_up(neighbour), 0);
    extents_give(at, 8 * PAGE);
    cr_assert_gt(pinned(), 0, "the neighbour keeps the unit registered");
    cr_assert_eq(look_up(at), -EFAULT);
    uintptr_t again = take(8);
    cr_assert(is_zero_at(again, 8 * PAGE));
    extents_give(again, 8 * PAGE);
    extents_give(neighbour, PAGE);
    cr_assert_eq(pinned(), 0);
}

Test(arena, a_part_that_is_unmapped_is_held_back_until_the_rest_goes, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(look_up(at), 0);
    cr_assert_eq(mappings_unmap(at + 4 * PAGE, 4 * PAGE), 0);
    cr_assert_eq(arena_held_back_bytes(), 4 * PAGE);
    cr_assert_eq(look_up(at + 4 * PAGE), -EFAULT);
    cr_assert_neq(map(4), at + 4 * PAGE, "nobody else is given it");
    cr_assert_eq(mappings_unmap(at, 16 * PAGE), 0);
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert_eq(pinned(), 0);
    cr_assert(is_free(at, 16 * PAGE));
}

Test(arena, what_is_not_registered_is_free_at_once, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(mappings_unmap(at + 4 * PAGE, 4 * PAGE), 0);
    cr_assert(is_free(at + 4 * PAGE, 4 * PAGE));
    cr_assert_eq(arena_held_back_bytes(), 0);
}

static bool is_mapped(uintptr_t at)
{
    unsigned char resident;
    return mincore((void *)at, PAGE, &resident) == 0;
}

Test(arena, what_was_unmapped_is_not_mapped_any_more, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(mappings_unmap(at, 8 * PAGE), 0);
    cr_assert_not(is_mapped(at));
    cr_assert_eq(look_up(at + 8 * PAGE), 0);
    cr_assert_eq(mappings_unmap(at + 8 * PAGE, 4 * PAGE), 0);
    cr_assert_eq(arena_held_back_bytes(), 4 * PAGE);
    cr_assert_not(is_mapped(at + 8 * PAGE), "held back, but not mapped");
    cr_assert_eq(mappings_unmap(at + 12 * PAGE, 4 * PAGE), 0);
    cr_assert_not(is_mapped(at + 12 * PAGE));
}

Test(arena, an_unmap_wider_than_what_is_mapped_leaves_the_rest_free, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(mappings_unmap(at, 12 * PAGE), 0);
    cr_assert_eq(look_up(at + 12 * PAGE), 0);
    cr_assert_eq(mappings_unmap(at, 16 * PAGE), 0);
    cr_assert_not(is_mapped(at));
    cr_assert(is_free(at, 16 * PAGE));
    cr_assert_eq(map(16), at, "and is handed out again");
}

Test(arena, what_the_program_does_not_use_is_not_mapped, .init = start)
{
    uintptr_t small = take(1), at = take(16 * BLOCK_PAGES), above = take(1);
    cr_assert(is_mapped(at + 16 * BLOCK_PAGES * PAGE - PAGE));
    extents_give(at, 16 * BLOCK_PAGES * PAGE);
    uintptr_t middle = (at + 8 * BLOCK_PAGES * PAGE) & ~(BLOCK_PAGES * PAGE - 1);
    cr_assert_not(is_mapped(middle), "nothing is reserved");
    extents_economize();
    extents_give(small, PAGE);
    extents_give(above, PAGE);
    cr_assert(arena_contains(small) && arena_contains(above));
    memset((void *)take(1), 1, PAGE);
}

Test(arena, what_somebody_else_has_mapped_is_never_handed_out, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(mappings_unmap(at, 16 * PAGE), 0);
    cr_assert_eq(
        (uintptr_t)mmap((void *)(at + 8 * PAGE), PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
        at + 8 * PAGE);
    *(unsigned char *)(at + 8 * PAGE) = 0x55;
    uintptr_t place = places_take(16 * PAGE);
    cr_assert_neq(place, 0);
    cr_assert(place + 16 * PAGE <= at + 8 * PAGE || place >= at + 9 * PAGE);
    cr_assert_eq(*(unsigned char *)(at + 8 * PAGE), 0x55);
    cr_assert_not(is_free(at, 16 * PAGE));
    places_give(place, 16 * PAGE);
    cr_assert_not(is_mapped(place));
    cr_assert(is_free(place, 16 * PAGE));
}

Test(arena, a_purge_of_registered_pages_zeroes_them_where_they_are, .init = start)
{
    uintptr_t at = map(16);
    memset((void *)at, 0x77, 16 * PAGE);
    cr_assert_eq(look_up(at), 0);
    uint64_t before = pinned();
    cr_assert_eq(mappings_advise(at, 8 * PAGE, MADV_DONTNEED), 0);
    cr_assert(is_zero_at(at, 8 * PAGE));
    cr_assert_eq(*(unsigned char *)(at + 8 * PAGE), 0x77);
    cr_assert_eq(pinned(), before);
}

Test(arena, what_replaces_registered_pages_is_refused_until_they_are_gone, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(look_up(at), 0);
    struct page_kind kind = places_kind(4 * PAGE, RW, PAGE_ORDINARY);
    mappings_begin(at, 4 * PAGE, PAGE_REPLACING);
    cr_assert_eq(look_up(at), -EFAULT);
    mmap((void *)at, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    cr_assert_eq(mappings_end(at, 4 * PAGE, PAGE_REPLACED, &kind), 0);
    cr_assert_eq(look_up(at), -ESTALE);
    cr_assert_eq(mappings_unmap(at + 4 * PAGE, 12 * PAGE), 0);
    cr_assert_eq(look_up(at), 0, "the old registration has gone, a new one is made");
}

Test(arena, a_failed_replacement_leaves_what_was_there, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(mappings_unmap(at + 12 * PAGE, 4 * PAGE), 0);
    mappings_begin(at, 16 * PAGE, PAGE_REPLACING);
    cr_assert_not(mappings_are_used(at, 12 * PAGE, 0));
    mappings_end(at, 16 * PAGE, PAGE_FAILED, NULL);
    cr_assert(mappings_are_used(at, 12 * PAGE, PAGE_ORDINARY));
    cr_assert(is_free(at + 12 * PAGE, 4 * PAGE));
}

Test(arena, a_failed_replacement_gives_up_nothing, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(look_up(at), 0);
    cr_assert_eq(mappings_unmap(at + 12 * PAGE, 4 * PAGE), 0);
    mappings_begin(at, 16 * PAGE, PAGE_REPLACING);
    mappings_end(at, 16 * PAGE, PAGE_FAILED, NULL);
    cr_assert_gt(pinned(), 0);
    cr_assert_eq(arena_held_back_bytes(), 4 * PAGE);
    cr_assert(is_free(at + 12 * PAGE, 4 * PAGE));
    cr_assert_eq(look_up(at), 0);
    cr_assert_eq(mappings_unmap(at, 12 * PAGE), 0);
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert_eq(pinned(), 0);
}

Test(arena, no_more_is_registered_than_readable_and_writable_pages, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(mappings_protect(at + 8 * PAGE, PAGE, PROT_READ, -1), 0);
    cr_assert_eq(look_up(at + 8 * PAGE), -EFAULT);
    cr_assert_eq(look_up(at), 0);
    cr_assert_eq(pinned(), 8 * PAGE);
}

Test(arena, a_forked_child_is_given_back_what_was_held, .init = start)
{
    uintptr_t at = map(16);
    cr_assert_eq(look_up(at), 0);
    cr_assert_eq(mappings_unmap(at, 4 * PAGE), 0);
    dma_reset();
    pagemap_reset();
    arena_reset();
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert(is_free(at, 4 * PAGE));
}

static struct pages_ops ops;
static const struct pages_ops *kernels;

static intptr_t look_up_first(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    cr_assert_not(is_mapped(addr));
    cr_assert_eq(look_up(addr), -EFAULT);
    return kernels->map(addr, len, prot, flags, fd, offset);
}

/* A registration that begins just now takes what is placed and not yet made, or no more there, for mapped. */
Test(arena, making_huge_pages_touches_nothing_that_is_not_mapped, .init = start)
{
    config.thp = THP_AUTO;
    uintptr_t at = map(2 * BLOCK_PAGES);
    cr_assert_eq(mappings_unmap(at, 2 * BLOCK_PAGES * PAGE), 0);
    kernels = pages_ops;
    ops = *kernels;
    ops.map = look_up_first;
    pages_ops = &ops;
    cr_assert_eq(map(2 * BLOCK_PAGES), at);
    pages_ops = kernels;
    munmap((void *)(at + BLOCK_PAGES * PAGE / 2), BLOCK_PAGES * PAGE);
    cr_assert_eq(look_up(at), 0);
    cr_assert_eq(pinned(), PAGE, "exactly what was asked for");
}

Test(arena, ranges_are_split_where_it_begins_and_ends, .init = start)
{
    uintptr_t at = map(1);
    bool is_inside;
    cr_assert_eq(arena_split(at, at + PAGE, &is_inside), at + PAGE);
    cr_assert(is_inside && arena_contains(at) && !arena_is_heap(at));
    cr_assert_eq(arena_split(PAGE, 2 * PAGE, &is_inside), 2 * PAGE);
    cr_assert_not(is_inside);
}
