/* SPDX-License-Identifier: MIT */
/* The table of page states and events: whole, without dead ends, and what its application does to a zone of pages. Nothing is
 * really mapped. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>

#include "memory/dirty.h"
#include "memory/zones.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

static const enum page_event to_end_a_change[] = {PAGE_FAILED, PAGE_LEFT, PAGE_REPLACED, PAGE_RENEWED,
                                                  PAGE_GUARDED};
static const struct page_kind mapping = {
    .state = PAGE_USED, .prot = RW, .unit_shift = 21, .flags = PAGE_ORDINARY};

/* --- the table -------------------------------------------------------------------------------------------------------- */

Test(pages, each_pair_of_state_and_event_is_in_the_table_or_impossible_for_a_reason)
{
    for (int event = 0; event < NR_PAGE_EVENTS; event++)
        for (int state = 0; state < NR_PAGE_STATES; state++) {
            struct page_rule rule = page_rules[event][state];
            cr_assert(rule.is_told, "event %d, state %d", event, state);
            cr_assert(rule.next <= PAGE_WAS, "event %d, state %d", event, state);
            if (rule.impossible)
                cr_assert(rule.next == PAGE_STAYS && !rule.action && *rule.impossible);
        }
}

static void reach(uint8_t state, bool reached[NR_PAGE_STATES])
{
    if (reached[state])
        return;
    reached[state] = true;
    for (int event = 0; event < NR_PAGE_EVENTS; event++) {
        struct page_rule rule = page_rules[event][state];
        if (!rule.impossible && rule.next < NR_PAGE_STATES)
            reach(rule.next, reached);
    }
}

Test(pages, each_state_is_reached_and_left_again)
{
    for (uint8_t from = 0; from < NR_PAGE_STATES; from++) {
        bool reached[NR_PAGE_STATES] = {false};
        reach(from, reached);
        for (int to = 0; to < NR_PAGE_STATES; to++)
            cr_assert(reached[to], "from %u to %d", from, to);
    }
}

Test(pages, what_is_busy_is_so_until_its_change_ends)
{
    for (int event = 0; event < NR_PAGE_EVENTS; event++) {
        struct page_rule rule = page_rules[event][PAGE_BUSY];
        bool ends = false;
        for (size_t i = 0; i < sizeof(to_end_a_change) / sizeof(*to_end_a_change); i++)
            ends |= (int)to_end_a_change[i] == event;
        cr_assert_eq(rule.next != PAGE_STAYS && rule.next != PAGE_BUSY, ends, "event %d", event);
    }
}

Test(pages, the_end_of_a_registration_ends_what_it_was_held_back_for)
{
    for (uint8_t state = 0; state < NR_PAGE_STATES; state++) {
        bool waits = state == PAGE_HELD_BACK || state == PAGE_DETACHED || state == PAGE_RETIRED;
        cr_assert_eq(page_rules[PAGE_RELEASED][state].next != PAGE_STAYS, waits, "state %u", state);
    }
}

/* --- its application -------------------------------------------------------------------------------------------------- */

static struct zone *zone;
static struct pages_ops ops;
static int unmapped, advised, advise_error;

static int note_unmap(uintptr_t addr, size_t len)
{
    unmapped++;
    return 0;
}

static int note_advice(uintptr_t addr, size_t len, int advice)
{
    advised++;
    return advise_error;
}

static void start(void)
{
    zones_init();
    zone = &zones[0];
    ops = *pages_ops;
    ops.unmap = note_unmap;
    ops.advise = note_advice;
    pages_ops = &ops;
}

static uintptr_t page(size_t number)
{
    return zone->start + number * PAGE;
}

static void apply(size_t first, size_t nr, enum page_event event)
{
    cr_assert_eq(pages_apply(zone, page(first), page(first + nr), event, &mapping), 0);
}

static struct page_kind kind_of(size_t number)
{
    return runs_at(&zone->runs, page(number))->kind;
}

Test(pages, a_change_that_fails_brings_back_what_was_there, .init = start)
{
    apply(0, 4, PAGE_PLACED);
    apply(1, 1, PAGE_LEAVING);
    apply(1, 1, PAGE_LEFT);
    apply(2, 1, PAGE_LEAVING);
    apply(2, 1, PAGE_REPLACED);
    struct page_kind before[5];
    for (size_t i = 0; i < 5; i++)
        before[i] = kind_of(i);
    cr_assert_eq(before[1].state, PAGE_HELD_BACK);
    cr_assert_eq(before[2].state, PAGE_DETACHED);
    apply(0, 5, PAGE_REPLACING);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(kind_of(i).state, PAGE_BUSY);
    cr_assert_eq(pages_held_back_bytes, 0);
    apply(0, 5, PAGE_FAILED);
    for (size_t i = 0; i < 5; i++) {
        struct page_kind now = kind_of(i);
        cr_assert_eq(memcmp(&now, &before[i], sizeof(now)), 0);
    }
    cr_assert_eq(pages_held_back_bytes, PAGE);
    cr_assert_eq(unmapped, 1, "what may have been exposed of the held page");
    cr_assert_eq(pages_impossible, 0);
}

Test(pages, an_unmap_takes_what_is_mapped_and_no_more, .init = start)
{
    apply(1, 1, PAGE_PLACED);
    apply(0, 3, PAGE_LEAVING);
    cr_assert_eq(kind_of(0).state, PAGE_NONE);
    cr_assert_eq(kind_of(1).state, PAGE_BUSY);
    apply(0, 3, PAGE_LEFT);
    cr_assert_eq(kind_of(1).state, PAGE_HELD_BACK);
    cr_assert_eq(kind_of(2).state, PAGE_NONE);
    cr_assert_eq(pages_held_back_bytes, PAGE);
    apply(0, 3, PAGE_RELEASED);
    cr_assert_eq(runs_at(&zone->runs, page(0))->len, zone->end - zone->start, "all of it is nobody's");
    cr_assert_eq(pages_held_back_bytes, 0);
}

Test(pages, what_two_threads_change_at_once_is_what_the_later_end_says, .init = start)
{
    apply(0, 4, PAGE_PLACED);
    apply(0, 4, PAGE_LEAVING);
    apply(1, 1, PAGE_REPLACING);
    apply(0, 4, PAGE_LEFT);
    apply(0, 4, PAGE_RELEASED);
    apply(1, 1, PAGE_REPLACED);
    apply(1, 1, PAGE_RELEASED);
    cr_assert_eq(kind_of(0).state, PAGE_NONE);
    cr_assert_eq(kind_of(1).state, PAGE_USED);
    cr_assert_eq(pages_impossible, 0);
}

Test(pages, what_moves_in_is_of_its_own_kind, .init = start)
{
    struct page_kind other = {.state = PAGE_USED, .was = PAGE_USED, .prot = PROT_READ, .flags = PAGE_SPARSE};
    apply(0, 2, PAGE_CLAIMED);
    pages_apply(zone, page(0), page(1), PAGE_ARRIVING, &other);
    cr_assert_eq(kind_of(0).state, PAGE_BUSY);
    cr_assert_eq(kind_of(0).was, PAGE_USED);
    apply(0, 2, PAGE_RENEWED);
    apply(0, 2, PAGE_RELEASED);
    cr_assert_eq(kind_of(0).state, PAGE_USED);
    cr_assert_eq(kind_of(0).prot, PROT_READ);
    cr_assert_eq(kind_of(0).flags, PAGE_SPARSE);
}

Test(pages, guards_keep_the_mapping_and_end_its_registration, .init = start)
{
    apply(0, 1, PAGE_PLACED);
    apply(0, 1, PAGE_LEAVING);
    apply(0, 1, PAGE_GUARDED);
    cr_assert_eq(kind_of(0).state, PAGE_DETACHED);
    cr_assert_eq(kind_of(0).prot, RW);
    cr_assert_eq(kind_of(0).flags, 0);
}

Test(pages, a_protection_is_noted_where_something_is_mapped, .init = start)
{
    struct page_kind read_only = {.prot = PROT_READ};
    apply(1, 1, PAGE_PLACED);
    pages_apply(zone, page(0), page(3), PAGE_PROTECTED, &read_only);
    cr_assert_eq(kind_of(1).prot, PROT_READ);
    cr_assert_eq(kind_of(1).state, PAGE_USED);
    cr_assert_eq(kind_of(1).flags, PAGE_ORDINARY);
    cr_assert_eq(kind_of(0).prot, 0);
}

Test(pages, what_the_kernel_was_told_is_noted_where_something_is_mapped_and_forgotten, .init = start)
{
    struct page_kind told = {.flags = PAGE_TOLD}, as_new = {0};
    apply(1, 1, PAGE_PLACED);
    pages_apply(zone, page(0), page(3), PAGE_ADVISED, &told);
    cr_assert_eq(kind_of(1).flags, PAGE_ORDINARY | PAGE_TOLD);
    cr_assert(page_is_plain(kind_of(1)));
    cr_assert_eq(kind_of(0).flags, 0);
    pages_apply(zone, page(0), page(3), PAGE_ADVISED, &as_new);
    cr_assert_eq(kind_of(1).flags, PAGE_ORDINARY);
}

Test(pages, whether_pages_are_huge_is_not_forgotten, .init = start)
{
    struct page_kind sized = {.flags = PAGE_TOLD | PAGE_SIZED}, told = {.flags = PAGE_TOLD}, as_new = {0};
    apply(1, 1, PAGE_PLACED);
    pages_apply(zone, page(1), page(2), PAGE_ADVISED, &sized);
    pages_apply(zone, page(1), page(2), PAGE_ADVISED, &told);
    pages_apply(zone, page(1), page(2), PAGE_ADVISED, &as_new);
    cr_assert_eq(kind_of(1).flags, PAGE_ORDINARY | PAGE_SIZED);
    cr_assert(page_is_plain(kind_of(1)));
}

Test(pages, what_the_heap_gives_back_is_dropped_or_unmapped_if_there_is_much_of_it, .init = start)
{
    size_t many = pages_unmap_least / PAGE;
    apply(0, many + 2, PAGE_COMMITTED);
    apply(0, many + 2, PAGE_ALLOCATED);
    apply(many, 2, PAGE_FREED);
    cr_assert_eq(advised, 1);
    cr_assert_eq(kind_of(many).state, PAGE_READY);
    cr_assert_eq(dirty_take(zone, page(many), 2 * PAGE), 0);
    apply(0, many, PAGE_FREED);
    cr_assert_eq(unmapped, 1);
    cr_assert_eq(kind_of(0).state, PAGE_NONE);
}

Test(pages, what_can_not_be_dropped_is_to_be_zeroed_later, .init = start)
{
    advise_error = -EINVAL; /* locked */
    apply(0, 4, PAGE_COMMITTED);
    apply(0, 4, PAGE_ALLOCATED);
    apply(0, 2, PAGE_FREED);
    apply(3, 1, PAGE_KEPT);
    cr_assert_eq(dirty_take(zone, page(0), 4 * PAGE), 3);
    cr_assert_eq(kind_of(2).state, PAGE_USED);
}

Test(pages, a_retired_page_is_given_to_nobody_until_its_registration_has_gone, .init = start)
{
    uintptr_t at;
    apply(0, 512, PAGE_COMMITTED);
    apply(0, 512, PAGE_RETIRING);
    cr_assert_null(runs_fit(&zone->runs, PAGE_READY, PAGE, PAGE, &at));
    apply(0, 512, PAGE_RELEASED);
    cr_assert_not_null(runs_fit(&zone->runs, PAGE_READY, PAGE, PAGE, &at));
}

Test(pages, what_the_table_calls_impossible_is_counted_and_changes_nothing, .init = start)
{
    apply(0, 1, PAGE_PLACED);
    apply(0, 1, PAGE_CLAIMED);
    cr_assert_eq(pages_impossible, 1);
    cr_assert_eq(kind_of(0).state, PAGE_USED);
}

Test(pages, an_address_taken_by_somebody_else_is_closed_until_it_is_unmapped, .init = start)
{
    apply(0, 2, PAGE_TAKEN);
    cr_assert_eq(kind_of(0).state, PAGE_CLOSED);
    apply(0, 1, PAGE_UNMAPPED);
    apply(1, 1, PAGE_LEAVING);
    apply(1, 1, PAGE_LEFT);
    apply(1, 1, PAGE_RELEASED);
    cr_assert_eq(kind_of(0).state, PAGE_NONE);
    cr_assert_eq(kind_of(1).state, PAGE_NONE);
}
