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
