/* SPDX-License-Identifier: MIT */
/* In how many calls a large allocation is registered, and what it costs those who use little of it. */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "anydma.h"
#include "attached.h"
#include "dma/attachments.h"
#include "dma/pins.h"
#include "dma/registry.h"
#include "dma/stats.h"
#include "memory/extents.h"
#include "memory/mappings.h"
#include "memory/places.h"
#include "memory/populate.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)
#define BLOCK ((size_t)2 << 20)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

enum { FD = 60, OTHER_FD = 61, MOST_CALLS = 32 };

/* Touches nothing: what is looked up need not be there. */
static void attach(int fd, uint64_t memlock_bytes)
{
    struct sim_config sim;
    struct iommu iommu;
    sim_config_default(&sim);
    sim.populate = false;
    sim.memlock_bytes = memlock_bytes;
    cr_assert_eq(sim_init(&iommu, &sim), 0);
    iommu.fd = fd;
    cr_assert_eq(attachments_add(&iommu), 0);
}

static void unattached(void)
{
    start_unattached(&arena_memory_ops);
}

static void attached(void)
{
    unattached();
    attach(FD, UINT64_MAX);
}

static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats = {0};
    stats_fill(&stats);
    return stats;
}

static uintptr_t allocate(size_t len)
{
    bool is_zero = false;
    uintptr_t at = extents_take(len, PAGE, &is_zero);
    cr_assert_gt(at, 0);
    return at;
}

static uintptr_t map(size_t len)
{
    intptr_t at = places_map(len, RW, MAP_PRIVATE | MAP_ANONYMOUS, PAGE_ORDINARY);
    cr_assert_gt(at, 0);
    return (uintptr_t)at;
}

static int look_up(uintptr_t va, size_t len)
{
    uint64_t iova;
    int error = 0;
    for (size_t done = 0, run; done < len && !error; done += run) {
        run = len - done;
        error = pagemap_lookup_run(va + done, &iova, &run)
                    ? 0
                    : registry_lookup(va + done, len - done, &iova, &run);
        cr_assert(error || iova == va + done);
    }
    return error;
}

static void look_up_each_block(uintptr_t va, size_t len)
{
    for (size_t at = 0; at < len; at += BLOCK)
        cr_assert_eq(look_up(va + at, 1), 0);
}

static void expect_few_calls(size_t len)
{
    cr_expect_leq(stats_now().maps, MOST_CALLS, "%lu calls", stats_now().maps);
    cr_expect_leq(stats_now().entries_used, MOST_CALLS);
    cr_expect_geq(stats_now().pinned, len);
}

static void expect_nothing_left(void)
{
    cr_expect_eq(stats_now().pinned, 0);
    cr_expect_eq(stats_now().registrations, 0);
    cr_expect_eq(stats_now().unmaps, stats_now().maps, "each is undone by one call");
}

Test(lumps, a_pin_of_an_allocation_is_few_calls_and_so_is_its_end, .init = attached)
{
    uintptr_t at = allocate(GIB);
    cr_assert_eq(pins_add(at, GIB), 0);
    expect_few_calls(GIB);
    cr_assert_eq(pins_remove(at, GIB), 0);
    extents_give(at, GIB);
    expect_nothing_left();
}

Test(lumps, a_range_of_a_mapping_is_few_calls, .init = attached)
{
    uintptr_t at = map(GIB);
    cr_assert_eq(look_up(at + PAGE, GIB - 2 * PAGE), 0);
    expect_few_calls(GIB);
    cr_assert_eq(mappings_unmap(at, GIB), 0);
    expect_nothing_left();
}

Test(lumps, lookups_one_after_the_other_are_few_calls, .init = attached)
{
    uintptr_t at = allocate(GIB);
    look_up_each_block(at, GIB);
    expect_few_calls(GIB);
    extents_give(at, GIB);
    expect_nothing_left();
}

Test(lumps, and_so_are_lookups_from_the_end, .init = attached)
{
    uintptr_t at = allocate(GIB);
    for (size_t end = GIB; end; end -= BLOCK)
        cr_assert_eq(look_up(at + end - BLOCK, 1), 0);
    expect_few_calls(GIB);
}

Test(lumps, no_lookup_asks_twice_for_what_one_call_registered, .init = attached)
{
    uintptr_t at = allocate(GIB);
    uint64_t iova;
    cr_assert_eq(pins_add(at, GIB), 0);
    cr_assert_eq(look_up(at + 512 * MIB, 1), 0);
    cr_assert(pagemap_lookup(at + 512 * MIB + 63 * MIB, &iova), "the whole registration answers");
    cr_assert_eq(iova, at + 512 * MIB + 63 * MIB);
}

/* Where the heap's units are larger, as they are above the arena's first zones, a mapping's are not. */
Test(lumps, who_uses_little_pins_little, .init = attached)
{
    uintptr_t at = map(256 * MIB);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(look_up(at + i * 64 * MIB + 5 * MIB, 64), 0);
    cr_expect_eq(stats_now().pinned, 4 * BLOCK, "%lu KiB", stats_now().pinned >> 10);
    cr_assert_eq(look_up(at + 64 * MIB - 24 * MIB, 4 * MIB), 0);
    cr_expect_eq(stats_now().pinned, 4 * BLOCK + 4 * MIB, "a range is no more than its blocks");
}

Test(lumps, the_end_of_a_part_leaves_the_rest_registered, .init = attached)
{
    uintptr_t at = map(GIB);
    uint64_t iova;
    cr_assert_eq(look_up(at, GIB), 0);
    uint64_t pinned = stats_now().pinned;
    cr_assert_eq(mappings_unmap(at + 100 * MIB, 30 * PAGE), 0);
    cr_expect_eq(stats_now().unmaps, 0);
    cr_expect_eq(stats_now().pinned, pinned);
    cr_assert(pagemap_lookup(at + 99 * MIB, &iova));
    cr_assert_not(pagemap_lookup(at + 100 * MIB, &iova));
    cr_assert_eq(look_up(at + 100 * MIB, 1), -EFAULT);
    cr_assert_eq(mappings_unmap(at, GIB), 0);
    expect_nothing_left();
}

Test(lumps, eager_mode_begins_with_few_calls, .init = unattached)
{
    config.mode = MODE_EAGER;
    config.limit_bytes = 64 * GIB;
    uintptr_t at = allocate(GIB);
    attach(FD, UINT64_MAX);
    expect_few_calls(GIB);
    extents_give(at, GIB);
    expect_nothing_left();
}

Test(lumps, eager_mode_registers_what_it_hands_out_by_few_calls, .init = unattached)
{
    config.mode = MODE_EAGER;
    config.limit_bytes = 64 * GIB;
    attach(FD, UINT64_MAX);
    uint64_t before = stats_now().maps;
    uintptr_t at = allocate(GIB), mapped = map(GIB);
    cr_expect_leq(stats_now().maps - before, 2 * MOST_CALLS);
    cr_expect_geq(stats_now().pinned, 2 * GIB);
    cr_assert_eq(mappings_unmap(mapped, GIB), 0);
    extents_give(at, GIB);
    expect_nothing_left();
}

/* Every second block first: nothing is beside anything. */
static void look_up_scattered(uintptr_t at)
{
    for (size_t first = 0; first < 16; first++)
        for (size_t block = first; block < GIB / BLOCK; block += 16)
            cr_assert_eq(look_up(at + block * BLOCK, 1), 0);
}

Test(lumps, what_is_owed_is_paid_by_few_calls, .init = unattached)
{
    uintptr_t at = allocate(GIB);
    look_up_scattered(at);
    attach(FD, UINT64_MAX);
    expect_few_calls(GIB);
    uint64_t calls = stats_now().maps;
    look_up_each_block(at, GIB);
    cr_expect_eq(stats_now().maps, calls, "all of it was owed");
    attach(OTHER_FD, UINT64_MAX);
    cr_expect_eq(stats_now().maps, 2 * calls, "another container gets the same");
}

/* Pages of [at, at + len) that are there. */
static size_t present(uintptr_t at, size_t len)
{
    static unsigned char there[GIB / PAGE];
    size_t nr = 0;
    cr_assert_eq(mincore((void *)at, len, there), 0);
    for (size_t i = 0; i < len / PAGE; i++)
        nr += there[i] & 1;
    return nr;
}

static uintptr_t owe_untouched(size_t len)
{
    config.threads = 2;
    uintptr_t at = allocate(len);
    cr_assert_eq(look_up(at, len), 0);
    cr_assert_eq(present(at, len), 0);
    return at;
}

/* The simulated container brings in nothing itself. */
Test(lumps, what_is_owed_is_brought_in_before_it_is_paid, .init = unattached)
{
    uintptr_t at = owe_untouched(128 * MIB);
    attach(FD, UINT64_MAX);
    cr_expect_eq(present(at, 128 * MIB), 128 * MIB / PAGE);
}

Test(lumps, but_not_for_a_device_that_pins_nothing, .init = unattached)
{
    uintptr_t at = owe_untouched(128 * MIB);
    populate_give_up();
    attach(FD, UINT64_MAX);
    cr_expect_eq(present(at, 128 * MIB), 0);
}

Test(lumps, nor_what_another_container_has, .init = attached)
{
    config.threads = 2;
    uintptr_t at = allocate(128 * MIB);
    populate_give_up();
    cr_assert_eq(look_up(at, 128 * MIB), 0);
    attach(OTHER_FD, UINT64_MAX);
    cr_expect_eq(present(at, 128 * MIB), 0);
}

Test(lumps, what_is_owed_and_does_not_fit_whole_is_paid_as_far_as_it_fits, .init = unattached)
{
    uintptr_t at = allocate(GIB);
    cr_assert_eq(look_up(at, GIB), 0);
    attach(FD, 250 * MIB);
    cr_expect_eq(stats_now().pinned, 250 * MIB);
    cr_assert_eq(look_up(at + 249 * MIB, 1), 0);
    cr_assert_neq(look_up(at + 251 * MIB, 1), 0);
}

Test(lumps, near_a_limit_blocks_are_registered_and_then_pages, .init = unattached)
{
    attach(FD, 67 * MIB);
    uintptr_t at = (map(256 * MIB) + 64 * MIB - 1) & ~(64 * MIB - 1);
    uint64_t iova;
    size_t run;
    cr_assert_eq(registry_lookup(at, 64 * MIB, &iova, &run), 0);
    cr_assert_eq(registry_lookup(at + 64 * MIB, 64 * MIB, &iova, &run), 0);
    cr_expect_lt(run, 64 * MIB);
    cr_expect_gt(stats_now().pinned, 64 * MIB);
    cr_assert_eq(registry_lookup(at + 128 * MIB, PAGE, &iova, &run), 0);
    cr_expect_eq(run, PAGE);
}

Test(lumps, a_granule_that_was_asked_for_is_what_is_registered, .init = attached)
{
    config.granule_bytes = 16 * PAGE;
    uintptr_t at = map(64 * MIB);
    cr_assert_eq(look_up(at, MIB), 0);
    cr_expect_eq(stats_now().pinned, MIB);
    cr_expect_eq(stats_now().maps, 16);
}
