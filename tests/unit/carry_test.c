/* SPDX-License-Identifier: MIT */
/* Whose pages move with what is in them, whose contents are copied, and what a refusal of the kernel's leaves. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "attached.h"
#include "base/os.h"
#include "memory/carry.h"
#include "memory/extents.h"
#include "memory/mappings.h"

#define LEN ((size_t)10 << 20)

static uintptr_t from, to;
static struct pages_ops ops;
static const struct pages_ops *kernels;
static unsigned nr_moves;

static intptr_t count_move(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t where)
{
    nr_moves++;
    return kernels->move(addr, old_len, new_len, flags, where);
}

/* As the kernel where the source reaches over two mappings. */
static intptr_t refuse_late(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t where)
{
    nr_moves++;
    cr_assert_eq(kernels->unmap(where, new_len), 0);
    return -EFAULT;
}

static intptr_t refuse_to_map(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return -ENOMEM;
}

static uintptr_t take(void)
{
    bool is_zero = false;
    uintptr_t at = extents_take(LEN, (size_t)2 << 20, &is_zero);
    cr_assert_neq(at, 0);
    return at;
}

static unsigned char byte_at(size_t offset)
{
    return (unsigned char)(offset / 4096 * 7 + 1);
}

static void start(void)
{
    start_unattached(&arena_memory_ops);
    attach_sim();
    from = take();
    to = take();
    for (size_t at = 0; at < LEN; at += 4096)
        *(unsigned char *)(from + at) = byte_at(at);
    kernels = pages_ops;
    ops = *kernels;
    ops.move = count_move;
    pages_ops = &ops;
}

static void expect_carried(void)
{
    for (size_t at = 0; at < LEN; at += 4096)
        cr_assert_eq(*(unsigned char *)(to + at), byte_at(at), "at %zu", at);
}

static void look_up(uintptr_t va)
{
    uint64_t iova;
    size_t run_len;
    cr_assert_eq(registry_lookup(va, 1, &iova, &run_len), 0);
}

Test(carry, pages_move_and_leave_usable_ones_behind, .init = start)
{
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_eq(nr_moves, 3, "in pieces");
    cr_assert_eq(*(unsigned char *)(from + LEN - 1), 0);
    memset((void *)from, 1, LEN);
    expect_carried();
}

Test(carry, what_is_registered_stays_at_its_place, .init = start)
{
    look_up(from + LEN / 2);
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_lt(nr_moves, 3, "a piece of which something is registered");
    cr_assert_eq(*(unsigned char *)(from + LEN / 2), byte_at(LEN / 2));
}

Test(carry, what_is_registered_keeps_its_pages, .init = start)
{
    look_up(to);
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_lt(nr_moves, 3);
}

Test(carry, what_the_program_has_changed_is_copied, .init = start)
{
    cr_assert_eq(mappings_protect(from, 4096, PROT_READ, -1), 0);
    cr_assert_eq(mappings_advise(from + LEN / 2, 4096, MADV_DONTFORK), 0);
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_eq(nr_moves, 1);
}

Test(carry, locked_pages_are_copied, .init = start)
{
    int error = os_mlock2(from, 4096, 0); /* mlock does nothing under ASan */
    if (error)
        cr_skip_test("memory can't be locked: error %d", error);
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_eq(nr_moves, 2);
}

Test(carry, who_watches_pages_go_sees_none_move, .init = start)
{
    extents_keep_pages();
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_eq(nr_moves, 0);
}

Test(carry, a_sandbox_sees_no_call, .init = start)
{
    mappings_give_up_asking();
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_eq(nr_moves, 0);
}

Test(carry, what_the_kernel_unmaps_before_it_refuses_is_mapped_again, .init = start)
{
    ops.move = refuse_late;
    cr_assert_eq(carry(from, to, LEN), LEN);
    expect_carried();
    cr_assert_eq(nr_moves, 3);
}

Test(carry, where_that_fails_it_says_how_far_it_came, .init = start)
{
    ops.move = refuse_late;
    ops.map = refuse_to_map;
    cr_assert_eq(carry(from, to, LEN), 0);
    cr_assert_eq(*(unsigned char *)from, byte_at(0));
}
