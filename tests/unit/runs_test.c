/* SPDX-License-Identifier: MIT */
/* The runs of a zone: whole, never overlapping, merged where alike; best fit; the same as an array of pages.
 */
#include <criterion/criterion.h>

#include "memory/runs.h"

#define BASE ((uintptr_t)1 << 38)
#define PAGE ((size_t)4096)

enum { NR_PAGES = 512 };

static const struct page_kind none = {.state = PAGE_NONE};
static const struct page_kind used = {
    .state = PAGE_USED, .prot = 3, .unit_shift = 21, .flags = PAGE_ORDINARY};
static const struct page_kind ready = {.state = PAGE_READY, .prot = 3};
static struct runs runs;

static void start(void)
{
    cr_assert_eq(runs_init(&runs, BASE, NR_PAGES * PAGE), 0);
}

static size_t count_runs(void)
{
    size_t n = 0;
    for (struct run *run = runs_at(&runs, BASE); run; run = runs_next(run))
        n++;
    return n;
}

Test(runs, a_zone_starts_as_one_free_run, .init = start)
{
    struct run *run = runs_at(&runs, BASE + 77 * PAGE);
    cr_assert_eq(run->start, BASE);
    cr_assert_eq(run->len, NR_PAGES * PAGE);
    cr_assert_eq(run->kind.state, PAGE_NONE);
}

Test(runs, outside_of_the_zone_there_is_none, .init = start)
{
    cr_assert_null(runs_at(&runs, BASE - 1));
    cr_assert_null(runs_at(&runs, BASE + NR_PAGES * PAGE));
}

Test(runs, setting_the_middle_makes_three_and_setting_it_back_one, .init = start)
{
    runs_set(&runs, BASE + 10 * PAGE, 5 * PAGE, used);
    cr_assert_eq(count_runs(), 3);
    runs_set(&runs, BASE + 10 * PAGE, 5 * PAGE, none);
    cr_assert_eq(count_runs(), 1);
}

Test(runs, neighbours_merge_only_when_alike_in_everything, .init = start)
{
    struct page_kind other = used;
    other.unit_shift++;
    runs_set(&runs, BASE, PAGE, used);
    runs_set(&runs, BASE + PAGE, PAGE, used);
    cr_assert_eq(count_runs(), 2);
    runs_set(&runs, BASE + PAGE, PAGE, other);
    cr_assert_eq(count_runs(), 3);
}

Test(runs, the_smallest_that_fits_is_taken, .init = start)
{
    uintptr_t at = 0;
    runs_set(&runs, BASE, NR_PAGES * PAGE, used);
    runs_set(&runs, BASE + 100 * PAGE, 20 * PAGE, ready);
    runs_set(&runs, BASE + 200 * PAGE, 8 * PAGE, ready);
    cr_assert_not_null(runs_fit(&runs, PAGE_READY, 5 * PAGE, PAGE, &at));
    cr_assert_eq(at, BASE + 200 * PAGE);
}

Test(runs, what_fits_only_unaligned_is_not_taken, .init = start)
{
    uintptr_t at = 0;
    runs_set(&runs, BASE, NR_PAGES * PAGE, used);
    runs_set(&runs, BASE + 9 * PAGE, 8 * PAGE, ready);
    cr_assert_null(runs_fit(&runs, PAGE_READY, 8 * PAGE, 8 * PAGE, &at));
    runs_set(&runs, BASE + 41 * PAGE, 15 * PAGE, ready);
    cr_assert_not_null(runs_fit(&runs, PAGE_READY, 8 * PAGE, 8 * PAGE, &at));
    cr_assert_eq(at, BASE + 48 * PAGE);
}

Test(runs, there_is_nothing_larger_than_the_zone, .init = start)
{
    uintptr_t at;
    cr_assert_null(runs_fit(&runs, PAGE_NONE, (NR_PAGES + 1) * PAGE, PAGE, &at));
    cr_assert_null(runs_fit(&runs, PAGE_READY, PAGE, PAGE, &at));
}

static struct page_kind kind_number(unsigned i)
{
    return (struct page_kind){.state = (uint8_t)(i % 6), .prot = (uint8_t)(i / 6 % 2)};
}

Test(runs, random_changes_are_those_of_an_array_of_pages, .init = start)
{
    uint8_t pages[NR_PAGES] = {0};
    uint64_t random = 12345;
    for (int step = 0; step < 20000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        unsigned at = (unsigned)(random >> 33) % NR_PAGES, kind = (unsigned)(random >> 45) % 12;
        unsigned n = 1 + (unsigned)(random >> 52) % (NR_PAGES - at < 40 ? NR_PAGES - at : 40);
        cr_assert_eq(runs_set(&runs, BASE + at * PAGE, n * PAGE, kind_number(kind)), 0);
        for (unsigned i = 0; i < n; i++)
            pages[at + i] = (uint8_t)kind;
        unsigned page = 0;
        for (struct run *run = runs_at(&runs, BASE); run; run = runs_next(run)) {
            cr_assert_eq(run->start, BASE + page * PAGE);
            for (size_t i = 0; i < run->len / PAGE; i++, page++) {
                cr_assert_eq(kind_number(pages[page]).state, run->kind.state);
                cr_assert_eq(kind_number(pages[page]).prot, run->kind.prot);
            }
        }
        cr_assert_eq(page, NR_PAGES);
    }
}
