/* SPDX-License-Identifier: MIT */
/* The table that lookups read: whole blocks, single pages, marks, and what lies above the flat part. */
#include <criterion/criterion.h>
#include <sys/resource.h>

#include "dma/pagemap.h"

#define ARENA ((uintptr_t)256 << 30)
#define ABOVE ((uintptr_t)0x120000000000)
#define FAR ((uintptr_t)5 << 40) /* where the table that programs read goes on */
#define PAGE ((size_t)4096)

static void start(void)
{
    cr_assert_eq(pagemap_init(), 0);
}

static uint64_t answer(uintptr_t va)
{
    uint64_t iova;
    return pagemap_lookup(va, &iova) ? iova : UINT64_MAX;
}

Test(pagemap, nothing_is_registered_at_first, .init = start)
{
    cr_assert_eq(answer(ARENA), UINT64_MAX);
    cr_assert_eq(answer(ABOVE), UINT64_MAX);
    cr_assert_eq(answer(UINT64_MAX), UINT64_MAX);
    cr_assert_not(pagemap_is_pinned(ARENA));
}

Test(pagemap, a_whole_block_answers_for_each_byte_and_nothing_beside_it, .init = start)
{
    pagemap_publish(ARENA, PAGEMAP_BLOCK_SIZE, 0);
    cr_assert_eq(answer(ARENA), ARENA);
    cr_assert_eq(answer(ARENA + PAGEMAP_BLOCK_SIZE - 1), ARENA + PAGEMAP_BLOCK_SIZE - 1);
    cr_assert_eq(answer(ARENA - 1), UINT64_MAX);
    cr_assert_eq(answer(ARENA + PAGEMAP_BLOCK_SIZE), UINT64_MAX);
}

Test(pagemap, a_window_answers_with_its_difference, .init = start)
{
    uint64_t delta = 5 * PAGEMAP_BLOCK_SIZE - ARENA;
    pagemap_publish(ARENA, PAGEMAP_BLOCK_SIZE, delta);
    pagemap_publish(ARENA + PAGEMAP_BLOCK_SIZE, PAGE, delta);
    cr_assert_eq(answer(ARENA + 17), 5 * PAGEMAP_BLOCK_SIZE + 17);
    cr_assert_eq(answer(ARENA + PAGEMAP_BLOCK_SIZE + 9), 6 * PAGEMAP_BLOCK_SIZE + 9);
}

Test(pagemap, single_pages_across_the_border_of_two_blocks, .init = start)
{
    uintptr_t at = ARENA + PAGEMAP_BLOCK_SIZE - 2 * PAGE;
    pagemap_publish(at, 4 * PAGE, 0);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(answer(at + i * PAGE), at + i * PAGE);
    cr_assert_eq(answer(at - 1), UINT64_MAX);
    cr_assert_eq(answer(at + 4 * PAGE), UINT64_MAX);
}

Test(pagemap, clearing_pages_of_a_whole_block_leaves_the_others, .init = start)
{
    pagemap_publish(ARENA, PAGEMAP_BLOCK_SIZE, 0);
    pagemap_clear(ARENA + 3 * PAGE, PAGE);
    cr_assert_eq(answer(ARENA + 3 * PAGE), UINT64_MAX);
    cr_assert_eq(answer(ARENA + 2 * PAGE), ARENA + 2 * PAGE);
    cr_assert_eq(answer(ARENA + 4 * PAGE), ARENA + 4 * PAGE);
    cr_assert(pagemap_is_pinned(ARENA));
}

Test(pagemap, a_block_that_still_answers_keeps_its_difference, .init = start)
{
    pagemap_publish(ARENA, PAGE, 0);
    pagemap_publish(ARENA + PAGE, PAGE, PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(answer(ARENA), ARENA);
    cr_assert_eq(answer(ARENA + PAGE), UINT64_MAX, "lookups of it stay cold");
    pagemap_clear(ARENA, PAGE);
    pagemap_publish(ARENA + PAGE, PAGE, PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(answer(ARENA + PAGE), ARENA + PAGE + PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(answer(ARENA), UINT64_MAX);
}

Test(pagemap, marks_are_set_and_taken_back_block_by_block, .init = start)
{
    cr_assert_eq(pagemap_mark_pinned(ARENA + PAGE, PAGEMAP_BLOCK_SIZE), 0);
    cr_assert(pagemap_is_pinned(ARENA) && pagemap_is_pinned(ARENA + PAGEMAP_BLOCK_SIZE));
    cr_assert_not(pagemap_is_pinned(ARENA + 2 * PAGEMAP_BLOCK_SIZE));
    cr_assert_eq(answer(ARENA + PAGE), UINT64_MAX, "a mark is no answer");
    pagemap_unmark_pinned(ARENA);
    cr_assert_not(pagemap_is_pinned(ARENA));
    cr_assert(pagemap_is_pinned(ARENA + PAGEMAP_BLOCK_SIZE));
}

Test(pagemap, what_is_known_to_be_registered_needs_no_lookup, .init = start)
{
    const uintptr_t end = ARENA + 3 * PAGEMAP_BLOCK_SIZE;
    cr_assert_not(pagemap_is_registered(ARENA, PAGE));
    pagemap_mark_whole(ARENA + PAGE, end - PAGE - ARENA);
    cr_assert_not(pagemap_is_registered(ARENA + PAGE, PAGE), "its block is not whole in the range");
    cr_assert(pagemap_is_registered(ARENA + PAGEMAP_BLOCK_SIZE, 2 * PAGEMAP_BLOCK_SIZE));
    cr_assert_eq(answer(end - PAGE), UINT64_MAX, "which is no answer");
    pagemap_clear(end - PAGE, PAGE);
    cr_assert_not(pagemap_is_registered(end - PAGEMAP_BLOCK_SIZE, PAGE));
    pagemap_publish(ARENA, PAGEMAP_BLOCK_SIZE, 0);
    pagemap_publish(end - PAGEMAP_BLOCK_SIZE, 100 * PAGE, 0);
    cr_assert(pagemap_is_registered(ARENA + 5 * PAGE, end - ARENA - 512 * PAGE + 95 * PAGE));
    cr_assert_not(pagemap_is_registered(ARENA + 5 * PAGE, end - ARENA - 512 * PAGE + 96 * PAGE));
    pagemap_mark_whole(ARENA, PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(answer(ARENA), ARENA, "an answer stays one");
}

Test(pagemap, above_the_flat_part_tables_come_as_needed, .init = start)
{
    cr_assert_eq(pagemap_mark_pinned(ABOVE, PAGE), 0);
    pagemap_publish(ABOVE, PAGEMAP_BLOCK_SIZE, 0);
    cr_assert_eq(answer(ABOVE + 100), ABOVE + 100);
    pagemap_clear(ABOVE, PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(answer(ABOVE + 100), UINT64_MAX);
}

/* The entry as a program finds it by <anydma.h>: behind the first ones come a page, the bitmaps, and these.
 */
static uint64_t far_entry(uintptr_t va)
{
    uint64_t index = va >> 21;
    cr_assert_lt(index - anydma_table_v1.nr_entries, anydma_table_v1.nr_far);
    return anydma_table_v1.entries[index + 512 + (1 << 21)];
}

Test(pagemap, programs_read_entries_up_to_8_tib, .init = start)
{
    cr_assert_eq(anydma_table_v1.nr_entries + anydma_table_v1.nr_far, (uint64_t)8 << 40 >> 21);
    pagemap_publish(FAR, PAGEMAP_BLOCK_SIZE, 0);
    pagemap_publish(FAR + 2 * PAGEMAP_BLOCK_SIZE, PAGE, 0);
    cr_assert_eq(far_entry(FAR), 1);
    cr_assert_eq(far_entry(FAR + PAGEMAP_BLOCK_SIZE), 0);
    uint64_t partial = far_entry(FAR + 2 * PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(partial & ~UINT64_C(0x1ffff8), 6);
    cr_assert_eq(anydma_table_v1.entries[(1 << 18) + 512 + (partial & 0x1ffff8)], 1);
    cr_assert_eq(answer(FAR), FAR);
    pagemap_clear(FAR, PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(far_entry(FAR), PAGEMAP_PINNED);
}

Test(pagemap, the_first_and_the_last_far_entry_are_their_own, .init = start)
{
    uintptr_t first = (uintptr_t)512 << 30, last = ((uintptr_t)8 << 40) - PAGEMAP_BLOCK_SIZE;
    pagemap_publish(first, PAGEMAP_BLOCK_SIZE, 0);
    pagemap_publish(last, PAGEMAP_BLOCK_SIZE, 0);
    cr_assert_eq(far_entry(first), 1);
    cr_assert_eq(far_entry(last), 1);
    cr_assert_eq(answer(first - 1), UINT64_MAX);
    cr_assert_eq(answer(last + PAGEMAP_BLOCK_SIZE), UINT64_MAX);
    cr_assert_eq(anydma_table_v1.entries[anydma_table_v1.nr_entries], 0);
}

Test(pagemap, where_address_space_is_limited_the_table_is_short_and_tables_come_as_needed)
{
    const struct rlimit limit = {(rlim_t)1 << 46, (rlim_t)1 << 46};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    start();
    cr_assert_eq(anydma_table_v1.nr_far, 0);
    pagemap_publish(FAR, PAGEMAP_BLOCK_SIZE, 0);
    cr_assert_eq(answer(FAR), FAR);
    pagemap_reset();
    cr_assert_eq(answer(FAR), UINT64_MAX);
}

Test(pagemap, a_reset_forgets_everything, .init = start)
{
    pagemap_publish(ARENA, PAGEMAP_BLOCK_SIZE, 0);
    pagemap_publish(ABOVE, PAGE, 0);
    pagemap_publish(FAR, PAGEMAP_BLOCK_SIZE, 0);
    pagemap_reset();
    cr_assert_eq(answer(FAR), UINT64_MAX);
    cr_assert_eq(answer(ARENA), UINT64_MAX);
    cr_assert_eq(answer(ABOVE), UINT64_MAX);
    cr_assert(pagemap_is_ours());
}

Test(pagemap, the_run_that_is_known_ends_with_the_page_or_the_block, .init = start)
{
    uint64_t iova;
    size_t run_len;
    pagemap_publish(ARENA, PAGEMAP_BLOCK_SIZE, 0);
    cr_assert(pagemap_lookup_run(ARENA + 5, &iova, &run_len));
    cr_assert_eq(run_len, PAGEMAP_BLOCK_SIZE - 5);
    pagemap_publish(ARENA + PAGEMAP_BLOCK_SIZE, 2 * PAGE, 0);
    cr_assert(pagemap_lookup_run(ARENA + PAGEMAP_BLOCK_SIZE + 5, &iova, &run_len));
    cr_assert_eq(run_len, PAGE - 5);
}
