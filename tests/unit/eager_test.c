/* SPDX-License-Identifier: MIT */
/* Eager mode: what it registers, where it ends, and what it leaves to the application. */
#include "base/config.h"
#include "dma/attachments.h"
#include "dma/containers.h"
#include "dma/eager.h"
#include "dma/registrations.h"
#include "dma/registry.h"
#include "fake_memory.h"

#define ALL_IOVAS ((UINT64_C(1) << 48) - 1)

enum { FD = 50, MANY = 1000 };

static void attach_with_limit(uint64_t bytes)
{
    config.mode = MODE_EAGER;
    config.limit_bytes = bytes;
    start_registry();
    cr_assert_eq(attach_fake(FD, MANY, ALL_IOVAS), 0);
}

static void attached(void)
{
    attach_with_limit(UINT64_C(1) << 40);
}

static size_t registered_pages(void)
{
    size_t nr = 0;
    for (size_t i = 0; i < NR_PAGES; i++) {
        struct registration *reg = registration_from(START + i * PAGE);
        nr += reg && reg->start <= START + i * PAGE && reg->mapped == containers_attached() &&
              reg->iova == reg->start;
    }
    return nr;
}

static int hand_out(size_t first, size_t nr)
{
    set_alive(first, nr, true);
    return eager_offer(START + first * PAGE, nr * PAGE);
}

Test(eager, what_is_alive_and_what_is_handed_out_is_registered, .init = attached)
{
    cr_assert_eq(registered_pages(), NR_PAGES / 2);
    cr_assert_eq(hand_out(200, 20), 0);
    cr_assert_eq(registered_pages(), NR_PAGES / 2 + 20);
}

Test(eager, a_container_after_the_last_one_gets_everything_again, .init = attached)
{
    cr_assert_eq(attachments_end_all(FD), 0);
    cr_assert_not(eager_is_on());
    cr_assert_eq(hand_out(200, 20), 0);
    cr_assert_eq(registered_pages(), 0, "there is nowhere to");
    cr_assert_eq(attach_fake(FD + 1, MANY, ALL_IOVAS), 0);
    cr_assert_eq(registered_pages(), NR_PAGES / 2 + 20);
}

Test(eager, a_limit_is_kept_and_what_is_beyond_it_is_let_pass)
{
    attach_with_limit((NR_PAGES / 2 + 40) * PAGE);
    cr_assert_eq(hand_out(160, 32), 0);
    cr_assert_eq(hand_out(200, 32), 0);
    cr_assert_eq(registered_pages(), NR_PAGES / 2 + 32);
    cr_assert_eq(hand_out(240, 1), 0);
    cr_assert_eq(registered_pages(), NR_PAGES / 2 + 32, "it has stopped");
}

Test(eager, beyond_a_limit_allocations_can_be_refused)
{
    config.on_limit = LIMIT_REFUSE;
    attach_with_limit((NR_PAGES / 2 + 40) * PAGE);
    cr_assert_eq(hand_out(160, 32), 0);
    cr_assert_eq(eager_admit(START + 200 * PAGE, 32 * PAGE), -ENOMEM);
    cr_assert_eq(eager_admit(0, 32 * PAGE), -ENOMEM);
    cr_assert_eq(hand_out(200, 32), -ENOMEM);
    set_alive(200, 32, false);
    cr_assert_eq(hand_out(240, 4), 0, "what fits passes still");
    cr_assert_eq(eager_offer(START + 160 * PAGE, 32 * PAGE), 0, "and what is registered");
    cr_assert_eq(eager_admit(START + 160 * PAGE, 32 * PAGE), 0);
    set_alive(160, 32, false);
    registry_forget(START + 160 * PAGE, 32 * PAGE);
    cr_assert_eq(hand_out(200, 32), 0, "once there is room again");
}

Test(eager, a_full_table_and_memlock_are_limits_too, .init = attached)
{
    config.on_limit = LIMIT_REFUSE;
    fail_map = -ENOSPC;
    cr_assert_eq(hand_out(160, 16), -ENOMEM);
    fail_map = -ENOMEM;
    cr_assert_eq(hand_out(160, 16), -ENOMEM);
    fail_map = 0;
    cr_assert_eq(hand_out(160, 16), 0);
}

static int app_map(uint64_t iova, size_t page, size_t nr)
{
    return app_map_at(FD, iova, START + page * PAGE, nr * PAGE);
}

static int app_unmap(uint64_t iova, size_t nr)
{
    int64_t undone = app_unmap_at(FD, iova, nr * PAGE, false);
    return undone < 0 ? (int)undone : 0;
}

Test(eager, what_the_application_maps_elsewhere_costs_those_addresses_only, .init = attached)
{
    cr_assert_eq(app_map(START + 20 * PAGE, 100, 4), 0, "at the addresses of other memory");
    cr_assert_eq(registered_pages(), NR_PAGES / 2 - 4);
    cr_assert_eq(app_unmap(START + 20 * PAGE, 4), 0);
    cr_assert_eq(registered_pages(), NR_PAGES / 2, "which are registered again afterwards");
}

Test(eager, a_mapping_of_the_applications_that_fails_costs_nothing, .init = attached)
{
    fail_forward = -EFAULT;
    cr_assert_eq(app_map(START + 20 * PAGE, 100, 4), -EFAULT);
    cr_assert_eq(registered_pages(), NR_PAGES / 2);
}

/* Nothing is registered where a device would not look for it. */
Test(eager, an_address_that_is_taken_is_left_out, .init = start_registry)
{
    config.limit_bytes = UINT64_C(1) << 40;
    eager_note_lookup();
    cr_assert_eq(attach_fake(FD, MANY, ALL_IOVAS), 0);
    cr_assert_eq(app_map(START + 20 * PAGE, 100, 4), 0);
    config.mode = MODE_EAGER;
    cr_assert_eq(attach_fake(FD + 1, MANY, ALL_IOVAS), 0);
    cr_assert_eq(registered_pages(), NR_PAGES / 2 - 4);
    cr_assert_eq(stats_now().pinned, 2 * (NR_PAGES / 2 - 4) * PAGE, "and not elsewhere either");
}

/* --- beside a thread that is unmapping a part --------------------------------------------------------------------------- */

static bool is_complete(size_t page)
{
    struct registration *reg = registration_from(START + page * PAGE);
    return reg && reg->start <= START + page * PAGE && reg->mapped == containers_attached();
}

static void divided(uintptr_t start, size_t len, bool is_covered)
{
    (void)start;
    (void)len;
    (void)is_covered;
}

/* The second container could not take what is there. */
static void incomplete(void)
{
    attached();
    fail_map = -EFAULT;
    cr_assert_eq(attach_fake(FD + 1, MANY, ALL_IOVAS), 0);
    cr_assert_not(is_complete(0));
}

Test(eager, what_is_handed_out_waits_for_it, .init = incomplete)
{
    nr_in_flight = 3;
    cr_assert_eq(hand_out(0, 16), 0);
    cr_assert(is_complete(0));
}

Test(eager, what_is_refilled_is_left_to_its_end, .init = incomplete)
{
    nr_in_flight = 2;
    eager_released(START, UNIT);
    registry_settle(START + 200 * PAGE, PAGE);
    cr_assert_not(is_complete(0));
    registry_divide(START + 200 * PAGE, PAGE, divided);
    cr_assert(is_complete(0));
}

Test(eager, when_it_does_not_end_an_allocation_can_be_refused, .init = incomplete)
{
    config.on_limit = LIMIT_REFUSE;
    nr_in_flight = UINT32_MAX;
    cr_assert_eq(hand_out(0, 16), -ENOMEM);
}
