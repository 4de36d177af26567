/* SPDX-License-Identifier: MIT */
/* The simulated IOMMU's rules of an iommufd IOAS with a device: where they differ from type1's. Memory is
 * left untouched (populate off), so that any address will do. */
#include <criterion/criterion.h>
#include <errno.h>

#include "iommu/iommu.h"

#define PAGE UINT64_C(4096)
#define IOVA (64 * PAGE)
#define VA UINT64_C(0x700000000000)

static struct iommu sim;
static struct sim_config config;
static uint64_t unmapped;

static void open_sim(void)
{
    sim_config_default(&config);
    config.rules = SIM_IOMMUFD;
    config.populate = false;
    cr_assert_eq(sim_init(&sim, &config), 0);
}

static int map(uint64_t iova, uint64_t va, uint64_t len)
{
    return sim.ops->map(&sim, iova, va, len);
}

static int unmap(uint64_t iova, uint64_t len)
{
    return sim.ops->unmap(&sim, iova, len, &unmapped);
}

static uint64_t entries_held(void)
{
    uint64_t bytes, entries;
    sim_usage(&sim, &bytes, &entries);
    return entries;
}

TestSuite(sim_iommufd, .init = open_sim);

Test(sim_iommufd, unmap_of_nothing_gives_enoent)
{
    cr_expect_eq(unmap(IOVA, PAGE), -ENOENT);
    cr_expect_eq(unmapped, 0);
}

Test(sim_iommufd, bisecting_unmap_gives_enoent)
{
    cr_assert_eq(map(IOVA, VA, 4 * PAGE), 0);
    cr_expect_eq(unmap(IOVA, PAGE), -ENOENT);
    cr_expect_eq(unmap(IOVA + PAGE, 3 * PAGE), -ENOENT);
    cr_expect_eq(entries_held(), 1);
}

/* The kernel goes upwards, and its answer says nothing of what is gone. */
Test(sim_iommufd, unmap_that_bisects_the_last_has_undone_the_first)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_assert_eq(map(IOVA + PAGE, VA, 2 * PAGE), 0);
    cr_expect_eq(unmap(IOVA, 2 * PAGE), -ENOENT);
    cr_expect_eq(unmapped, 0);
    cr_expect_eq(entries_held(), 1);
}

Test(sim_iommufd, wide_unmap_reports_what_was_there)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_assert_eq(map(IOVA + 8 * PAGE, VA, 2 * PAGE), 0);
    cr_expect_eq(unmap(IOVA - PAGE, 32 * PAGE), 0);
    cr_expect_eq(unmapped, 3 * PAGE);
}

Test(sim_iommufd, zero_to_the_end_unmaps_all_even_when_empty)
{
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(unmap(0, UINT64_MAX), 0);
    cr_expect_eq(unmapped, PAGE);
    cr_expect_eq(unmap(0, UINT64_MAX), 0);
    cr_expect_eq(unmapped, 0);
}

Test(sim_iommufd, wrapping_gives_eoverflow)
{
    cr_expect_eq(map(-PAGE, VA, 2 * PAGE), -EOVERFLOW);
    cr_expect_eq(map(IOVA, -PAGE, 2 * PAGE), -EOVERFLOW);
    cr_expect_eq(unmap(-PAGE, 2 * PAGE), -EOVERFLOW);
}

Test(sim_iommufd, a_length_of_all_is_invalid_and_to_linux_7_memory_that_wraps)
{
    cr_expect_eq(map(IOVA, VA, -PAGE), -EINVAL);
    config.ends_are_seen = true;
    sim.ops->close(&sim);
    cr_assert_eq(sim_init(&sim, &config), 0);
    cr_expect_eq(map(IOVA, VA, -PAGE), -EOVERFLOW);
    cr_expect_eq(map(IOVA, VA, 0), -EINVAL);
}

Test(sim_iommufd, aperture_is_checked_before_overlap)
{
    cr_assert_eq(map(0xfedff000, VA, PAGE), 0);
    cr_expect_eq(map(0xfedff000, VA, 2 * PAGE), -EINVAL);
    cr_expect_eq(map(0xfedff000, VA, PAGE), -EEXIST);
}

Test(sim_iommufd, zero_or_unaligned_map_gives_einval)
{
    cr_expect_eq(map(IOVA, VA, 0), -EINVAL);
    cr_expect_eq(map(IOVA + 1, VA, PAGE), -EINVAL);
    cr_expect_eq(map(IOVA, VA + 1, PAGE), -EINVAL);
    cr_expect_eq(map(IOVA, VA, PAGE + 1), -EINVAL);
}

Test(sim_iommufd, entries_are_unlimited)
{
    struct iommu_info info;
    config.max_entries = 1;
    sim.ops->close(&sim);
    cr_assert_eq(sim_init(&sim, &config), 0);
    cr_expect_eq(map(IOVA, VA, PAGE), 0);
    cr_expect_eq(map(IOVA + PAGE, VA, PAGE), 0);
    cr_assert_eq(sim.ops->query(&sim, &info), 0);
    cr_expect_eq(info.nr_entries, UINT64_MAX);
}

/* --- COPY: from another one, or from itself --- */

static struct iommu other;

static void open_two(void)
{
    open_sim();
    cr_assert_eq(sim_init(&other, &config), 0);
    cr_assert_eq(other.ops->map(&other, IOVA, VA, 4 * PAGE), 0);
    cr_assert_eq(other.ops->map(&other, IOVA + 4 * PAGE, VA + 64 * PAGE, 4 * PAGE), 0);
}

static uint64_t leads_to(uint64_t iova)
{
    uint64_t va = 0;
    sim_translate(&sim, iova, &va);
    return va;
}

Test(sim_iommufd, a_copy_leads_where_the_other_one_does, .init = open_two)
{
    cr_expect_eq(sim_copy(&sim, 2 * IOVA, &other, IOVA + PAGE, 5 * PAGE), 0);
    cr_expect_eq(leads_to(2 * IOVA), VA + PAGE);
    cr_expect_eq(leads_to(2 * IOVA + 3 * PAGE), VA + 64 * PAGE);
    cr_expect_eq(entries_held(), 2, "one for each that it takes from");
    cr_expect_eq(unmap(2 * IOVA, 4 * PAGE), -ENOENT, "each goes whole");
    cr_expect_eq(unmap(2 * IOVA + 3 * PAGE, 2 * PAGE), 0);
    cr_expect_eq(unmapped, 2 * PAGE);
    cr_expect_eq(sim.ops->copy(&sim, &other, IOVA, 8 * PAGE), 0);
    cr_expect_eq(leads_to(IOVA + 7 * PAGE), VA + 67 * PAGE);
}

Test(sim_iommufd, a_copy_stays_when_what_it_is_of_goes, .init = open_two)
{
    uint64_t bytes, entries;
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA, 4 * PAGE), 0);
    cr_expect_eq(sim_copy(&sim, 2 * IOVA, &sim, IOVA, PAGE), 0, "of itself");
    other.ops->close(&other);
    cr_expect_eq(leads_to(IOVA), VA);
    sim_usage(&sim, &bytes, &entries);
    cr_expect_eq(bytes, 0, "counted where it was mapped");
    cr_expect_eq(unmap(0, UINT64_MAX), 0);
    cr_expect_eq(unmapped, 5 * PAGE);
}

Test(sim_iommufd, a_copy_of_what_is_not_all_there_gives_enoent, .init = open_two)
{
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA, 9 * PAGE), -ENOENT);
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA - PAGE, 2 * PAGE), -ENOENT);
    cr_expect_eq(sim_copy(&sim, IOVA + 1, &other, IOVA - PAGE, 2 * PAGE), -ENOENT, "before anything else");
    cr_expect_eq(entries_held(), 0);
}

Test(sim_iommufd, a_copy_is_checked_as_a_map_is, .init = open_two)
{
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA, 0), -EINVAL);
    cr_expect_eq(sim_copy(&sim, IOVA + 1, &other, IOVA, PAGE), -EINVAL);
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA + 1, PAGE), -EINVAL);
    cr_expect_eq(sim_copy(&sim, IOVA, &other, -PAGE, 2 * PAGE), -EOVERFLOW);
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA, UINT64_MAX), -EOVERFLOW);
    cr_expect_eq(sim_copy(&sim, -PAGE, &other, IOVA, 2 * PAGE), -EOVERFLOW);
    cr_expect_eq(sim_copy(&sim, 0xfee00000, &other, IOVA, PAGE), -EINVAL);
    cr_expect_eq(map(IOVA + PAGE, VA, PAGE), 0);
    cr_expect_eq(sim_copy(&sim, IOVA, &other, IOVA, 2 * PAGE), -EEXIST);
}
