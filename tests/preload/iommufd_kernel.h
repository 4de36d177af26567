/* SPDX-License-Identifier: MIT */
/*
 * An iommufd for a program that has none: a thread answers the ioctls of VFIO's type by iommufd's rules (seccomp's user
 * notification), for empty files in a /dev of the program's own. It knows what is mapped where, and pins nothing. Thread
 * safe as far as the tests need it: what they look at is still while no call is made.
 */
#ifndef TESTS_PRELOAD_IOMMUFD_KERNEL_H
#define TESTS_PRELOAD_IOMMUFD_KERNEL_H

#include "expect.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../shim/iommu/iommufd_abi.h"

enum { KERNEL_SPACES = 8, KERNEL_MAPS = 4096, KERNEL_DEVICES = 1024, KERNEL_TABLES = 8, FIRST_TABLE = 100 };

struct kernel_map {
    uint64_t iova, va, len;
    bool is_copy;
    bool is_file; /* at `va` in a file, as far as can be seen */
};

static struct {
    struct kernel_space {
        bool is_there;
        int nr_devices;
        unsigned nr_maps, nr_unmaps;
        struct kernel_map maps[KERNEL_MAPS];
    } spaces[KERNEL_SPACES];           /* by number: 0 is none */
    uint32_t attached[KERNEL_DEVICES]; /* by the device's descriptor: the space */
    uint32_t tables[KERNEL_TABLES];    /* page tables, by number from FIRST_TABLE on: of which space */
    uint32_t vfio_space;               /* which plays the container */
    bool is_mediated;                  /* the devices take no IOVAs away */
    bool refuses_busy;                 /* an attach where anything is mapped */
    int attach_error, map_error;       /* of every attach; of every mapping made */
    unsigned nr_maps, nr_copies, nr_refusals, nr_ioctls;
    int listener;
} kernel;

static struct kernel_space *kernel_space(uint32_t id)
{
    return id && id < KERNEL_SPACES && kernel.spaces[id].is_there ? &kernel.spaces[id] : NULL;
}

static struct kernel_map *kernel_find(struct kernel_space *space, uint64_t start, uint64_t last)
{
    for (unsigned i = 0; space && i < space->nr_maps; i++)
        if (space->maps[i].iova <= last && start <= space->maps[i].iova + (space->maps[i].len - 1))
            return &space->maps[i];
    return NULL;
}

/* Where the device is led, in that space; 0: nowhere. */
__attribute__((unused)) static uint64_t kernel_leads_to(uint32_t id, uint64_t iova)
{
    const struct kernel_map *map = kernel_find(kernel_space(id), iova, iova);
    return map ? map->va + (iova - map->iova) : 0;
}

/* --- the calls ----------------------------------------------------------------------------------------------------- */

static bool is_narrow(const struct kernel_space *space)
{
    return space->nr_devices && !kernel.is_mediated;
}

static int kernel_ranges(struct iommufd_ioas_iova_ranges *ask)
{
    static const struct iommufd_range narrow[] = {{0, 0xfedfffff}, {0xfef00000, (UINT64_C(1) << 39) - 1}};
    static const struct iommufd_range whole[] = {{0, UINT64_MAX}};
    const struct kernel_space *space = kernel_space(ask->ioas_id);
    if (!space)
        return -ENOENT;
    const struct iommufd_range *ranges = is_narrow(space) ? narrow : whole;
    uint32_t nr = is_narrow(space) ? 2 : 1, max = ask->num_iovas;
    ask->num_iovas = nr;
    ask->out_iova_alignment = 4096;
    for (uint32_t i = 0; i < nr && i < max; i++)
        ((struct iommufd_range *)ask->allowed_iovas)[i] = ranges[i];
    return nr > max ? -EMSGSIZE : 0;
}

static int kernel_insert(uint32_t id, uint64_t *iova, uint64_t va, uint64_t len, uint32_t flags, bool is_copy)
{
    struct kernel_space *space = kernel_space(id);
    if (!space)
        return -ENOENT;
    if (!(flags & IOMMUFD_FIXED_IOVA))
        for (*iova = 0x1000000; kernel_find(space, *iova, *iova + (len - 1)); *iova += len)
            ;
    if (!len || (*iova | len) & 4095)
        return -EINVAL;
    uint64_t last = *iova + (len - 1);
    if (is_narrow(space) && (last >> 39 || (*iova <= 0xfeefffff && last >= 0xfee00000)))
        return -EINVAL;
    if (kernel_find(space, *iova, last))
        return -EEXIST;
    if (kernel.map_error)
        return kernel.map_error;
    if (space->nr_maps == KERNEL_MAPS)
        return -ENOMEM;
    space->maps[space->nr_maps++] = (struct kernel_map){*iova, va, len, is_copy, false};
    kernel.nr_maps += !is_copy;
    kernel.nr_copies += is_copy;
    return 0;
}

static int kernel_map_file(struct iommufd_ioas_map_file *map)
{
    int error = kernel_insert(map->ioas_id, &map->iova, map->start, map->length, map->flags, false);
    if (!error)
        kernel_find(kernel_space(map->ioas_id), map->iova, map->iova)->is_file = true;
    return error;
}

static int kernel_change_process(const struct iommufd_change_process *change)
{
    if (change->size < sizeof(*change))
        return -EINVAL;
    for (uint32_t id = 1; id < KERNEL_SPACES; id++)
        for (unsigned i = 0; kernel.spaces[id].is_there && i < kernel.spaces[id].nr_maps; i++)
            if (!kernel.spaces[id].maps[i].is_file)
                return -EINVAL;
    return 0;
}

static int kernel_copy(struct iommufd_ioas_copy *copy)
{
    const struct kernel_map *from =
        kernel_find(kernel_space(copy->src_ioas_id), copy->src_iova, copy->src_iova + (copy->length - 1));
    if (!from || from->iova > copy->src_iova || copy->src_iova + copy->length > from->iova + from->len)
        return -ENOENT;
    return kernel_insert(copy->dst_ioas_id, &copy->dst_iova, from->va + (copy->src_iova - from->iova),
                         copy->length, copy->flags, true);
}

static struct kernel_map *kernel_lowest(struct kernel_space *space, uint64_t start, uint64_t last)
{
    struct kernel_map *lowest = NULL;
    for (unsigned i = 0; i < space->nr_maps; i++) {
        struct kernel_map *map = &space->maps[i];
        if (map->iova <= last && start <= map->iova + (map->len - 1) && (!lowest || map->iova < lowest->iova))
            lowest = map;
    }
    return lowest;
}

static int kernel_remove(uint32_t id, uint64_t start, uint64_t last, uint64_t *undone)
{
    struct kernel_space *space = kernel_space(id);
    *undone = 0;
    if (!space)
        return -ENOENT;
    for (struct kernel_map *map; (map = kernel_lowest(space, start, last));) {
        if (map->iova < start || map->iova + (map->len - 1) > last)
            return -ENOENT;
        *undone += map->len;
        space->nr_unmaps++;
        *map = space->maps[--space->nr_maps];
    }
    return *undone || (start == 0 && last == UINT64_MAX) ? 0 : -ENOENT;
}

static int kernel_unmap(struct iommufd_ioas_unmap *unmap)
{
    bool is_all = unmap->iova == 0 && unmap->length == UINT64_MAX;
    uint64_t undone;
    int error = kernel_remove(unmap->ioas_id, unmap->iova,
                              is_all ? UINT64_MAX : unmap->iova + (unmap->length - 1), &undone);
    unmap->length = error ? unmap->length : undone;
    return error;
}

static int kernel_vfio_unmap(struct vfio_iommu_type1_dma_unmap *unmap)
{
    uint64_t undone;
    bool is_all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
    int error = kernel_remove(kernel.vfio_space, unmap->iova,
                              is_all ? UINT64_MAX : unmap->iova + (unmap->size - 1), &undone);
    unmap->size = undone;
    return error;
}

/* Also called by a test that closes a device. */
static void kernel_detach(int device)
{
    struct kernel_space *space = kernel_space(kernel.attached[device]);
    if (space)
        space->nr_devices--;
    kernel.attached[device] = 0;
}

static uint32_t kernel_space_of(uint32_t id)
{
    return id >= FIRST_TABLE && id < FIRST_TABLE + KERNEL_TABLES ? kernel.tables[id - FIRST_TABLE] : id;
}

/* Of a space, or nested in another one. */
static int kernel_alloc_table(struct iommufd_hwpt_alloc *alloc)
{
    for (uint32_t i = 0; i < KERNEL_TABLES; i++)
        if (!kernel.tables[i]) {
            kernel.tables[i] = kernel_space_of(alloc->pt_id);
            alloc->out_hwpt_id = FIRST_TABLE + i;
            return kernel.tables[i] ? 0 : -ENOENT;
        }
    return -ENOMEM;
}

static int kernel_attach(int device, uint32_t id)
{
    id = kernel_space_of(id);
    struct kernel_space *space = kernel_space(id);
    if (!space)
        return -ENOENT;
    if (kernel.attach_error)
        return kernel.attach_error;
    if (kernel.refuses_busy && space->nr_maps) {
        kernel.nr_refusals++;
        return -EADDRINUSE;
    }
    kernel_detach(device);
    kernel.attached[device] = id;
    space->nr_devices++;
    return 0;
}

static int kernel_alloc(uint32_t *id)
{
    for (*id = 1; *id < KERNEL_SPACES; (*id)++)
        if (!kernel.spaces[*id].is_there) {
            memset(&kernel.spaces[*id], 0, offsetof(struct kernel_space, maps));
            kernel.spaces[*id].is_there = true;
            return 0;
        }
    return -ENOMEM;
}

static int kernel_destroy(uint32_t id)
{
    struct kernel_space *space = kernel_space(id);
    if (!space || space->nr_devices)
        return space ? -EBUSY : -ENOENT;
    space->is_there = false;
    return 0;
}

/* The device's descriptor is a new one of the group's file. */
static int kernel_get_device(int group)
{
    int device = (int)syscall(SYS_fcntl, group, F_DUPFD, 500);
    int error = kernel_attach(device, kernel.vfio_space);
    if (!error)
        return device;
    syscall(SYS_close, device);
    return error;
}

static int kernel_answer(int fd, unsigned call, void *arg)
{
    struct iommufd_ioas_map *map = arg;
    struct vfio_iommu_type1_dma_map *vfio_map = arg;
    uint64_t iova;
    kernel.nr_ioctls++;
    switch (call) {
    case IOMMUFD_IOAS_ALLOC:
        return kernel_alloc(&((struct iommufd_ioas_alloc *)arg)->out_ioas_id);
    case IOMMUFD_HWPT_ALLOC:
        return kernel_alloc_table(arg);
    case IOMMUFD_DESTROY:
        return kernel_destroy(((struct iommufd_destroy *)arg)->id);
    case IOMMUFD_IOAS_IOVA_RANGES:
        return kernel_ranges(arg);
    case IOMMUFD_IOAS_MAP:
        return kernel_insert(map->ioas_id, &map->iova, map->user_va, map->length, map->flags, false);
    case IOMMUFD_IOAS_MAP_FILE:
        return kernel_map_file(arg);
    case IOMMUFD_CHANGE_PROCESS:
        return kernel_change_process(arg);
    case IOMMUFD_IOAS_COPY:
        return kernel_copy(arg);
    case IOMMUFD_IOAS_UNMAP:
        return kernel_unmap(arg);
    case IOMMUFD_VFIO_IOAS:
        ((struct iommufd_vfio_ioas *)arg)->ioas_id = kernel.vfio_space;
        return kernel.vfio_space ? 0 : -ENODEV;
    case IOMMUFD_OPTION:
        ((struct iommufd_option *)arg)->val64 = 0;
        return 0;
    case IOMMUFD_DEVICE_BIND:
    case VFIO_DEVICE_GET_INFO:
        return 0;
    case IOMMUFD_DEVICE_ATTACH:
        return kernel_attach(fd, ((struct iommufd_device_attach *)arg)->pt_id);
    case IOMMUFD_DEVICE_DETACH:
        kernel_detach(fd);
        return 0;
    case VFIO_GROUP_SET_CONTAINER:
        return kernel.vfio_space ? 0 : kernel_alloc(&kernel.vfio_space);
    case VFIO_SET_IOMMU:
        return kernel.vfio_space ? 0 : -ENODEV;
    case VFIO_GROUP_GET_DEVICE_FD:
        return kernel_get_device(fd);
    case VFIO_IOMMU_MAP_DMA:
        iova = vfio_map->iova;
        return kernel_insert(kernel.vfio_space, &iova, vfio_map->vaddr, vfio_map->size, IOMMUFD_FIXED_IOVA,
                             false);
    case VFIO_IOMMU_UNMAP_DMA:
        return kernel_vfio_unmap(arg);
    default:
        return -ENOTTY;
    }
}

/* --- the thread ---------------------------------------------------------------------------------------------------- */

static void *kernel_run(void *unused)
{
    struct seccomp_notif asked;
    while (!__atomic_load_n(&kernel.listener, __ATOMIC_ACQUIRE))
        sched_yield();
    for (;;) {
        memset(&asked, 0, sizeof(asked));
        if (ioctl(kernel.listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
            continue;
        int result = kernel_answer((int)asked.data.args[0], (unsigned)asked.data.args[1],
                                   (void *)(uintptr_t)asked.data.args[2]);
        struct seccomp_notif_resp answer = {
            .id = asked.id, .val = result < 0 ? 0 : result, .error = result < 0 ? result : 0};
        ioctl(kernel.listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return unused;
}

static void kernel_make_file(const char *path)
{
    int fd = (int)syscall(SYS_open, path, O_CREAT | O_WRONLY, 0600);
    EXPECT(fd >= 0 && syscall(SYS_close, fd) == 0);
}

static bool kernel_make_dev(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev", "tmpfs", 0, NULL) != 0)
        return false;
    mkdir("/dev/vfio", 0700);
    mkdir("/dev/vfio/devices", 0700);
    kernel_make_file("/dev/iommu");
    kernel_make_file("/dev/vfio/7");
    kernel_make_file("/dev/vfio/devices/vfio0");
    kernel_make_file("/dev/vfio/devices/vfio1");
    return true;
}

/* Returns false where it can't be had. */
__attribute__((unused)) static bool kernel_start(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, VFIO_TYPE << 8, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    pthread_t thread;
    if (!kernel_make_dev() || pthread_create(&thread, NULL, kernel_run, NULL) != 0)
        return false;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (fd > 0)
        __atomic_store_n(&kernel.listener, (int)fd, __ATOMIC_RELEASE);
    return fd > 0;
}

#endif
