/* SPDX-License-Identifier: MIT */
/*
 * A program that uses /dev/iommu by raw calls, on an iommufd that tests/preload/iommufd_kernel.h plays: what is looked up is
 * mapped in each address space that a device is attached to, in none that has none, and the program's own calls are answered as
 * without the shim.
 * @env ANYDMA_IOMMU=auto
 */
#include "iommufd_kernel.h"
#include "said.h"

#include <sys/mman.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

enum { PAGE = 4096, APP_IOVA = 0x10000000 };

static int iommufd, devices[2];
static char *block;
static _Alignas(2 << 20) char global[2 << 20];

static int call(int fd, unsigned long number, void *arg)
{
    return ioctl(fd, number, arg) < 0 ? -errno : 0;
}

static uint32_t make_space(void)
{
    struct iommufd_ioas_alloc alloc = {.size = sizeof(alloc)};
    EXPECT(call(iommufd, IOMMUFD_IOAS_ALLOC, &alloc) == 0);
    return alloc.out_ioas_id;
}

static int attach(int device, uint32_t space)
{
    struct iommufd_device_attach attach = {.argsz = sizeof(attach), .pt_id = space};
    return call(device, IOMMUFD_DEVICE_ATTACH, &attach);
}

static int detach(int device)
{
    struct iommufd_device_attach detach = {.argsz = 8};
    return call(device, IOMMUFD_DEVICE_DETACH, &detach);
}

static int destroy(uint32_t id)
{
    struct iommufd_destroy destroy = {.size = sizeof(destroy), .id = id};
    return call(iommufd, IOMMUFD_DESTROY, &destroy);
}

static int map(uint32_t space, uint64_t iova, const void *at, uint64_t len, uint64_t *chosen)
{
    struct iommufd_ioas_map map = {.size = sizeof(map),
                                   .flags = IOMMUFD_WRITEABLE | IOMMUFD_READABLE |
                                            (chosen ? 0 : IOMMUFD_FIXED_IOVA),
                                   .ioas_id = space,
                                   .user_va = (uintptr_t)at,
                                   .length = len,
                                   .iova = iova};
    int rc = call(iommufd, IOMMUFD_IOAS_MAP, &map);
    if (chosen)
        *chosen = map.iova;
    return rc;
}

static int unmap(uint32_t space, uint64_t iova, uint64_t len, uint64_t *undone)
{
    struct iommufd_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = space, .iova = iova, .length = len};
    int rc = call(iommufd, IOMMUFD_IOAS_UNMAP, &unmap);
    *undone = unmap.length;
    return rc;
}

static int copy(uint32_t to, uint64_t iova, uint32_t from, uint64_t from_iova, uint64_t len)
{
    struct iommufd_ioas_copy copy = {.size = sizeof(copy),
                                     .flags = IOMMUFD_FIXED_IOVA | IOMMUFD_WRITEABLE | IOMMUFD_READABLE,
                                     .dst_ioas_id = to,
                                     .src_ioas_id = from,
                                     .length = len,
                                     .dst_iova = iova,
                                     .src_iova = from_iova};
    return call(iommufd, IOMMUFD_IOAS_COPY, &copy);
}

static void open_all(void)
{
    iommufd = open("/dev/iommu", O_RDWR);
    for (int i = 0; i < 2; i++) {
        struct iommufd_device_bind bind = {.argsz = sizeof(bind), .iommufd = iommufd};
        devices[i] = open(i ? "/dev/vfio/devices/vfio1" : "/dev/vfio/devices/vfio0", O_RDWR);
        EXPECT(devices[i] >= 0 && call(devices[i], IOMMUFD_DEVICE_BIND, &bind) == 0);
    }
    kernel.nr_maps = kernel.nr_copies = kernel.nr_refusals = 0;
}

/* Devices before the iommufd: that is not seen by the one that plays the kernel. */
static void close_all(void)
{
    struct anydma_stats stats;
    for (int i = 0; i < 2; i++) {
        kernel_detach(devices[i]);
        close(devices[i]);
    }
    close(iommufd);
    for (uint32_t id = 1; id < KERNEL_SPACES; id++)
        kernel.spaces[id].is_there = false;
    kernel.vfio_space = 0;
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0 && stats.containers == 0 && stats.pinned == 0 &&
           stats.app_pinned == 0 && stats.unmap_failures == 0);
}

/* Whether the lookup answers, and the answer leads to the page, in that space. */
static bool reaches(uint32_t space, const void *at)
{
    uint64_t iova = anydma_iova(at);
    return iova != ANYDMA_BAD_IOVA && kernel_leads_to(space, iova) == (uintptr_t)at;
}

static bool is_refused(const void *at, int error)
{
    errno = 0;
    return anydma_iova(at) == ANYDMA_BAD_IOVA && errno == error;
}

static uint64_t pinned(void)
{
    struct anydma_stats stats = {0};
    return anydma_stats(&stats, sizeof(stats)) == 0 ? stats.pinned : 0;
}

static int opened_unseen(const char *path)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_open), "D"(path), "S"(O_RDWR)
                     : "rcx", "r11", "memory");
    return (int)result;
}

static int duplicated_unseen(int fd)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_dup), "D"(fd) : "rcx", "r11", "memory");
    return (int)result;
}

static void one(void)
{
    open_all();
    uint32_t space = make_space();
    EXPECT(anydma_iova(block) == (uintptr_t)block); /* owed */
    EXPECT(is_refused(global, ENODEV));
    EXPECT(kernel.spaces[space].nr_maps == 0 && pinned() == 0);
    EXPECT(attach(devices[0], space) == 0);
    EXPECT(reaches(space, block) && reaches(space, block + 100000));
    EXPECT(reaches(space, global) && anydma_iova(global) >> 39 == 0); /* as the device narrowed it */
    EXPECT(attach(devices[1], space) == 0 && reaches(space, block));
    EXPECT(detach(devices[0]) == 0 && reaches(space, block));
    EXPECT(detach(devices[1]) == 0 && kernel.spaces[space].nr_maps == 0 && pinned() == 0);
    EXPECT(attach(devices[1], space) == 0 && reaches(space, block) && reaches(space, global));
    close_all();
}

static void several(void)
{
    open_all();
    uint32_t first = make_space(), spare = make_space(), second = make_space();
    EXPECT(attach(devices[0], first) == 0 && reaches(first, block) && reaches(first, global));
    uint64_t before = pinned();
    unsigned nr_maps = kernel.nr_maps;
    EXPECT(attach(devices[1], second) == 0 && reaches(second, block) && reaches(second, global));
    EXPECT(kernel.nr_maps == nr_maps && kernel.nr_copies == nr_maps && pinned() == before);
    char *more = malloc(3 << 20);
    EXPECT(reaches(first, more) && reaches(second, more) && kernel.nr_copies == kernel.nr_maps);
    EXPECT(attach(devices[0], second) == 0 && reaches(second, more) && kernel.spaces[first].nr_maps == 0);
    EXPECT(kernel.spaces[spare].nr_maps == 0 && destroy(spare) == 0 && destroy(second) == -EBUSY);
    EXPECT(destroy(first) == 0 && reaches(second, block));
    EXPECT(make_space() == first && attach(devices[0], first) == 0 && reaches(first, block));
    free(more);
    close_all();
}

static void by_itself(void)
{
    uint64_t undone, chosen = 0;
    open_all();
    uint32_t space = make_space(), other = make_space();
    char *own = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(map(space, APP_IOVA, own, 8 * PAGE, NULL) == 0);
    EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
    EXPECT(map(space, 0, own, PAGE, &chosen) == 0 && kernel_leads_to(space, chosen) == (uintptr_t)own);
    EXPECT(copy(other, APP_IOVA, space, APP_IOVA, 4 * PAGE) == 0);
    EXPECT(kernel_leads_to(other, APP_IOVA) == (uintptr_t)own);
    EXPECT(map(space, APP_IOVA, own, PAGE, NULL) == -EEXIST);
    EXPECT(map(space, (uintptr_t)block & -PAGE, own, PAGE, NULL) == -EEXIST);
    EXPECT(map(space, (uintptr_t)block & -PAGE, (void *)((uintptr_t)block & -PAGE), PAGE, NULL) == 0);
    EXPECT(unmap(space, APP_IOVA, 4 * PAGE, &undone) == -ENOENT);
    EXPECT(unmap(space, APP_IOVA, 8 * PAGE, &undone) == 0 && undone == 8 * PAGE);
    EXPECT(map(space, APP_IOVA, own, 8 * PAGE, NULL) == 0);
    EXPECT(unmap(space, 0, UINT64_MAX, &undone) == 0 && undone == 10 * PAGE);
    EXPECT(reaches(space, block));
    EXPECT(unmap(space, 0, UINT64_MAX, &undone) == 0 && undone == 0 && reaches(space, block));
    EXPECT(unmap(space, (uintptr_t)block & -PAGE, PAGE, &undone) == -ENOENT && reaches(space, block));
    munmap(own, 16 * PAGE);
    close_all();
}

/* Which is refused while anything but files is mapped. */
static void change_over(void)
{
    open_all();
    uint32_t space = make_space();
    struct iommufd_change_process change = {.size = sizeof(change)}, small = {.size = 4};
    struct iommufd_ioas_map_file file = {.size = sizeof(file),
                                         .flags = IOMMUFD_FIXED_IOVA | IOMMUFD_WRITEABLE | IOMMUFD_READABLE,
                                         .ioas_id = space,
                                         .length = PAGE,
                                         .iova = APP_IOVA};
    uint64_t undone;
    EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
    EXPECT(call(iommufd, IOMMUFD_IOAS_MAP_FILE, &file) == 0 && reaches(space, block));
    unsigned nr_maps = kernel.nr_maps;
    EXPECT(call(iommufd, IOMMUFD_CHANGE_PROCESS, &small) == -EINVAL && kernel.nr_maps == nr_maps);
    EXPECT(call(iommufd, IOMMUFD_CHANGE_PROCESS, &change) == 0 && reaches(space, block));
    EXPECT(map(space, 2 * APP_IOVA, global, PAGE, NULL) == 0);
    EXPECT(call(iommufd, IOMMUFD_CHANGE_PROCESS, &change) == -EINVAL && reaches(space, block));
    EXPECT(unmap(space, 0, UINT64_MAX, &undone) == 0 && undone == 2 * PAGE && reaches(space, block));
    close_all();
}

static void in_the_way(void)
{
    open_all();
    uint32_t space = make_space();
    uint64_t undone;
    EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
    kernel.refuses_busy = true;
    EXPECT(attach(devices[1], space) == 0 && kernel.nr_refusals == 1 && reaches(space, block));
    EXPECT(detach(devices[1]) == 0 && map(space, APP_IOVA, global, PAGE, NULL) == 0);
    EXPECT(attach(devices[1], space) == -EADDRINUSE && reaches(space, block));
    EXPECT(unmap(space, APP_IOVA, PAGE, &undone) == 0);
    /* Where it is not ours that is in the way, nothing of ours leaves. */
    uint32_t second = make_space();
    unsigned nr_unmaps = kernel.spaces[space].nr_unmaps;
    EXPECT(map(second, APP_IOVA, global, PAGE, NULL) == 0 && attach(devices[1], second) == -EADDRINUSE);
    kernel.refuses_busy = false;
    kernel.attach_error = -EFAULT;
    EXPECT(attach(devices[1], space) == -EFAULT && detach(devices[1]) == 0);
    kernel.attach_error = 0;
    EXPECT(kernel.spaces[space].nr_unmaps == nr_unmaps && reaches(space, block));
    close_all();
}

/* The IOAS has no IOVA left to choose, or the kernel no memory: what is registered stays, and what failed can be had again. */
static void full(void)
{
    uint64_t undone, chosen = 0;
    open_all();
    uint32_t space = make_space();
    EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
    said_begin();
    kernel.map_error = -ENOSPC;
    for (int i = 0; i < 2; i++)
        EXPECT(map(space, 0, global, PAGE, &chosen) == -ENOSPC && reaches(space, block));
    kernel.map_error = -ENOMEM;
    char *more = malloc(3 << 20);
    for (int i = 0; i < 2; i++)
        EXPECT(is_refused(more, ENOMEM) && map(space, APP_IOVA, global, PAGE, NULL) == -ENOMEM);
    said_end();
    EXPECT(said_times("no IOVA is left") == 1 &&
           said_times("the kernel has no memory") == 2); /* a lookup, a map */
    kernel.map_error = 0;
    EXPECT(reaches(space, more) && map(space, 0, global, PAGE, &chosen) == 0 && reaches(space, block));
    EXPECT(unmap(space, chosen, PAGE, &undone) == 0);
    free(more);
    close_all();
}

/* By a number of none, or what is no iommufd: the kernel's own answer, and everything as before. */
static void none(void)
{
    open_all();
    uint32_t space = make_space();
    uint64_t undone;
    EXPECT(attach(devices[0], 77) == -ENOENT && attach(devices[0], 0) == -ENOENT && destroy(77) == -ENOENT);
    said_begin();
    EXPECT(map(77, APP_IOVA, global, PAGE, NULL) == -ENOENT && unmap(77, 0, UINT64_MAX, &undone) == -ENOENT);
    EXPECT(map(77, APP_IOVA, global, PAGE, NULL) == -ENOENT);
    said_end();
    EXPECT(said_times("no address space of that number") == 1);
    EXPECT(anydma_attach(iommufd, 77) == -ENOENT);
    EXPECT(anydma_iova(block) == (uintptr_t)block && is_refused(global, ENODEV));
    EXPECT(attach(devices[0], space) == 0 && attach(devices[0], 77) == -ENOENT && reaches(space, block));
    EXPECT(copy(77, APP_IOVA, space, APP_IOVA, PAGE) == -ENOENT && anydma_attach(iommufd, 77) == -ENOENT);
    EXPECT(reaches(space, block) && reaches(space, global));
    close_all();
}

/* By calls in assembly, or by another process. */
static void unseen(void)
{
    open_all();
    uint32_t space = 0, second = 0;
    EXPECT(kernel_alloc(&space) == 0 && kernel_alloc(&second) == 0);
    EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
    EXPECT(map(second, APP_IOVA, global, PAGE, NULL) == 0);
    EXPECT(kernel_attach(devices[1], second) == 0 && anydma_attach(iommufd, second) == -EBUSY);
    EXPECT(anydma_attach(iommufd, space) == -EBUSY);
    close_all();
}

static int ask(int device)
{
    struct vfio_device_info info = {.argsz = sizeof(info)};
    return call(device, VFIO_DEVICE_GET_INFO, &info);
}

/* By a socket, say: with the iommufd, which is adopted at the first mapping. Until then nothing would lead there. */
static void handed_over(void)
{
    uint32_t space = 0;
    uint64_t undone;
    open_all();
    EXPECT(kernel_alloc(&space) == 0 && kernel_attach(devices[0], space) == 0);
    int known = duplicated_unseen(devices[0]), unknown = opened_unseen("/dev/vfio/devices/vfio1");
    EXPECT(known >= 0 && ask(known) == 0 && anydma_iova(block) == (uintptr_t)block);
    EXPECT(unknown >= 0 && ask(unknown) == 0 && is_refused(block, ENODEV) && is_refused(malloc(100), ENODEV));
    EXPECT(map(space, APP_IOVA, global, PAGE, NULL) == 0 && reaches(space, block));
    EXPECT(unmap(space, APP_IOVA, PAGE, &undone) == 0);
    close(known);
    close(unknown);
    close_all();
}

static void *keep_descriptors(void *arg)
{
    EXPECT(arg ? unshare(CLONE_FILES) == 0 : close_range(900, 901, CLOSE_RANGE_UNSHARE) == 0);
    return NULL;
}

/* What such a thread had open is closed by no call: what was looked up before is not answered unasked. */
static void ended_with_a_thread(void)
{
    pthread_t thread;
    for (int way = 0; way < 2; way++) {
        struct anydma_stats stats = {0};
        open_all();
        uint32_t space = make_space();
        EXPECT(attach(devices[0], space) == 0 && reaches(space, block) && reaches(space, block));
        EXPECT(pthread_create(&thread, NULL, keep_descriptors, way ? &stats : NULL) == 0);
        EXPECT(pthread_join(thread, NULL) == 0 && reaches(space, block) && reaches(space, block));
        kernel_detach(devices[0]);                      /* as with the thread's last descriptor of it */
        EXPECT(anydma_iova(block) == (uintptr_t)block); /* owed */
        EXPECT(anydma_stats(&stats, sizeof(stats)) == 0 && stats.containers == 0 && stats.pinned == 0);
        EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
        close_all();
    }
}

static uint32_t make_table(uint32_t parent, uint32_t data_type)
{
    struct iommufd_hwpt_alloc alloc = {.size = sizeof(alloc), .pt_id = parent, .data_type = data_type};
    EXPECT(call(iommufd, IOMMUFD_HWPT_ALLOC, &alloc) == 0);
    return alloc.out_hwpt_id;
}

static void tables(void)
{
    open_all();
    uint32_t space = make_space(), table = make_table(space, 0), inner = make_table(table, 1);
    EXPECT(attach(devices[0], table) == 0 && reaches(space, block));
    EXPECT(attach(devices[1], inner) == 0 && is_refused(block, ENODEV));
    EXPECT(attach(devices[1], space) == 0 && reaches(space, block));
    close_all();
}

static void mediated(void)
{
    open_all();
    uint32_t space = make_space();
    kernel.is_mediated = true;
    EXPECT(anydma_iova(block) == (uintptr_t)block);
    EXPECT(attach(devices[0], space) == 0 && is_refused(block, ENODEV));
    kernel.is_mediated = false;
    EXPECT(attach(devices[0], space) == 0 && reaches(space, block));
    close_all();
}

static void container(void)
{
    iommufd = open("/dev/iommu", O_RDWR);
    int group = open("/dev/vfio/7", O_RDWR);
    struct vfio_iommu_type1_dma_map own = {.argsz = sizeof(own),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = (uintptr_t)global,
                                           .iova = APP_IOVA,
                                           .size = PAGE};
    struct vfio_iommu_type1_dma_unmap all = {.argsz = sizeof(all), .flags = VFIO_DMA_UNMAP_FLAG_ALL};
    own.vaddr &= -(uint64_t)PAGE;
    EXPECT(call(group, VFIO_GROUP_SET_CONTAINER, &iommufd) == 0);
    EXPECT(ioctl(iommufd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0);
    EXPECT(call(iommufd, VFIO_IOMMU_MAP_DMA, &own) == 0);
    EXPECT(anydma_iova(block) == (uintptr_t)block && kernel.spaces[kernel.vfio_space].nr_maps == 1);
    devices[0] = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:03.0");
    EXPECT(devices[0] >= 0 && reaches(kernel.vfio_space, block) && reaches(kernel.vfio_space, global));
    EXPECT(anydma_iova(global) >> 39 == 0);
    EXPECT(call(iommufd, VFIO_IOMMU_UNMAP_DMA, &all) == 0 && all.size == PAGE);
    EXPECT(reaches(kernel.vfio_space, block));
    devices[1] = open("/dev/vfio/devices/vfio1", O_RDWR);
    close(group);
    close_all();
}

int main(void)
{
    shim_must_be_there();
    block = malloc(1 << 20);
    if (!kernel_start()) {
        puts("no mount namespace, or no notification by seccomp, may be had here");
        return 77;
    }
    behaviour("an_address_space_holds_what_is_registered_while_a_device_is_attached", one);
    behaviour("several_share_what_is_pinned", several);
    behaviour("the_programs_own_calls_are_answered_as_without_us", by_itself);
    behaviour("an_iommufd_changes_over_to_another_process", change_over);
    behaviour("an_attach_that_ours_is_in_the_way_of_succeeds", in_the_way);
    behaviour("what_is_full_refuses_with_a_reason_and_for_as_long_as_it_is", full);
    behaviour("a_number_of_none_is_refused_as_the_kernel_refuses_it", none);
    behaviour("one_that_nobody_saw_made_is_found", unseen);
    behaviour("a_device_of_another_process_is_promised_nothing_before_its_space_is_known", handed_over);
    behaviour("a_page_table_leads_there_unless_it_is_nested", tables);
    behaviour("a_device_that_is_not_reached_is_not_promised_anything", mediated);
    behaviour("iommufd_plays_a_container", container);
    behaviour("what_ends_with_a_thread_that_has_its_own_descriptors_is_noticed", ended_with_a_thread);
    return behaviours_end();
}
