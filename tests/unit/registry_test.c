/* SPDX-License-Identifier: MIT */
/* The registry over a fake memory and a backend that fails on demand: what is registered, held, owed, given
 * up. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dma/eager.h"
#include "dma/pins.h"
#include "fake_memory.h"

#define IDENTITY(page) ((int64_t)(START + (page)*PAGE))
#define ALL_IOVAS ((UINT64_C(1) << 48) - 1)

static void attached(void)
{
    start_registry();
    cr_assert_eq(attach_fake(-1, 100, ALL_IOVAS), 0);
}

static bool is_answered(size_t page)
{
    uint64_t iova;
    return pagemap_lookup(START + page * PAGE, &iova);
}

Test(registry, a_lookup_registers_the_unit_once, .init = attached)
{
    cr_assert_eq(look_up(3), IDENTITY(3));
    cr_assert_eq(look_up(15), IDENTITY(15));
    cr_assert_eq(stats_now().maps, 1);
    cr_assert_eq(stats_now().pinned, UNIT);
    cr_assert(is_answered(0) && !is_answered(16));
}

Test(registry, nothing_is_there_to_be_looked_up, .init = attached)
{
    cr_assert_eq(look_up(NR_PAGES - 1), -EFAULT);
    cr_assert_eq(stats_now().registrations, 0);
}

Test(registry, what_is_unmapped_answers_no_more_and_goes_when_all_of_it_is_idle, .init = attached)
{
    look_up(0);
    set_alive(0, 8, false);
    registry_forget(START, 8 * PAGE);
    cr_assert(!is_answered(7) && is_answered(8));
    cr_assert_eq(stats_now().unmaps, 0);
    set_alive(8, 8, false);
    registry_forget(START + 8 * PAGE, 8 * PAGE);
    cr_assert_eq(stats_now().unmaps, 1);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(nr_released, 1);
    cr_assert_not(pagemap_is_pinned(START));
}

Test(registry, a_promise_before_a_device_is_kept_at_attach, .init = start_registry)
{
    cr_assert_eq(look_up(2), IDENTITY(2));
    cr_assert_eq(stats_now().owed, 1);
    cr_assert_not(is_answered(2));
    attach_fake(-1, 100, ALL_IOVAS);
    cr_assert_eq(stats_now().owed, 0);
    cr_assert_eq(stats_now().maps, 1);
    cr_assert_eq(look_up(2), IDENTITY(2));
}

/* Protected, say, which the registry is not told. */
Test(registry, a_promise_is_kept_beside_what_can_not_be_pinned_at_attach, .init = start_registry)
{
    look_up(2);
    set_alive(8, 4, false);
    wants_alive = true;
    attach_fake(-1, 100, ALL_IOVAS);
    cr_assert_eq(look_up(2), IDENTITY(2));
    cr_assert_eq(look_up(15), IDENTITY(15));
    cr_assert_eq(look_up(9), -EFAULT);
    cr_assert_eq(stats_now().pinned, 12 * PAGE);
    cr_assert_eq(stats_now().owed, 0);
    set_alive(8, 4, true);
    cr_assert_eq(look_up(9), IDENTITY(9));
    cr_assert_eq(stats_now().pinned, 16 * PAGE);
}

Test(registry, a_promise_is_kept_beside_what_can_not_be_pinned_later, .init = start_registry)
{
    look_up(2);
    fail_map = -EFAULT;
    attach_fake(-1, 100, ALL_IOVAS);
    cr_assert_eq(look_up(2), -EFAULT);
    fail_map = 0;
    set_alive(8, 4, false);
    wants_alive = true;
    cr_assert_eq(look_up(2), IDENTITY(2));
    cr_assert_eq(stats_now().pinned, 8 * PAGE);
    cr_assert_eq(look_up(15), IDENTITY(15));
    cr_assert_eq(stats_now().pinned, 12 * PAGE);
}

/* What the first container has can't be cut: the second one has it in pieces. */
Test(registry, a_second_container_has_all_but_what_can_not_be_pinned, .init = attached)
{
    look_up(2);
    set_alive(8, 4, false);
    wants_alive = true;
    cr_assert_eq(attach_fake(9, 100, ALL_IOVAS), 0);
    cr_assert_eq(look_up(2), IDENTITY(2));
    cr_assert_eq(look_up(15), IDENTITY(15));
    cr_assert_eq(look_up(9), -EFAULT);
    cr_assert_eq(stats_now().registrations, 1);
    cr_assert_eq(stats_now().pinned, (16 + 12) * PAGE);
    set_alive(10, 2, true);
    cr_assert_not(is_answered(10));
    cr_assert_eq(look_up(10), IDENTITY(10));
    cr_assert_not(is_answered(9));
    cr_assert_eq(stats_now().pinned, (16 + 14) * PAGE);
    set_alive(8, 2, true);
    fail_map = -ENOMEM;
    cr_assert_eq(look_up(8), -ENOMEM);
    fail_map = 0;
    cr_assert_eq(look_up(8), IDENTITY(8));
    cr_assert_eq(stats_now().pinned, (16 + 16) * PAGE);
    cr_assert_eq(attachments_end(9, 0), 0);
    cr_assert_eq(stats_now().pinned, 16 * PAGE);
    cr_assert_eq(stats_now().registrations, 1);
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(stats_now().registrations, 0);
    cr_assert_eq(stats_now().pinned, 0);
}

Test(registry, what_a_container_has_in_pieces_leaves_whole, .init = attached)
{
    look_up(2);
    set_alive(8, 4, false);
    wants_alive = true;
    cr_assert_eq(attach_fake(9, 100, ALL_IOVAS), 0);
    cr_assert_eq(stats_now().pinned, (16 + 12) * PAGE);
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(stats_now().registrations, 0);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(stats_now().maps - stats_now().map_failures, stats_now().unmaps);
}

Test(registry, what_is_owed_is_cut_where_memory_leaves, .init = start_registry)
{
    look_up(0);
    set_alive(4, 2, false);
    registry_forget(START + 4 * PAGE, 2 * PAGE);
    cr_assert_eq(stats_now().registrations, 2);
    attach_fake(-1, 100, ALL_IOVAS);
    cr_assert_eq(stats_now().pinned, 14 * PAGE);
}

Test(registry, out_of_reach_of_the_device_it_gets_a_window_and_the_way_back, .init = start_registry)
{
    attach_fake(-1, 100, (UINT64_C(1) << 37) - 1);
    int64_t iova = look_up(5);
    cr_assert(iova > 0 && iova < INT64_C(1) << 37);
    cr_assert_eq((uint64_t)iova % PAGEMAP_BLOCK_SIZE, (START + 5 * PAGE) % PAGEMAP_BLOCK_SIZE);
    cr_assert_eq(registry_address((uint64_t)iova + 1), START + 5 * PAGE + 1);
}

Test(registry, windows_go_on_as_the_addresses_do_in_any_order, .init = start_registry)
{
    static const size_t order[] = {48, 64, 0, 80, 112};
    attach_fake(-1, 100, (UINT64_C(1) << 38) - 1);
    int64_t first = look_up(order[0]) - IDENTITY(order[0]);
    cr_assert_neq(first, 0);
    for (size_t i = 1; i < sizeof(order) / sizeof(order[0]); i++)
        cr_assert_eq(look_up(order[i]) - IDENTITY(order[i]), first);
}

/* By records of its own, at the same addresses: the container came from it, or was left open over an exec. */
static void go_around(uint64_t last_iova)
{
    struct iommu iommu = fake_container(5, 100, last_iova);
    uint64_t before = stats_now().maps;
    cr_assert_eq(iommu.ops->map(&iommu, START, START, UNIT), 0);
    cr_assert_eq(attachments_add(&iommu), 0);
    for (size_t page = 0; page < 3 * UNIT / PAGE; page += UNIT / PAGE) {
        uint64_t va;
        int64_t iova = look_up(page);
        cr_assert(iova > 0 && (uint64_t)iova != START);
        cr_assert(sim_translate(&iommu, (uint64_t)iova, &va) == 0 && va == START + page * PAGE);
    }
    cr_assert_eq(stats_now().maps - before, 1 + 3, "the other's is run into once");
    cr_assert_eq(attachments_end(5, 0), 0);
}

Test(registry, what_another_process_has_mapped_is_gone_around, .init = start_registry)
{
    eager_note_lookup();
    for (unsigned i = 0; i < 30; i++)
        go_around(i % 2 ? ALL_IOVAS : (UINT64_C(1) << 39) - 1);
    cr_assert_eq(attach_fake(-1, 100, ALL_IOVAS), 0);
    cr_assert_eq(look_up(0), IDENTITY(0));
}

Test(registry, a_map_that_fails_leaves_nothing_behind, .init = attached)
{
    static const int errors[] = {-ENOMEM, -ENOSPC, -EFAULT, -EINVAL, -EEXIST, -EBUSY, -EINTR};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        fail_map = errors[i];
        cr_assert_eq(look_up(0), errors[i]);
        cr_assert_eq(stats_now().registrations, 0);
        cr_assert_eq(stats_now().pinned, 0);
        cr_assert_not(pagemap_is_pinned(START));
    }
    fail_map = 0;
    cr_assert_eq(look_up(0), IDENTITY(0));
}

Test(registry, where_one_container_refuses_the_others_are_undone, .init = attached)
{
    cr_assert_eq(attach_fake(-1, 0, ALL_IOVAS), 0);
    cr_assert_eq(look_up(0), -ENOSPC);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(stats_now().maps, stats_now().unmaps + stats_now().map_failures);
}

static void unmap_must_not_be_trusted(void)
{
    look_up(0);
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(stats_now().unmap_failures, 1);
    cr_assert_eq(nr_released, 0, "its pages are never given to others");
    fail_unmap = 0;
    unmaps_nothing = false;
    set_alive(0, 16, true);
    cr_assert_eq(look_up(0), -ESTALE);
    cr_assert_eq(pins_add(START, PAGE), -ESTALE);
    cr_assert_not(is_answered(0));
}

Test(registry, an_unmap_that_undoes_nothing_sets_the_memory_aside, .init = attached)
{
    unmaps_nothing = true;
    unmap_must_not_be_trusted();
}

Test(registry, an_unmap_that_fails_sets_the_memory_aside, .init = attached)
{
    fail_unmap = -EINVAL;
    unmap_must_not_be_trusted();
}

Test(registry, an_unmap_that_fails_at_detach_sets_the_memory_aside_for_the_next_container,
     .init = start_registry)
{
    cr_assert_eq(attach_fake(7, 100, ALL_IOVAS), 0);
    look_up(0);
    fail_unmap = -EINVAL;
    cr_assert_eq(attachments_end_all(7), 0);
    fail_unmap = 0;
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(attach_fake(8, 100, ALL_IOVAS), 0);
    cr_assert_eq(stats_now().pinned, 0, "the next container is not given it");
    cr_assert_eq(look_up(0), -ESTALE);
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(nr_released, 0, "its pages are never given to others");
    cr_assert(registry_covers(START, UNIT));
    cr_assert_eq(look_up(16), IDENTITY(16));
    cr_assert_eq(attachments_end_all(8), 0);
    cr_assert_eq(nr_released, 1);
}

Test(registry, what_was_replaced_is_refused_until_nothing_of_it_is_left, .init = attached)
{
    look_up(0);
    set_alive(0, 1, false);
    is_page_stale[0] = true;
    registry_forget(START, PAGE);
    cr_assert_eq(look_up(0), -ESTALE);
    cr_assert_eq(pins_add(START, 4 * PAGE), -ESTALE);
    cr_assert_eq(look_up(1), IDENTITY(1));
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    set_alive(0, 1, true);
    cr_assert_eq(look_up(0), IDENTITY(0));
}

Test(registry, a_forked_child_has_nothing_and_no_promises, .init = attached)
{
    look_up(0);
    dma_reset();
    pagemap_reset();
    cr_assert_eq(stats_now().registrations, 0);
    cr_assert_eq(look_up(0), -ENODEV);
    cr_assert_eq(attach_fake(-1, 100, ALL_IOVAS), 0);
    cr_assert_eq(look_up(0), IDENTITY(0));
}

/* --- holds
 * ----------------------------------------------------------------------------------------------------------
 */

Test(pins, a_hold_outlives_the_memory_and_its_end_unregisters, .init = attached)
{
    cr_assert_eq(pins_add(START, 4 * PAGE), 0);
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(stats_now().pinned, UNIT);
    cr_assert_eq(pins_remove(START, 4 * PAGE), 0);
    cr_assert_eq(stats_now().pinned, 0);
}

Test(pins, holds_are_counted_for_each_exact_range, .init = attached)
{
    cr_assert_eq(pins_add(START, PAGE), 0);
    cr_assert_eq(pins_add(START, PAGE), 0);
    cr_assert_eq(pins_add(START, 2 * PAGE), 0);
    cr_assert_eq(pins_remove(START, PAGE), 0);
    cr_assert_eq(pins_remove(START, PAGE), 0);
    cr_assert_eq(pins_remove(START, PAGE), -ENOENT);
    cr_assert_eq(pins_remove(START + PAGE, PAGE), -ENOENT);
    cr_assert_eq(pins_remove(START, 2 * PAGE), 0);
}

Test(pins, what_is_held_and_gone_is_not_held_once_more, .init = attached)
{
    cr_assert_eq(pins_add(START, 4 * PAGE), 0);
    set_alive(2, 1, false);
    registry_forget(START + 2 * PAGE, PAGE);
    cr_assert_eq(pins_add(START, 4 * PAGE), -EFAULT);
    cr_assert_eq(pins_remove(START, 4 * PAGE), 0);
    cr_assert_eq(pins_remove(START, 4 * PAGE), -ENOENT);
}

Test(pins, nonsense_is_refused, .init = attached)
{
    cr_assert_eq(pins_add(START, 0), -EINVAL);
    cr_assert_eq(pins_add(START, SIZE_MAX), -EINVAL);
    cr_assert_eq(pins_remove(START, PAGE), -ENOENT);
}

Test(pins, what_is_not_all_there_is_not_held, .init = attached)
{
    look_up(0);
    set_alive(3, 1, false);
    registry_forget(START + 3 * PAGE, PAGE);
    cr_assert_eq(pins_add(START, 8 * PAGE), -EFAULT);
    cr_assert_eq(pins_remove(START, 8 * PAGE), -ENOENT);
}

Test(pins, a_hold_outlives_the_container_and_its_end_is_counted_once, .init = start_registry)
{
    cr_assert_eq(attach_fake(40, 100, ALL_IOVAS), 0);
    cr_assert_eq(pins_add(START, 4 * PAGE), 0);
    cr_assert_eq(attachments_end_all(40), 0);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(attach_fake(41, 100, ALL_IOVAS), 0);
    cr_assert_eq(look_up(0), IDENTITY(0));
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(stats_now().pinned, UNIT, "still held");
    cr_assert_eq(pins_remove(START, 4 * PAGE), 0);
    cr_assert_eq(stats_now().pinned, 0);
}

/* --- snapshots ------------------------------------------------------------------------------------------------------- */

static int snapshot_pipe[2];

static void *write_snapshot(void *arg)
{
    *(int *)arg = stats_snapshot(snapshot_pipe[1]);
    close(snapshot_pipe[1]);
    return NULL;
}

/* A pipe that nobody reads stops whoever writes to it, and nobody else. */
Test(registry, a_snapshot_that_can_not_be_written_stops_no_lookup, .init = start_registry, .timeout = 60)
{
    enum { PIPE_BYTES = 4096 };
    char text[PIPE_BYTES];
    int error = 1, in_pipe = 0, lines = 0;
    pthread_t thread;
    attach_fake(-1, 1000, ALL_IOVAS);
    for (size_t i = 0; i < NR_PAGES; i++)
        set_alive(i, 1, i % 2 == 0);
    for (size_t i = 0; i < NR_PAGES - 2; i += 2)
        look_up(i);
    cr_assert_eq(pipe(snapshot_pipe), 0);
    cr_assert_eq(fcntl(snapshot_pipe[1], F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
    cr_assert_eq(pthread_create(&thread, NULL, write_snapshot, &error), 0);
    while (in_pipe < PIPE_BYTES - 64)
        ioctl(snapshot_pipe[0], FIONREAD, &in_pipe);
    cr_assert_eq(look_up(NR_PAGES - 2), IDENTITY(NR_PAGES - 2));
    for (ssize_t n; (n = read(snapshot_pipe[0], text, sizeof(text))) > 0;)
        while (n--)
            lines += text[n] == '\n';
    pthread_join(thread, NULL);
    cr_assert_eq(error, 0);
    cr_assert_geq(lines, NR_PAGES / 2);
    cr_assert_leq(lines, NR_PAGES / 2 + 1, "what is registered meanwhile may be in it, or not");
}

Test(registry, a_snapshot_says_what_came_of_it, .init = start_registry)
{
    int full = open("/dev/full", O_WRONLY);
    look_up(0);
    cr_assert_eq(stats_snapshot(full), -ENOSPC);
}
