/* SPDX-License-Identifier: MIT */
/* Address spaces of an iommufd: known from their making on, with what the application maps there, and holding what is registered
 * while a device is attached to them. */
#include "dma/application.h"
#include "dma/attachments.h"
#include "dma/containers.h"
#include "dma/devices.h"
#include "dma/eager.h"
#include "dma/spaces.h"
#include "fake_memory.h"

#include "base/config.h"

#define ALL_IOVAS ((UINT64_C(1) << 48) - 1)

enum { FD = 50, A = 1, B = 2 };

static void make_space(uint32_t id)
{
    struct iommu space = fake_container(FD, UINT64_MAX, ALL_IOVAS);
    space.ioas_id = id;
    lacks_device[id] = true;
    cr_assert_eq(spaces_note(&space, false), 0);
}

static void set_device(uint32_t id, bool attached)
{
    lacks_device[id] = !attached;
    spaces_changed();
}

static void one_idle(void)
{
    start_registry();
    eager_note_lookup();
    make_space(A);
}

static void one_attached(void)
{
    one_idle();
    set_device(A, true);
}

static struct iommu *space(uint32_t id)
{
    return &container_find(FD, id)->iommu;
}

static uint64_t leads_to(uint32_t id, uint64_t iova)
{
    uint64_t va = 0;
    sim_translate(space(id), iova, &va);
    return va;
}

static uint64_t entries_in(uint32_t id)
{
    uint64_t bytes, entries;
    sim_usage(space(id), &bytes, &entries);
    return entries;
}

static struct dma_request request_of(uint32_t id, void *arg)
{
    return (struct dma_request){
        .fd = FD, .ioas_id = id, .arg = arg, .is_plain = true, .is_accessible = true, .is_divisible = true};
}

static int app_map(uint32_t id, uint64_t iova, size_t page, size_t nr)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map), .flags = 3, .vaddr = START + page * PAGE, .iova = iova, .size = nr * PAGE};
    struct dma_request request = request_of(id, &map);
    request.call = VFIO_IOMMU_MAP_DMA;
    request.iova = iova;
    request.va = map.vaddr;
    request.len = map.size;
    return application_map(&request);
}

static int64_t app_unmap(uint32_t id, uint64_t iova, uint64_t len)
{
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = iova, .size = len};
    struct dma_request request = request_of(id, &unmap);
    request.call = VFIO_IOMMU_UNMAP_DMA;
    request.iova = iova;
    request.len = len;
    request.undone = (uint64_t *)&unmap.size;
    int error = application_unmap(&request);
    return error ? error : (int64_t)unmap.size;
}

Test(spaces, nothing_is_mapped_where_no_device_is_attached, .init = one_idle)
{
    cr_assert_eq(look_up(0), (int64_t)START, "owed");
    cr_assert_eq(entries_in(A), 0);
    cr_assert_eq(stats_now().containers, 0);
    cr_assert_eq(stats_now().owed, 1);
    set_device(A, true);
    cr_assert_eq(leads_to(A, START), START);
    cr_assert_eq(stats_now().owed, 0);
}

Test(spaces, what_is_registered_leaves_with_the_last_device, .init = one_attached)
{
    look_up(0);
    look_up(20);
    cr_assert_eq(stats_now().pinned, 2 * UNIT);
    set_device(A, false);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(entries_in(A), 0);
    uint64_t unused;
    cr_assert_not(pagemap_lookup(START, &unused));
    set_device(A, true);
    cr_assert_eq(look_up(0), (int64_t)START);
    cr_assert_eq(leads_to(A, START), START);
}

Test(spaces, a_second_one_of_the_same_iommufd_copies_and_pins_nothing, .init = one_attached)
{
    look_up(0);
    look_up(20);
    make_space(B);
    set_device(B, true);
    cr_assert_eq(nr_copies, 2);
    cr_assert_eq(stats_now().pinned, 2 * UNIT, "counted once");
    cr_assert_eq(leads_to(B, START + 20 * PAGE), START + 20 * PAGE);
    look_up(40);
    cr_assert_eq(nr_copies, 3);
    cr_assert_eq(stats_now().pinned, 3 * UNIT);
    set_device(A, false);
    cr_assert_eq(stats_now().pinned, 3 * UNIT, "the second one still has them");
    cr_assert_eq(leads_to(B, START), START);
    set_device(B, false);
    cr_assert_eq(stats_now().pinned, 0);
}

Test(spaces, a_device_that_changes_over_takes_what_is_registered_along, .init = one_attached)
{
    look_up(0);
    make_space(B);
    lacks_device[A] = true;
    set_device(B, true);
    cr_assert_eq(leads_to(B, START), START);
    cr_assert_eq(entries_in(A), 0);
    cr_assert_eq(look_up(0), (int64_t)START);
    cr_assert_eq(stats_now().registrations, 1);
}

Test(spaces, the_applications_mappings_count_while_a_device_is_attached, .init = one_idle)
{
    cr_assert_eq(app_map(A, 0x100000, 40, 4), 0);
    cr_assert_eq(stats_now().app_pinned, 0);
    set_device(A, true);
    cr_assert_eq(stats_now().app_pinned, 4 * PAGE);
    set_device(A, false);
    cr_assert_eq(stats_now().app_pinned, 0);
    cr_assert_eq(leads_to(A, 0x100000), START + 40 * PAGE, "they stay");
    cr_assert_eq(app_unmap(A, 0x100000, 4 * PAGE), 4 * PAGE);
}

Test(spaces, an_alias_is_the_applications_own_once_the_device_is_gone, .init = one_attached)
{
    look_up(0);
    cr_assert_eq(app_map(A, START, 0, 4), 0);
    cr_assert_eq(entries_in(A), 1);
    set_device(A, false);
    cr_assert_eq(leads_to(A, START + PAGE), START + PAGE);
    cr_assert_eq(leads_to(A, START + 8 * PAGE), 0);
    cr_assert_eq(app_unmap(A, START, 4 * PAGE), 4 * PAGE);
    cr_assert_eq(entries_in(A), 0);
}

Test(spaces, what_the_application_mapped_where_ours_belongs_becomes_an_alias, .init = one_idle)
{
    look_up(0);
    cr_assert_eq(app_map(A, START + 2 * PAGE, 2, 4), 0);
    set_device(A, true);
    cr_assert_eq(look_up(0), (int64_t)START);
    cr_assert_eq(entries_in(A), 1);
    cr_assert_eq(leads_to(A, START + 3 * PAGE), START + 3 * PAGE);
    cr_assert_eq(app_unmap(A, START + 2 * PAGE, 4 * PAGE), 4 * PAGE);
    cr_assert_eq(leads_to(A, START + 3 * PAGE), START + 3 * PAGE, "ours");
}

Test(spaces, one_that_maps_at_its_own_addresses_starts_eager_mode_with_its_device, .init = start_registry)
{
    make_space(A);
    cr_assert_eq(app_map(A, START + 128 * PAGE, 128, 1), 0);
    cr_assert_not(eager_is_on());
    set_device(A, true);
    cr_assert(eager_is_on());
    cr_assert_eq(leads_to(A, START + 5 * PAGE), START + 5 * PAGE);
}

Test(spaces, a_range_undoes_upwards_until_a_mapping_that_it_cuts, .init = one_attached)
{
    look_up(0);
    cr_assert_eq(app_map(A, START - 4 * PAGE, 40, 2), 0);
    cr_assert_eq(app_map(A, START + UNIT, 50, 4), 0);
    cr_assert_eq(app_unmap(A, START - 4 * PAGE, 6 * PAGE + UNIT), -ENOENT);
    cr_assert_eq(leads_to(A, START - 4 * PAGE), 0, "the first is gone, as the kernel has it");
    cr_assert_eq(leads_to(A, START + UNIT), START + 50 * PAGE);
    cr_assert_eq(leads_to(A, START), START, "ours is not the application's to undo");
    cr_assert_eq(app_unmap(A, START - 4 * PAGE, 8 * PAGE + UNIT), 4 * PAGE);
}

Test(spaces, one_that_is_destroyed_is_forgotten_and_its_number_used_again, .init = one_idle)
{
    cr_assert_eq(app_map(A, 0x100000, 40, 4), 0);
    has_iommu = false;
    spaces_changed();
    has_iommu = true;
    cr_assert_null(container_find(FD, A));
    make_space(A);
    cr_assert_eq(app_map(A, 0x100000, 40, 4), 0);
}

Test(spaces, all_go_with_the_last_descriptor, .init = one_attached)
{
    make_space(B);
    set_device(B, true);
    look_up(0);
    devices_duplicated(FD, FD + 1);
    devices_closing(FD, FD);
    devices_closed();
    cr_assert_eq(stats_now().containers, 2);
    devices_closing(FD + 1, FD + 1);
    cr_assert_eq(stats_now().containers, 0);
    cr_assert_eq(stats_now().pinned, 0);
}

Test(spaces, making_way_concerns_the_one_that_is_meant_or_all, .init = one_attached)
{
    make_space(B);
    set_device(B, true);
    cr_assert_not(attachments_make_way(-1, ALL_SPACES));
    look_up(0);
    cr_assert_not(attachments_make_way(-1, 0), "none plays a container");
    cr_assert(attachments_make_way(-1, A));
    cr_assert_eq(entries_in(A), 0);
    cr_assert_eq(leads_to(B, START), START);
    attachments_restore(-1, A);
    cr_assert(attachments_make_way(-1, 77), "a page table");
    cr_assert_eq(entries_in(A) + entries_in(B), 0);
    attachments_restore(-1, 77);
    cr_assert_eq(leads_to(A, START), START);
    cr_assert_eq(leads_to(B, START), START);
    cr_assert_eq(look_up(0), (int64_t)START);
}

Test(spaces, making_way_in_one_without_a_device_takes_nothing_from_others, .init = one_attached)
{
    make_space(B);
    look_up(0);
    cr_assert_not(attachments_make_way(-1, B));
    cr_assert_eq(leads_to(A, START), START);
}

Test(spaces, a_device_on_one_without_ranges_taken_away_is_not_served, .init = one_idle)
{
    cr_assert_not(spaces_are_served(A));
    set_device(A, true);
    cr_assert(spaces_are_served(A));
    cr_assert(spaces_are_served(77), "a page table of it");
}
