/* SPDX-License-Identifier: MIT */
/* The application's own MAP and UNMAP beside ours, and its containers' descriptors. */
#include "dma/attachments.h"
#include "dma/containers.h"
#include "dma/devices.h"
#include "dma/eager.h"
#include "dma/registry.h"
#include "fake_memory.h"

#define ALL_IOVAS ((UINT64_C(1) << 48) - 1)

enum { FD = 50 };

static void attached(void)
{
    start_registry();
    eager_note_lookup();
    cr_assert_eq(attach_fake(FD, 100, ALL_IOVAS), 0);
}

static int app_map(uint64_t iova, size_t page, size_t nr)
{
    return app_map_at(FD, iova, START + page * PAGE, nr * PAGE);
}

static int64_t app_unmap(uint64_t iova, uint64_t len, bool is_all)
{
    return app_unmap_at(FD, iova, len, is_all);
}

static uint64_t leads_to(uint64_t iova)
{
    uint64_t va = 0;
    sim_translate(&container_find(FD, 0)->iommu, iova, &va);
    return va;
}

Test(application, its_own_mappings_are_counted_and_collide_with_each_other, .init = attached)
{
    cr_assert_eq(app_map(0x10000, 0, 4), 0);
    cr_assert_eq(app_map(0x13000, 20, 1), -EEXIST);
    cr_assert_eq(stats_now().app_pinned, 4 * PAGE);
    cr_assert_eq(app_unmap(0x10000, 4 * PAGE, false), 4 * PAGE);
    cr_assert_eq(stats_now().app_pinned, 0);
}

Test(application, the_same_place_as_ours_is_an_alias_that_holds, .init = attached)
{
    look_up(0);
    cr_assert_eq(app_map(START + 8 * PAGE, 8, 16), 0);
    for (size_t i = 8; i < 24; i++)
        cr_assert_eq(leads_to(START + i * PAGE), START + i * PAGE);
    set_alive(0, 32, false);
    registry_forget(START, 2 * UNIT);
    cr_assert_eq(leads_to(START + 8 * PAGE), START + 8 * PAGE, "the application's, whatever it frees");
    cr_assert_eq(app_unmap(START + 8 * PAGE, 16 * PAGE, false), 16 * PAGE);
    cr_assert_eq(stats_now().pinned, 0);
}

Test(application, an_address_that_was_handed_out_is_not_replaced, .init = attached)
{
    look_up(0);
    cr_assert_eq(app_map(START, 40, 4), -EEXIST);
    cr_assert_eq(leads_to(START), START);
}

/* Ours has a window, since its address was taken; then the application maps more at that window's distance.
 */
Test(application, an_alias_must_lead_everywhere, .init = attached)
{
    cr_assert_eq(app_map(START, 100, 16), 0);
    uint64_t window = (uint64_t)look_up(0);
    cr_assert_neq(window, START);
    int error = app_map(window, 0, 32);
    if (!error)
        for (size_t i = 0; i < 32; i++)
            cr_assert_eq(leads_to(window + i * PAGE), START + i * PAGE);
    else
        cr_assert_eq(error, -EEXIST);
    cr_assert_eq(leads_to(window), START);
}

Test(application, a_wide_unmap_takes_only_its_own_and_counts_them, .init = attached)
{
    look_up(0);
    app_map(0x10000, 40, 4);
    app_map(0x20000, 50, 2);
    cr_assert_eq(app_unmap(0, 0, true), 6 * PAGE);
    cr_assert_eq(leads_to(START), START);
    cr_assert_eq(app_unmap(0, UINT64_C(1) << 40, false), 0);
    cr_assert_eq(leads_to(START), START);
}

Test(application, an_unmap_that_would_cut_its_mapping_is_refused, .init = attached)
{
    look_up(0);
    app_map(0x10000, 40, 4);
    cr_assert_eq(app_unmap(0x10000, 2 * PAGE, false), -EINVAL);
    cr_assert_eq(app_unmap(0x12000, UINT64_C(1) << 40, false), -EINVAL);
    cr_assert_eq(leads_to(0x12000), START + 42 * PAGE);
}

Test(application, a_full_table_is_emptied_of_what_nobody_was_told_of, .init = start_registry)
{
    cr_assert_eq(attach_fake(FD, 8, ALL_IOVAS), 0);
    cr_assert_eq(app_map(START, 0, 1),
                 0); /* its own, IOVA == address: everything alive is registered from here on */
    cr_assert(stats_now().registrations > 0);
    int mapped = 1;
    while (mapped < 8 && app_map(0x10000 + (uint64_t)mapped * PAGE, 0, 1) == 0)
        mapped++;
    cr_assert_eq(mapped, 8, "as many as without us");
}

Test(containers, the_last_descriptor_ends_it, .init = attached)
{
    look_up(0);
    devices_duplicated(FD, FD + 1);
    devices_closing(FD, FD);
    cr_assert_eq(stats_now().pinned, UNIT);
    cr_assert(devices_may_know(FD + 1) && !devices_may_know(FD));
    devices_closing(FD + 1, FD + 1);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(stats_now().containers, 0);
    cr_assert_eq(stats_now().registrations, 0);
}

Test(containers, making_way_and_restoring_keeps_every_promise, .init = attached)
{
    int64_t iova = look_up(3);
    uint64_t unused;
    attachments_make_way(FD, 0);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_not(pagemap_lookup(START + 3 * PAGE, &unused));
    attachments_restore(FD, 0);
    cr_assert_eq(stats_now().pinned, UNIT);
    cr_assert_eq(look_up(3), iova);
}

Test(containers, a_second_one_gets_what_the_first_has, .init = attached)
{
    look_up(0);
    look_up(20);
    cr_assert_eq(attach_fake(FD + 5, 100, ALL_IOVAS), 0);
    cr_assert_eq(stats_now().pinned, 4 * UNIT);
    cr_assert_eq(attachments_end_all(FD), 0);
    cr_assert_eq(stats_now().pinned, 2 * UNIT);
    cr_assert_eq(look_up(0), (int64_t)START);
}

Test(containers, one_that_is_known_is_not_attached_twice, .init = attached)
{
    cr_assert_eq(attach_fake(FD, 100, ALL_IOVAS), -EBUSY);
    cr_assert_eq(attachments_end_all(99), -ENOENT);
}

static uint64_t everything(void)
{
    struct anydma_stats stats = stats_now();
    return stats.registrations + stats.containers + stats.pinned + stats.owed + stats.unmap_failures;
}

Test(containers, one_whose_iommu_is_set_again_starts_afresh, .init = attached)
{
    look_up(0);
    struct iommu again = fake_container(FD, 100, ALL_IOVAS);
    cr_assert_eq(attachments_renew(&again), 0);
    cr_assert_eq(stats_now().pinned, 0, "what was mapped before has gone with the old one");
    cr_assert_eq(stats_now().containers, 1);
    cr_assert_eq(look_up(0), (int64_t)START);
    cr_assert_eq(leads_to(START), START);
}

Test(containers, one_that_ended_unseen_is_noticed_when_something_is_unregistered, .init = attached)
{
    look_up(0);
    look_up(20);
    has_iommu = false;
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(everything(), 0);
    cr_assert_eq(nr_released, 2, "and its memory is not set aside");
}

Test(containers, one_that_ended_unseen_is_noticed_when_something_is_registered, .init = attached)
{
    look_up(0);
    has_iommu = false;
    cr_assert_eq(look_up(20), -ENODEV);
    cr_assert_eq(everything(), 0);
    cr_assert_eq(look_up(20), (int64_t)(START + 20 * PAGE), "owed to the next one");
}

/* DPDK closes device and group before it unmaps the device's registers, which hold the device. */
Test(containers, one_that_ends_with_a_mapping_of_its_device_is_noticed, .init = attached)
{
    look_up(0);
    devices_note(FD + 1);
    attachments_mapping_left();
    cr_assert_eq(stats_now().containers, 1);
    devices_closing(FD + 1, FD + 1);
    devices_closed();
    cr_assert_eq(stats_now().containers, 1);
    has_iommu = false;
    attachments_mapping_left();
    cr_assert_eq(everything(), 0);
}

Test(containers, one_that_ends_otherwise_is_noticed_by_lookups, .init = attached)
{
    look_up(0);
    devices_note(FD + 1);
    devices_closing(FD + 1, FD + 1);
    has_iommu = false;
    cr_assert_eq(look_up(0), (int64_t)START);
    cr_assert_eq(stats_now().containers, 0);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(stats_now().owed, 1);
}
