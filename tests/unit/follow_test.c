/* SPDX-License-Identifier: MIT */
/* What a follower is told of what a device finds at its own address. */
#include "fake_memory.h"

#include "base/config.h"
#include "dma/attachments.h"
#include "dma/clients.h"
#include "dma/dma.h"
#include "dma/eager.h"
#include "dma/follow.h"
#include "dma/registry.h"

enum { FD = 5 };
#define ALL_IOVAS ((UINT64_C(1) << 48) - 1)

static struct {
    uintptr_t start;
    size_t len;
    enum memory_change what;
    bool is_identity, has_identity;
    unsigned nr;
} told;

static void changed(uintptr_t start, size_t len, enum memory_change what)
{
    told.start = start;
    told.len = len;
    told.what = what;
    told.is_identity = follow_is_identity(start, len);
    told.has_identity = follow_has_identity(start, len);
    told.nr++;
}

static unsigned nr_told(void)
{
    unsigned nr = told.nr;
    told.nr = 0;
    return nr;
}

static void in_eager_mode(void)
{
    config.limit_bytes = 4 * UNIT;
    start_registry();
    cr_assert_eq(attach_fake(FD, 100, ALL_IOVAS), 0);
    set_alive(0, NR_PAGES, false);
    set_alive(0, 16, true);
    registry_enter();
    eager_start();
    registry_exit();
}

Test(follow, nobody_is_told_without_eager_mode, .init = start_registry)
{
    attach_fake(FD, 100, ALL_IOVAS);
    cr_assert_not(follow_start(changed));
    look_up(0);
    cr_assert_eq(nr_told(), 0);
}

Test(follow, what_is_registered_is_told_first, .init = in_eager_mode)
{
    cr_assert(follow_start(changed));
    cr_assert(nr_told() > 0);
    cr_assert(told.is_identity && told.has_identity && told.what == MEMORY_REGISTERED);
}

Test(follow, what_is_handed_out_is_told_when_it_is_registered, .init = in_eager_mode)
{
    follow_start(changed);
    nr_told();
    set_alive(32, 16, true);
    eager_offer(START + 32 * PAGE, UNIT);
    cr_assert_eq(nr_told(), 1);
    cr_assert(told.start == START + 32 * PAGE && told.len == UNIT && told.is_identity &&
              told.what == MEMORY_REGISTERED);
}

Test(follow, what_the_limit_leaves_out_is_told_before_it_is_handed_out, .init = in_eager_mode)
{
    follow_start(changed);
    for (unsigned page = 32; page < 112; page += 16) {
        set_alive(page, 16, true);
        eager_offer(START + page * PAGE, UNIT);
        cr_assert_eq(told.what, page < 80 ? MEMORY_REGISTERED : MEMORY_LEFT_OUT);
    }
    cr_assert(told.start == START + 96 * PAGE && told.len == UNIT && !told.is_identity && !told.has_identity);
}

Test(follow, what_is_unregistered_is_told, .init = in_eager_mode)
{
    follow_start(changed);
    nr_told();
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert(nr_told() > 0);
    cr_assert(told.start == START && !told.has_identity && told.what == MEMORY_REGISTERED);
}

Test(follow, what_eager_mode_is_not_offered_is_told, .init = in_eager_mode)
{
    follow_pass_over(START + 32 * PAGE, PAGE);
    cr_assert_eq(nr_told(), 0); /* nobody follows yet */
    follow_start(changed);
    nr_told();
    follow_pass_over(START + 32 * PAGE, PAGE);
    cr_assert_eq(nr_told(), 1);
    cr_assert(told.what == MEMORY_PASSED_OVER && !told.is_identity);
}

Test(follow, the_programs_own_mappings_count, .init = in_eager_mode)
{
    follow_start(changed);
    cr_assert_eq(app_map_at(FD, START + 64 * PAGE, START + 64 * PAGE, PAGE), 0);
    follow_pass_over(START + 64 * PAGE, PAGE);
    cr_assert(told.is_identity && told.has_identity);
    follow_pass_over(START + 64 * PAGE, 2 * PAGE);
    cr_assert(!told.is_identity && told.has_identity);
}

Test(follow, the_end_of_a_container_is_told, .init = in_eager_mode)
{
    follow_start(changed);
    nr_told();
    cr_assert_eq(attachments_end_all(FD), 0);
    cr_assert(nr_told() > 0);
    cr_assert_not(told.has_identity);
}

Test(follow, a_child_tells_nobody, .init = in_eager_mode)
{
    follow_start(changed);
    nr_told();
    dma_reset();
    follow_pass_over(START, PAGE);
    cr_assert_eq(nr_told(), 0);
}
