/* SPDX-License-Identifier: MIT */
/* The heap of check mode: pages of its own for each allocation, and nothing behind them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "anydma.h"
#include "attached.h"
#include "base/config.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "memory/arena.h"
#include "memory/checked.h"
#include "memory/owners.h"

#define PAGE ((size_t)4096)

static void start(void)
{
    start_unattached(&owners_memory_ops);
    attach_sim();
}

static bool is_accessible(const void *page)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)page, 1};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
}

static int look_up(const void *ptr)
{
    uint64_t iova;
    size_t run_len;
    return registry_lookup((uintptr_t)ptr, 1, &iova, &run_len);
}

Test(checked, an_allocation_has_pages_of_its_own_and_none_behind, .init = start)
{
    const size_t sizes[] = {0, 1, PAGE, PAGE + 1, 100 * PAGE};
    char *taken[5];
    for (int i = 0; i < 5; i++) {
        size_t len = sizes[i] ? (sizes[i] + PAGE - 1) & ~(PAGE - 1) : PAGE;
        taken[i] = checked_take(sizes[i], 16);
        cr_assert_not_null(taken[i]);
        cr_expect_eq(checked_size(taken[i]), len);
        for (size_t at = 0; at < len; at += PAGE)
            cr_expect_eq(taken[i][at], 0);
        memset(taken[i], i + 1, len);
        cr_expect(!is_accessible(taken[i] + len));
    }
    for (int i = 0; i < 5; i++)
        cr_expect_eq(*taken[i], i + 1);
}

Test(checked, it_is_aligned_as_asked, .init = start)
{
    for (size_t align = 8; align <= (size_t)1 << 21; align <<= 1) {
        char *ptr = checked_take(3 * PAGE, align);
        cr_assert_not_null(ptr);
        cr_expect_eq((uintptr_t)ptr % align, 0);
        cr_expect_eq(checked_size(ptr), 3 * PAGE);
        cr_expect(!is_accessible(ptr + 3 * PAGE));
        checked_give(ptr);
    }
}

Test(checked, its_registration_ends_with_it_and_its_neighbours_stays, .init = start)
{
    char *kept = checked_take(PAGE, 16), *given = checked_take(PAGE, 16);
    cr_assert(look_up(kept) == 0 && look_up(given) == 0);
    checked_give(given);
    cr_expect_eq(checked_size(given), 0);
    cr_expect_eq(look_up(given), -EFAULT);
    cr_expect(!is_accessible(given));
    cr_expect_eq(look_up(kept), 0);
    *kept = 1;
}

Test(checked, what_is_not_its_own_is_left_alone, .init = start)
{
    char own, *ptr = checked_take(2 * PAGE, 16);
    cr_expect_eq(checked_size(&own), 0);
    cr_expect_eq(checked_size(ptr + PAGE), 0); /* not where it begins */
    checked_give(&own);
    checked_give(ptr + PAGE);
    cr_expect_eq(checked_size(ptr), 2 * PAGE);
    checked_give(ptr);
    checked_give(ptr); /* twice */
    cr_expect_eq(checked_size(ptr), 0);
}

Test(checked, what_can_not_be_is_no_memory, .init = start)
{
    cr_expect_null(checked_take(SIZE_MAX, 16));
    cr_expect_null(checked_take(SIZE_MAX - PAGE, PAGE));
}
