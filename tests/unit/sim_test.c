/* SPDX-License-Identifier: MIT */
/*
 * The simulated IOMMU's rules of type1, v1 and v2, about IOVAs and mappings. Memory is left untouched
 * (populate off), so that any address will do. tests/vm/sim_vs_kernel.c asks the kernel whether it agrees.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "iommu/iommu.h"

#define PAGE UINT64_C(4096)
#define IOVA (64 * PAGE)
#define VA UINT64_C(0x700000000000)

static struct iommu sim;
static struct sim_config config;
static uint64_t unmapped;

static void open_v2(void)
{
    sim_config_default(&config);
    config.populate = false;
    cr_assert_eq(sim_init(&sim, &config), 0);
}

/* Once more, with what the test changed in the configuration. */
static void reopen(void)
{
    sim.ops->close(&sim);
    cr_assert_eq(sim_init(&sim, &config), 0);
}

static void open_v1(void)
{
    open_v2();
    config.rules = SIM_TYPE1_V1;
    reopen();
}

static int map(uint64_t iova, uint64_t va, uint64_t len)
{
    return sim.ops->map(&sim, iova, va, len);
}

static int unmap(uint64_t iova, uint64_t len)
{
    return sim.ops->unmap(&sim, iova, len, &unmapped);
}

static void expect_held(uint64_t bytes, uint64_t entries)
{
    uint64_t held_bytes, held_entries;
    sim_usage(&sim, &held_bytes, &held_entries);
    cr_expect_eq(held_bytes, bytes);
    cr_expect_eq(held_entries, entries);
}

TestSuite(sim_query, .init = open_v2);
TestSuite(sim_map, .init = open_v2);
TestSuite(sim_v2_unmap, .init = open_v2);
TestSuite(sim_v1_unmap, .init = open_v1);

Test(sim_query, default_is_48_bits_without_the_msi_window)
{
    struct iommu_info info;
    cr_assert_eq(sim.ops->query(&sim, &info), 0);
    cr_expect_eq(info.nr_ranges, 2);
    cr_expect_eq(info.ranges[0].start, 0);
    cr_expect_eq(info.ranges[0].last, 0xfedfffff);
    cr_expect_eq(info.ranges[1].start, 0xfef00000);
    cr_expect_eq(info.ranges[1].last, 0xffffffffffff);
    cr_expect_eq(info.page_sizes, 0x40201000);
    cr_expect_eq(info.nr_entries, 65535);
}

Test(sim_query, free_entries_fall_with_each_map_and_rise_with_each_unmap)
{
    struct iommu_info info;
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    sim.ops->query(&sim, &info);
    cr_expect_eq(info.nr_entries, 65534);
    cr_assert_eq(unmap(IOVA, PAGE), 0);
    sim.ops->query(&sim, &info);
    cr_expect_eq(info.nr_entries, 65535);
}

Test(sim_query, unlimited_entries_stay_unlimited)
{
    struct iommu_info info;
    config.max_entries = UINT64_MAX;
    reopen();
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    sim.ops->query(&sim, &info);
    cr_expect_eq(info.nr_entries, UINT64_MAX);
}

Test(sim_map, zero_bytes_give_einval)
{
    cr_expect_eq(map(IOVA, VA, 0), -EINVAL);
}

Test(sim_map, anything_unaligned_gives_einval)
{
    cr_expect_eq(map(IOVA + 8, VA, PAGE), -EINVAL);
    cr_expect_eq(map(IOVA, VA + 8, PAGE), -EINVAL);
    cr_expect_eq(map(IOVA, VA, PAGE + 8), -EINVAL);
}

Test(sim_map, alignment_is_that_of_the_smallest_page)
{
    config.page_sizes = 0x200000;
    reopen();
    cr_expect_eq(map(0x200000, VA, PAGE), -EINVAL);
    cr_expect_eq(map(0x200000, VA, 0x200000), 0);
}

Test(sim_map, wrapping_iova_or_address_gives_einval)
{
    cr_expect_eq(map(IOVA, VA, -IOVA + PAGE), -EINVAL);
    cr_expect_eq(map(IOVA, -PAGE, 2 * PAGE), -EINVAL);
}

Test(sim_map, leaving_the_aperture_gives_einval)
{
    cr_expect_eq(map(UINT64_C(1) << 48, VA, PAGE), -EINVAL);
    cr_expect_eq(map((UINT64_C(1) << 48) - PAGE, VA, 2 * PAGE), -EINVAL);
    cr_expect_eq(map((UINT64_C(1) << 48) - PAGE, VA, PAGE), 0);
}

Test(sim_map, touching_the_msi_window_gives_einval)
{
    cr_expect_eq(map(0xfee00000, VA, PAGE), -EINVAL);
    cr_expect_eq(map(0xfedff000, VA, 2 * PAGE), -EINVAL);
    cr_expect_eq(map(0xfedff000, VA, PAGE), 0);
    cr_expect_eq(map(0xfef00000, VA, PAGE), 0);
}

Test(sim_map, overlap_gives_eexist_and_changes_nothing)
{
    cr_assert_eq(map(IOVA, VA, 4 * PAGE), 0);
    cr_expect_eq(map(IOVA, VA, 4 * PAGE), -EEXIST);
    cr_expect_eq(map(IOVA + PAGE, VA, PAGE), -EEXIST);
    cr_expect_eq(map(IOVA - PAGE, VA, 2 * PAGE), -EEXIST);
    cr_expect_eq(map(IOVA + 3 * PAGE, VA, 2 * PAGE), -EEXIST);
    cr_expect_eq(map(IOVA - PAGE, VA, 8 * PAGE), -EEXIST);
    expect_held(4 * PAGE, 1);
}

Test(sim_map, neighbours_do_not_overlap)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(map(IOVA + PAGE, VA, PAGE), 0);
    cr_expect_eq(map(IOVA - PAGE, VA, PAGE), 0);
}

Test(sim_map, same_memory_may_be_mapped_twice)
{
    cr_expect_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(map(IOVA + 16 * PAGE, VA, PAGE), 0);
}

Test(sim_map, full_table_gives_enospc_until_an_entry_is_free)
{
    config.max_entries = 2;
    reopen();
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_assert_eq(map(IOVA + PAGE, VA, PAGE), 0);
    cr_expect_eq(map(IOVA + 2 * PAGE, VA, PAGE), -ENOSPC);
    cr_assert_eq(unmap(IOVA, PAGE), 0);
    cr_expect_eq(map(IOVA + 2 * PAGE, VA, PAGE), 0);
}

Test(sim_map, full_table_is_found_after_an_overlap_and_before_the_aperture)
{
    config.max_entries = 1;
    reopen();
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(map(IOVA, VA, PAGE), -EEXIST);
    cr_expect_eq(map(0xfee00000, VA, PAGE), -ENOSPC);
}

Test(sim_v2_unmap, whole_mapping_reports_its_size)
{
    cr_assert_eq(map(IOVA, VA, 4 * PAGE), 0);
    cr_expect_eq(unmap(IOVA, 4 * PAGE), 0);
    cr_expect_eq(unmapped, 4 * PAGE);
    expect_held(0, 0);
}

Test(sim_v2_unmap, wide_range_undoes_all_within_and_reports_only_them)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_assert_eq(map(IOVA + 8 * PAGE, VA, 2 * PAGE), 0);
    cr_assert_eq(map(IOVA + 16 * PAGE, VA, PAGE), 0);
    cr_expect_eq(unmap(IOVA - PAGE, 12 * PAGE), 0);
    cr_expect_eq(unmapped, 3 * PAGE);
    expect_held(PAGE, 1);
}

Test(sim_v2_unmap, bisecting_at_either_end_gives_einval_and_changes_nothing)
{
    cr_assert_eq(map(IOVA, VA, 4 * PAGE), 0);
    cr_expect_eq(unmap(IOVA, PAGE), -EINVAL);
    cr_expect_eq(unmap(IOVA + PAGE, 3 * PAGE), -EINVAL);
    cr_expect_eq(unmap(IOVA + PAGE, PAGE), -EINVAL);
    cr_expect_eq(unmapped, 0);
    expect_held(4 * PAGE, 1);
}

Test(sim_v2_unmap, bisecting_the_last_of_several_spares_the_first_too)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_assert_eq(map(IOVA + PAGE, VA, 2 * PAGE), 0);
    cr_expect_eq(unmap(IOVA, 2 * PAGE), -EINVAL);
    expect_held(3 * PAGE, 2);
}

Test(sim_v2_unmap, nothing_there_is_success_with_size_0)
{
    cr_expect_eq(unmap(IOVA, PAGE), 0);
    cr_expect_eq(unmapped, 0);
}

Test(sim_v2_unmap, outside_the_aperture_is_success_with_size_0)
{
    cr_expect_eq(unmap(UINT64_C(1) << 52, PAGE), 0);
    cr_expect_eq(unmapped, 0);
}

Test(sim_v2_unmap, zero_unaligned_or_wrapping_gives_einval)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(unmap(IOVA, 0), -EINVAL);
    cr_expect_eq(unmap(IOVA, PAGE - 1), -EINVAL);
    cr_expect_eq(unmap(IOVA + 1, PAGE), -EINVAL);
    cr_expect_eq(unmap(IOVA, -IOVA + PAGE), -EINVAL);
    expect_held(PAGE, 1);
}

/* Up to 6.12 at least: the end is 2^64, which is 0. */
Test(sim_v2_unmap, range_to_the_end_of_the_address_space_finds_nothing)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(unmap(IOVA, -IOVA), 0);
    cr_expect_eq(unmapped, 0);
    expect_held(PAGE, 1);
}

Test(sim_v1_unmap, from_inside_a_mapping_is_success_with_size_0)
{
    cr_assert_eq(map(IOVA, VA, 4 * PAGE), 0);
    cr_expect_eq(unmap(IOVA + PAGE, PAGE), 0);
    cr_expect_eq(unmapped, 0);
    expect_held(4 * PAGE, 1);
}

Test(sim_v1_unmap, from_inside_a_mapping_spares_whole_ones_behind_it_too)
{
    cr_assert_eq(map(IOVA, VA, 2 * PAGE), 0);
    cr_assert_eq(map(IOVA + 2 * PAGE, VA, PAGE), 0);
    cr_expect_eq(unmap(IOVA + PAGE, 2 * PAGE), 0);
    cr_expect_eq(unmapped, 0);
    expect_held(3 * PAGE, 2);
}

Test(sim_v1_unmap, of_the_first_page_undoes_the_whole_mapping_and_says_so)
{
    cr_assert_eq(map(IOVA, VA, 4 * PAGE), 0);
    cr_expect_eq(unmap(IOVA, PAGE), 0);
    cr_expect_eq(unmapped, 4 * PAGE);
    expect_held(0, 0);
}
