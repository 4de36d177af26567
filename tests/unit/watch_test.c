/* SPDX-License-Identifier: MIT */
/* The watch by userfaultfd, of the real kernel's: what it reports, in which order, and when a page is still the watched one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/watch.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

/* Pages that are watched; NULL where userfaultfd is not permitted. */
static char *watched(size_t nr_pages)
{
    char *at = mmap(NULL, nr_pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(at, MAP_FAILED);
    memset(at, 1, nr_pages * PAGE);
    int error = watch_start((uintptr_t)at, (uintptr_t)at + nr_pages * PAGE);
    if (error == -EPERM)
        cr_skip("userfaultfd is not permitted here");
    cr_assert_eq(error, 0);
    return at;
}

static void expect_event(enum watch_event_kind kind, char *start, size_t nr_pages)
{
    struct watch_event event;
    cr_assert(watch_is_settled());
    cr_assert(watch_next_event(&event));
    cr_expect_eq(event.kind, kind);
    cr_expect_eq(event.start, (uintptr_t)start);
    cr_expect_eq(event.end, (uintptr_t)start + nr_pages * PAGE);
}

static void expect_no_event(void)
{
    struct watch_event event;
    cr_assert(watch_is_settled());
    cr_expect(!watch_next_event(&event));
}

Test(watch, before_the_first_there_is_no_reader)
{
    cr_expect(!watch_has_reader());
    expect_no_event();
}

Test(watch, a_page_is_the_watched_one_until_it_goes)
{
    char *at = watched(4);
    cr_expect(watch_has_reader());
    cr_expect_eq(watch_validate((uintptr_t)at), 0);
    at[0] = 2; /* nothing is protected */
    cr_expect_eq(watch_validate((uintptr_t)at + PAGE), 0);
    expect_no_event();
    cr_assert_eq(munmap(at + PAGE, PAGE), 0);
    cr_expect_eq(watch_validate((uintptr_t)at + PAGE), -ENOENT);
    cr_expect_eq(watch_validate((uintptr_t)at), 0);
    expect_event(WATCH_GONE, at + PAGE, 1);
    expect_no_event();
}

Test(watch, what_was_mapped_anew_is_not_the_watched_one)
{
    char *at = watched(2);
    cr_assert_eq(mmap(at, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), at);
    cr_expect_eq(watch_validate((uintptr_t)at), -ENOENT);
    expect_event(WATCH_GONE, at, 1);
}

Test(watch, a_purge_is_told_and_leaves_it_watched)
{
    char *at = watched(3);
    cr_assert_eq(madvise(at + PAGE, 2 * PAGE, MADV_DONTNEED), 0);
    cr_expect_eq(watch_validate((uintptr_t)at + PAGE), 0); /* so the event has to be looked at, too */
    expect_event(WATCH_PURGED, at + PAGE, 2);
    cr_expect_eq(at[PAGE], 0);
}

Test(watch, a_move_takes_it_from_where_it_was)
{
    char *at = watched(1), *to = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_eq(mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
    cr_expect_eq(watch_validate((uintptr_t)at), -ENOENT);
    expect_event(WATCH_GONE, at, 1);
}

Test(watch, events_come_in_order)
{
    enum { NR = 100 };
    char *at = watched(NR);
    for (int i = 0; i < NR; i++)
        cr_assert_eq(madvise(at + (size_t)i * PAGE, PAGE, MADV_DONTNEED), 0);
    for (int i = 0; i < NR; i++)
        expect_event(WATCH_PURGED, at + (size_t)i * PAGE, 1);
    cr_expect(!watch_overflowed());
}

Test(watch, what_is_no_longer_watched_is_not_told)
{
    char *at = watched(2);
    watch_stop((uintptr_t)at, (uintptr_t)at + 2 * PAGE);
    cr_assert_eq(munmap(at, 2 * PAGE), 0);
    expect_no_event();
}

Test(watch, withdrawn_it_has_no_reader_and_tells_nothing, .timeout = 30)
{
    char *at = watched(1);
    watch_withdraw(); /* before the reader has come to read */
    cr_expect(!watch_has_reader());
    cr_assert_eq(munmap(at, PAGE), 0);
    expect_no_event();
}
