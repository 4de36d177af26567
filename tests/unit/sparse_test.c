/* SPDX-License-Identifier: MIT */
/* The stretches that mlockall leaves out. */
#include <criterion/criterion.h>

#include "base/sparse.h"

#define PAGE ((uintptr_t)4096)

Test(sparse, the_lowest_above_an_address_is_told_whatever_the_order)
{
    sparse_note((void *)(900 * PAGE), 10 * PAGE);
    sparse_note((void *)(100 * PAGE), 10 * PAGE);
    sparse_note((void *)(500 * PAGE), 10 * PAGE);
    cr_expect_eq(sparse_above(0).start, 100 * PAGE);
    cr_expect_eq(sparse_above(109 * PAGE).start, 100 * PAGE);
    cr_expect_eq(sparse_above(110 * PAGE).start, 500 * PAGE); /* its end is no longer it */
    cr_expect_eq(sparse_above(510 * PAGE).end, 910 * PAGE);
    cr_expect_eq(sparse_above(910 * PAGE).start, UINTPTR_MAX);
}

Test(sparse, only_whole_pages_are_left_out)
{
    sparse_note((void *)(100 * PAGE + 1), 3 * PAGE);
    sparse_note((void *)(10 * PAGE + 1), PAGE);
    cr_expect_eq(sparse_above(0).start, 101 * PAGE);
    cr_expect_eq(sparse_above(0).end, 103 * PAGE);
}

Test(sparse, beyond_its_room_nothing_is_noted)
{
    for (uintptr_t i = 1; i <= 1000; i++)
        sparse_note((void *)(i * 10 * PAGE), PAGE);
    cr_expect_eq(sparse_above(0).start, 10 * PAGE);
    cr_expect_eq(sparse_above(9999 * PAGE).start, UINTPTR_MAX);
}
