/* SPDX-License-Identifier: MIT */
/* Memory that the arena did not place, registered on the word of who said trust: what is registered of it, and what becomes of it
 * when the program's own calls take its pages. Real memory, the simulated IOMMU. (The watch: watch_test.c.) */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "attached.h"
#include "dma/counts.h"
#include "dma/registry.h"
#include "memory/foreign.h"
#include "memory/owners.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

enum { NR = 8 };

static void start(void)
{
    start_unattached(&owners_memory_ops);
    config.foreign = FOREIGN_TRUST;
    attach_sim();
}

static char *map(int flags)
{
    char *at = mmap(NULL, NR * PAGE, RW, flags | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(at, MAP_FAILED);
    cr_assert(!arena_contains((uintptr_t)at));
    memset(at, 1, NR * PAGE);
    return at;
}

static uint64_t iova;
static size_t run_len;

static int look_up(const char *at, size_t len)
{
    return registry_lookup((uintptr_t)at, len, &iova, &run_len);
}

Test(foreign, exactly_the_pages_asked_for_are_registered, .init = start)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at + PAGE + 100, PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->pinned, 2 * PAGE);
    cr_expect_eq(run_len, 2 * PAGE - 100);
    cr_assert_eq(look_up(at + PAGE, 1), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->maps, 1);
}

Test(foreign, without_trust_shared_memory_is_refused, .init = start)
{
    char *at = map(MAP_SHARED);
    config.foreign = FOREIGN_WATCH;
    cr_expect_eq(look_up(at, PAGE), -EOPNOTSUPP);
    config.foreign = FOREIGN_REFUSE;
    cr_expect_eq(look_up(at, PAGE), -EOPNOTSUPP);
    config.foreign = FOREIGN_TRUST;
    cr_expect_eq(look_up(at, PAGE), 0);
}

static void start_early(void)
{
    start_unattached(&owners_memory_ops);
    config.foreign = FOREIGN_TRUST;
}

Test(foreign, nothing_is_promised_before_a_device_is_attached, .init = start_early)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at, PAGE), -ENODEV);
    attach_sim();
    cr_assert_eq(look_up(at, PAGE), 0);
}

static void unmap(char *at, size_t len)
{
    foreign_begin((uintptr_t)at, len);
    cr_assert_eq(munmap(at, len), 0);
    foreign_end((uintptr_t)at, len, false);
}

static void map_again(char *at, size_t len)
{
    cr_assert_eq(mmap(at, len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), at);
}

Test(foreign, what_was_unmapped_whole_is_registered_afresh, .init = start)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    unmap(at, NR * PAGE);
    cr_expect_eq(counts_of(COUNTS_OURS)->pinned, 0);
    map_again(at, NR * PAGE);
    cr_assert_eq(look_up(at, PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->maps, 2);
}

Test(foreign, a_part_that_was_unmapped_is_refused_and_its_neighbours_stay, .init = start)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    unmap(at + PAGE, PAGE);
    map_again(at + PAGE, PAGE);
    cr_expect_eq(look_up(at + PAGE, PAGE), -ESTALE);
    cr_expect_eq(look_up(at, PAGE), 0);
    cr_expect_eq(look_up(at + 2 * PAGE, PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->unmaps, 0);
}

Test(foreign, a_call_that_failed_has_taken_nothing, .init = start)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    foreign_begin((uintptr_t)at, NR * PAGE);
    foreign_end((uintptr_t)at, NR * PAGE, true);
    cr_expect_eq(look_up(at, PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->maps, 1);
}

Test(foreign, a_purge_zeroes_what_is_registered_where_it_is, .init = start)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at + PAGE, PAGE), 0);
    cr_assert_eq(foreign_advise((uintptr_t)at, NR * PAGE, MADV_DONTNEED), 0);
    for (size_t i = 0; i < NR * PAGE; i += PAGE)
        cr_expect_eq(at[i], 0);
    cr_expect_eq(look_up(at + PAGE, PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->maps, 1);
}

Test(foreign, what_the_program_watches_itself_is_let_go, .init = start)
{
    char *at = map(MAP_PRIVATE);
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    foreign_withdraw((uintptr_t)at, 2 * PAGE);
    cr_expect_neq(look_up(at, PAGE), 0);
    cr_expect_eq(look_up(at + 2 * PAGE, PAGE), 0);
}
