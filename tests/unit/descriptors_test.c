/* SPDX-License-Identifier: MIT */
/* How descriptors of containers end and multiply: real ones here, of a container that is simulated. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dma/attachments.h"
#include "dma/containers.h"
#include "dma/devices.h"
#include "dma/eager.h"
#include "dma/pins.h"
#include "dma/registry.h"
#include "fake_memory.h"

#define ALL_IOVAS ((UINT64_C(1) << 48) - 1)

static int fd;

static void attached(void)
{
    start_registry();
    eager_note_lookup();
    fd = open("/dev/null", O_RDWR);
    cr_assert_eq(attach_fake(fd, 100, ALL_IOVAS), 0);
    look_up(0);
}

/* As the door does. */
static void close_known(int known)
{
    devices_closing(known, known);
    close(known);
    devices_closed();
}

static bool is_attached(void)
{
    struct anydma_stats stats = stats_now();
    cr_assert_eq(stats.containers != 0, stats.pinned != 0);
    return stats.containers;
}

static int duplicate(int of, int at_least)
{
    int copy = fcntl(of, F_DUPFD, at_least);
    if (copy >= 0)
        devices_duplicated(of, copy);
    return copy;
}

Test(descriptors, any_number_of_duplicates_keeps_the_container, .init = attached)
{
    enum { MANY = 300 };
    int copies[MANY];
    for (int i = 0; i < MANY; i++)
        copies[i] = duplicate(i ? copies[i - 1] : fd, 0);
    close_known(fd);
    for (int i = 0; i < MANY; i++) {
        cr_assert(is_attached());
        cr_assert(devices_know(copies[i], 0));
        close_known(copies[i]);
    }
    cr_assert_not(is_attached());
}

Test(descriptors, a_range_of_them_is_closed_at_once, .init = attached)
{
    int last = duplicate(fd, fd + 20);
    duplicate(fd, fd + 10);
    devices_closing(fd, last - 1);
    for (int i = fd; i < last; i++)
        close(i);
    cr_assert(is_attached());
    duplicate(last, fd + 10);
    devices_closing(fd, INT32_MAX);
    cr_assert_not(is_attached(), "none of them is found once more");
}

Test(descriptors, high_numbers_are_as_good_as_low_ones, .init = attached)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int high = duplicate(fd, 200000);
    if (high < 0)
        high = duplicate(fd, (int)limit.rlim_max - 1);
    close_known(fd);
    cr_assert(is_attached());
    cr_assert(devices_may_know(high));
    cr_assert_not(devices_know(high - 65536, 0), "only the low bits are the same");
    close_known(high);
    cr_assert_not(is_attached());
}

/* By recvmsg, pidfd_getfd, or a system call of the program's own. */
Test(descriptors, a_duplicate_that_nobody_saw_keeps_the_container, .init = attached)
{
    int unseen = (int)syscall(SYS_dup, fd);
    cr_assert_not(devices_may_know(unseen));
    close_known(fd);
    cr_assert(is_attached());
    close_known(unseen);
    cr_assert_not(is_attached());
}

Test(descriptors, a_duplicate_that_nobody_saw_is_recognised_when_it_is_used, .init = attached)
{
    int unseen = (int)syscall(SYS_dup, fd), other = open("/dev/null", O_RDWR);
    cr_assert(devices_know(unseen, 0));
    cr_assert_not(devices_know(other, 0), "another file of the same device");
    close_known(fd);
    cr_assert(is_attached());
}

/* A thread with a table of its own may have something else there. */
Test(descriptors, a_number_that_another_file_has_by_now_is_not_the_container, .init = attached)
{
    int other = open("/dev/zero", O_RDWR);
    syscall(SYS_dup2, other, fd);
    close_known(fd);
    cr_assert(is_attached());
}

static void *let_go(void *arg)
{
    (void)arg;
    fail_unmap = -EBADF;
    set_alive(0, 16, false);
    registry_forget(START, UNIT);
    cr_assert_eq(nr_released, 0, "a device can reach it still");
    fail_unmap = 0;
    return NULL;
}

/* As after unshare(CLONE_FILES) or close_range(CLOSE_RANGE_UNSHARE). */
Test(descriptors, what_a_thread_without_them_lets_go_is_undone_by_another, .init = attached)
{
    pthread_t thread;
    pthread_create(&thread, NULL, let_go, NULL);
    pthread_join(thread, NULL);
    cr_assert_eq(stats_now().pinned, UNIT);
    look_up(20);
    cr_assert_eq(stats_now().pinned, UNIT, "that of the other page");
    cr_assert_eq(nr_released, 1);
    cr_assert_eq(stats_now().unmap_failures, 0);
}

Test(descriptors, what_is_not_served_refuses_lookups_while_it_is_open, .init = attached)
{
    uint64_t iova;
    cr_assert(pagemap_lookup(START, &iova));
    int device = open("/dev/zero", O_RDWR);
    devices_note_unserved(device, UNSERVED_IOMMUFD);
    devices_note_unserved(device, UNSERVED_IOMMUFD);
    cr_assert_not(pagemap_lookup(START, &iova));
    cr_assert_eq(look_up(0), -ENODEV);
    cr_assert_eq(look_up(20), -ENODEV);
    cr_assert_eq(pins_add(START, PAGE), -ENODEV);
    cr_assert(is_attached(), "what a served device was given stays");
    int copy = duplicate(device, 0);
    close_known(device);
    cr_assert_eq(look_up(0), -ENODEV);
    close_known(copy);
    cr_assert_eq(look_up(0), (int64_t)START);
}

Test(descriptors, groups_of_another_process_are_served_once_their_container_is, .init = attached)
{
    int group = open("/dev/zero", O_RDWR);
    devices_note_unserved(group, UNSERVED_GROUP);
    cr_assert_eq(look_up(0), -ENODEV);
    devices_serve_groups();
    cr_assert_eq(look_up(0), (int64_t)START);
}

/* --- several IOASs of one iommufd ------------------------------------------------------------------------------------- */

static uint64_t pinned_in_all(void)
{
    return stats_now().pinned;
}

static void attach_ioas(uint32_t ioas_id)
{
    struct iommu iommu = fake_container(fd, 100, ALL_IOVAS);
    iommu.ioas_id = ioas_id;
    cr_assert_eq(attachments_add(&iommu), 0);
}

static bool has_unit(uint32_t ioas_id)
{
    uint64_t va;
    return sim_translate(&container_find(fd, ioas_id)->iommu, START, &va) == 0 && va == START;
}

/* In each; pinned once. */
static void expect_both(void)
{
    cr_assert(has_unit(3) && has_unit(8));
    cr_assert_eq(pinned_in_all(), UNIT);
}

static void two_attached(void)
{
    start_registry();
    eager_note_lookup();
    fd = open("/dev/null", O_RDWR);
    attach_ioas(3);
    attach_ioas(8);
    look_up(0);
    expect_both();
}

Test(descriptors, each_ioas_is_a_container_of_its_own, .init = two_attached)
{
    struct iommu again = fake_container(fd, 100, ALL_IOVAS);
    again.ioas_id = 8;
    cr_assert_eq(attachments_add(&again), -EBUSY);
    cr_assert(devices_know(fd, 3) && devices_know(fd, 8));
    cr_assert_not(devices_know(fd, 0) || devices_know(fd, 4));
    cr_assert_neq(container_find(fd, 3), container_find(fd, 8));
    cr_assert_eq(attachments_end(fd, 4), -ENOENT);
    cr_assert_eq(attachments_end(fd, 3), 0);
    cr_assert_eq(pinned_in_all(), UNIT);
    cr_assert(devices_know(fd, 8));
    attach_ioas(3);
    expect_both();
    cr_assert_eq(attachments_end_all(fd), 0);
    cr_assert_eq(pinned_in_all(), 0);
    cr_assert_not(devices_may_know(fd));
}

Test(descriptors, every_ioas_ends_with_the_last_descriptor, .init = two_attached)
{
    int copy = duplicate(fd, 0);
    close_known(fd);
    cr_assert_eq(stats_now().containers, 2);
    cr_assert_eq(container_find(copy, 3)->iommu.fd, copy);
    cr_assert_eq(container_find(copy, 8)->iommu.fd, copy);
    close_known(copy);
    cr_assert_eq(stats_now().containers, 0);
    cr_assert_eq(pinned_in_all(), 0);
}

Test(descriptors, an_ioas_that_is_made_again_starts_afresh, .init = two_attached)
{
    struct iommu again = fake_container(fd, 100, ALL_IOVAS);
    again.ioas_id = 3;
    cr_assert_eq(attachments_renew(&again), 0);
    cr_assert_eq(stats_now().containers, 2);
    expect_both();
}
