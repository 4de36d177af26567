/* SPDX-License-Identifier: MIT */
/*
 * The simulated IOMMU and memory: what can be pinned, how much of it, and what a simulated device sees. Tests
 * that pin bring memory of their own; the others leave it untouched (populate off).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

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

static void *new_pages(size_t nr_pages, int prot)
{
    void *pages = mmap(NULL, nr_pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(pages, MAP_FAILED);
    return pages;
}

TestSuite(sim_pin, .init = open_v2);
TestSuite(sim_device, .init = open_v2);

Test(sim_pin, makes_untouched_memory_present)
{
    config.populate = true;
    reopen();
    void *pages = new_pages(4, PROT_READ | PROT_WRITE);
    unsigned char present[4];
    cr_assert_eq(map(IOVA, (uintptr_t)pages, 4 * PAGE), 0);
    cr_assert_eq(mincore(pages, 4 * PAGE, present), 0);
    for (int i = 0; i < 4; i++)
        cr_expect(present[i] & 1);
}

Test(sim_pin, populate_off_touches_nothing_even_where_nothing_is)
{
    void *pages = new_pages(4, PROT_READ | PROT_WRITE);
    unsigned char present[4];
    cr_assert_eq(map(IOVA, (uintptr_t)pages, 4 * PAGE), 0);
    cr_assert_eq(mincore(pages, 4 * PAGE, present), 0);
    for (int i = 0; i < 4; i++)
        cr_expect_not(present[i] & 1);
    cr_expect_eq(map(UINT64_C(1) << 40, VA, UINT64_C(1) << 40), 0);
}

Test(sim_pin, unmapped_prot_none_and_read_only_memory_gives_efault)
{
    config.populate = true;
    reopen();
    void *hole = new_pages(1, PROT_READ);
    munmap(hole, PAGE);
    cr_expect_eq(map(IOVA, (uintptr_t)hole, PAGE), -EFAULT);
    cr_expect_eq(map(IOVA, (uintptr_t)new_pages(1, PROT_NONE), PAGE), -EFAULT);
    cr_expect_eq(map(IOVA, (uintptr_t)new_pages(1, PROT_READ), PAGE), -EFAULT);
    expect_held(0, 0);
}

Test(sim_pin, one_bad_page_among_good_ones_gives_efault)
{
    config.populate = true;
    reopen();
    char *pages = new_pages(4, PROT_READ | PROT_WRITE);
    mprotect(pages + 3 * PAGE, PAGE, PROT_NONE);
    cr_expect_eq(map(IOVA, (uintptr_t)pages, 4 * PAGE), -EFAULT);
    expect_held(0, 0);
}

Test(sim_pin, more_than_memlock_gives_enomem_until_bytes_are_free)
{
    config.memlock_bytes = 4 * PAGE + 100;
    reopen();
    cr_assert_eq(map(IOVA, VA, 3 * PAGE), 0);
    cr_expect_eq(map(IOVA + 4 * PAGE, VA, 2 * PAGE), -ENOMEM);
    cr_expect_eq(map(IOVA + 4 * PAGE, VA, PAGE), 0);
    cr_assert_eq(unmap(IOVA, 3 * PAGE), 0);
    cr_expect_eq(map(IOVA + 8 * PAGE, VA, 3 * PAGE), 0);
}

Test(sim_pin, bad_page_and_memlock_whichever_comes_first_decides)
{
    config.populate = true;
    config.memlock_bytes = 2 * PAGE;
    reopen();
    char *pages = new_pages(8, PROT_READ | PROT_WRITE);
    mprotect(pages + 3 * PAGE, PAGE, PROT_NONE);
    cr_expect_eq(map(IOVA, (uintptr_t)pages, 8 * PAGE), -ENOMEM);
    cr_expect_eq(map(IOVA, (uintptr_t)pages + PAGE, 7 * PAGE), -EFAULT);
    cr_expect_eq(map(IOVA, (uintptr_t)pages + 2 * PAGE, 6 * PAGE), -EFAULT);
}

Test(sim_device, reaches_mapped_memory_only)
{
    uint64_t va;
    cr_assert_eq(map(IOVA, VA, 2 * PAGE), 0);
    cr_expect_eq(sim_translate(&sim, IOVA + PAGE + 7, &va), 0);
    cr_expect_eq(va, VA + PAGE + 7);
    cr_expect_eq(sim_translate(&sim, IOVA + 2 * PAGE - 1, &va), 0);
    cr_expect_eq(va, VA + 2 * PAGE - 1);
    cr_expect_eq(sim_translate(&sim, IOVA - 1, &va), -EFAULT);
    cr_expect_eq(sim_translate(&sim, IOVA + 2 * PAGE, &va), -EFAULT);
}

struct told {
    uint64_t iova, va, len;
    int answer;
};

static int tell_mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    struct told *told = arg;
    told->iova = iova;
    told->va = va;
    told->len = len;
    return told->answer;
}

static void tell_unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    tell_mapped(arg, iova, va, len);
}

Test(sim_device, is_told_of_each_success)
{
    struct told told = {0};
    config.mapped = tell_mapped;
    config.unmapped = tell_unmapped;
    config.arg = &told;
    reopen();
    cr_assert_eq(map(IOVA, VA, PAGE), 0);
    cr_expect(told.iova == IOVA && told.va == VA && told.len == PAGE);
    memset(&told, 0, sizeof(told));
    cr_assert_eq(map(IOVA, VA, PAGE), -EEXIST);
    cr_expect_eq(told.len, 0);
    cr_assert_eq(unmap(IOVA, PAGE), 0);
    cr_expect(told.iova == IOVA && told.va == VA && told.len == PAGE);
}

Test(sim_device, may_refuse_a_map)
{
    struct told told = {.answer = -EIO};
    config.mapped = tell_mapped;
    config.arg = &told;
    reopen();
    cr_expect_eq(map(IOVA, VA, PAGE), -EIO);
    expect_held(0, 0);
}
