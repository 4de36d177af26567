/* SPDX-License-Identifier: MIT */
/* The door of the program's VFIO calls. Other calls pass at the cost of one test. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/application.h"
#include "dma/attachments.h"
#include "dma/devices.h"
#include "dma/spaces.h"
#include "interpose/advice.h"
#include "interpose/bridges/bridges.h"
#include "interpose/lifecycle.h"
#include "interpose/peek.h"
#include "interpose/ranges.h"
#include "interpose/vfio.h"
#include "iommu/iommu.h"
#include "memory/foreign.h"
#include "memory/missing.h"
#include "profile/failures.h"
#include "profile/profile.h"

/* Source: <linux/vhost.h>. */
enum { VHOST_TYPE = 0xaf, VHOST_VDPA_FIRST = 0x70, VHOST_VDPA_LAST = 0x7f };

static bool is_type1_served(void)
{
    return config.iommu == IOMMU_AUTO || config.iommu == IOMMU_TYPE1;
}

static int adopt_served(int fd)
{
    struct iommu iommu;
    if (iommufd_is_served() && iommufd_init_container(&iommu, fd))
        return spaces_note(&iommu, true);
    if (!is_type1_served())
        return -EOPNOTSUPP;
    type1_init(&iommu, fd);
    return attachments_renew(&iommu);
}

static void adopt(int fd, unsigned long type)
{
    bool is_type1 = type == VFIO_TYPE1_IOMMU || type == VFIO_TYPE1v2_IOMMU;
    profile_enter();
    int error = is_type1 ? adopt_served(fd) : -EOPNOTSUPP;
    profile_leave();
    if (error == -EOPNOTSUPP)
        devices_note_unserved(fd, UNSERVED_TYPE);
    else if (error)
        log_write(LOG_WARNING, "container %d could not be adopted: error %d; nothing is registered in it", fd,
                  -error);
}

/* An attach may fail for what we hold in the container, and may narrow its apertures. */
static int set_container(int group, int *arg)
{
    int container, result = os_ioctl(group, VFIO_GROUP_SET_CONTAINER, arg);
    if (result == 0)
        devices_note(group);
    if (!peek(&container, arg, sizeof(container)) || !devices_know(container, 0))
        return result;
    if (result != 0) {
        attachments_make_way(container, 0);
        result = os_ioctl(group, VFIO_GROUP_SET_CONTAINER, arg);
    }
    attachments_restore(container, 0);
    return result;
}

/* What is of a size or with flags that only the kernel may understand is handed on as it is. */
static struct dma_request parse_map(int fd, void *arg, const struct vfio_iommu_type1_dma_map *map)
{
    const uint32_t accesses = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    return (struct dma_request){
        .fd = fd,
        .call = VFIO_IOMMU_MAP_DMA,
        .arg = arg,
        .is_plain = map->argsz >= sizeof(*map) && !(map->flags & ~accesses),
        .is_accessible = map->flags & accesses,
        .iova = map->iova,
        .va = map->vaddr,
        .len = map->size,
    };
}

static struct dma_request parse_unmap(int fd, struct vfio_iommu_type1_dma_unmap *arg,
                                      const struct vfio_iommu_type1_dma_unmap *unmap)
{
    bool is_all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
    return (struct dma_request){
        .fd = fd,
        .call = VFIO_IOMMU_UNMAP_DMA,
        .arg = arg,
        .is_all = is_all,
        .is_plain = unmap->argsz >= offsetof(struct vfio_iommu_type1_dma_unmap, data),
        .is_divisible =
            !(unmap->flags & ~VFIO_DMA_UNMAP_FLAG_ALL) && !(is_all && (unmap->iova || unmap->size)),
        .iova = unmap->iova,
        .len = unmap->size,
        .undone = (uint64_t *)&arg->size,
    };
}

int vfio_map(const struct dma_request *request, const void *caller)
{
    profile_enter();
    uint64_t began_ns = profile_now();
    int result = application_map(request);
    if (result < 0) {
        profile_record_map(&(struct profile_mapping){.owner = OWNER_APPLICATION,
                                                     .va = request->va,
                                                     .len = request->len,
                                                     .iova = request->iova,
                                                     .began_ns = began_ns,
                                                     .error = result});
        failures_note(FAILED_APP_MAP, -result, request->len);
    }
    profile_leave();
    if (result < 0)
        bridges_map_failed(caller, request->va, request->iova, request->len, result);
    return result;
}

int vfio_unmap(const struct dma_request *request)
{
    int result = application_unmap(request);
    if (result < 0)
        failures_note(FAILED_APP_UNMAP, -result, 0);
    return result;
}

/* Adopts the container of another process, if it has an IOMMU. */
static bool adopt_foreign(int fd)
{
    struct iommu iommu;
    struct iommu_info info;
    if (iommufd_is_served() && iommufd_init_container(&iommu, fd))
        return spaces_note(&iommu, true) == 0;
    if (!is_type1_served())
        return false;
    type1_init(&iommu, fd);
    return iommu.ops->query(&iommu, &info) == 0 && attachments_add(&iommu) == 0;
}

/* Whether the container is known; one that another process has set up, and handed over, is adopted. */
static bool is_served(int fd)
{
    if (devices_know(fd, 0))
        return true;
    if (!adopt_foreign(fd))
        return false;
    log_write(LOG_INFO, "container %d, which came from another process, is adopted", fd);
    devices_serve_groups();
    return true;
}

/* Where an iommufd plays the container, it is now that the device comes to the address space. */
static int get_device(int group, void *name)
{
    int device = vfio_attach(group, VFIO_GROUP_GET_DEVICE_FD, name, 0);
    if (device < 0 && device != -EFAULT)
        advice_ioctl_failed(VFIO_GROUP_GET_DEVICE_FD, -device, name);
    if (device < 0)
        return device;
    profile_record_device(name);
    if (devices_may_know(group))
        devices_note(device);
    else
        devices_note_unserved(device, UNSERVED_GROUP);
    profile_enter();
    spaces_changed();
    profile_leave();
    if (!spaces_are_served(0))
        devices_note_unserved(device, UNSERVED_IOMMUFD);
    return device;
}

static int map_dma(int fd, void *arg, const void *caller)
{
    struct vfio_iommu_type1_dma_map map;
    if (!peek(&map, arg, sizeof(map)) || !is_served(fd))
        return os_ioctl(fd, VFIO_IOMMU_MAP_DMA, arg);
    struct dma_request request = parse_map(fd, arg, &map);
    return vfio_map(&request, caller);
}

static int unmap_dma(int fd, void *arg)
{
    struct vfio_iommu_type1_dma_unmap unmap;
    if (!devices_know(fd, 0) || !peek(&unmap, arg, sizeof(unmap)))
        return os_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, arg);
    struct dma_request request = parse_unmap(fd, arg, &unmap);
    return vfio_unmap(&request);
}

/* A call to a device. One that nobody saw come, while there is no container, is another process's, as its container is: until that is
 * adopted, what is looked up leads the device nowhere. */
static int call_device(int fd, unsigned long request, void *arg)
{
    int result = os_ioctl(fd, request, arg);
    if (result >= 0 && !devices_may_know(fd) && !attachments_are_there() && !devices_know_device(fd))
        devices_note_unserved(fd, UNSERVED_GROUP);
    return result;
}

static int vfio_ioctl(int fd, unsigned long request, void *arg, const void *caller)
{
    int result;
    if (request != VFIO_IOMMU_MAP_DMA && request != VFIO_IOMMU_UNMAP_DMA)
        bridges_look();
    if (request == VFIO_DEVICE_GET_INFO)
        bridges_look_at_device();
    switch (request) {
    case VFIO_SET_IOMMU:
        result = os_ioctl(fd, request, arg);
        if (result == 0)
            adopt(fd, (unsigned long)arg);
        else
            advice_ioctl_failed(request, -result, arg);
        return result;
    case VFIO_GROUP_GET_STATUS:
        result = os_ioctl(fd, request, arg);
        if (result == 0 && !(((struct vfio_group_status *)arg)->flags & VFIO_GROUP_FLAGS_VIABLE))
            advice_group_is_not_viable();
        return result;
    case VFIO_GROUP_SET_CONTAINER:
        result = set_container(fd, arg);
        if (result < 0)
            advice_ioctl_failed(request, -result, NULL);
        return result;
    case VFIO_GROUP_GET_DEVICE_FD:
        return get_device(fd, arg);
    case VFIO_DEVICE_GET_INFO:
    case VFIO_DEVICE_GET_REGION_INFO:
    case VFIO_DEVICE_GET_IRQ_INFO:
    case VFIO_DEVICE_SET_IRQS:
    case VFIO_DEVICE_RESET:
        return call_device(fd, request, arg);
    case VFIO_GROUP_UNSET_CONTAINER:
        result = os_ioctl(fd, request, arg);
        devices_closed();
        return result;
    case VFIO_IOMMU_MAP_DMA:
        return map_dma(fd, arg, caller);
    case VFIO_IOMMU_UNMAP_DMA:
        return unmap_dma(fd, arg);
    default:
        return iommufd_ioctl(fd, request, arg, caller, &result) ? result : os_ioctl(fd, request, arg);
    }
}

static bool is_vdpa(unsigned long request)
{
    return _IOC_TYPE(request) == VHOST_TYPE && _IOC_NR(request) >= VHOST_VDPA_FIRST &&
           _IOC_NR(request) <= VHOST_VDPA_LAST;
}

struct watch_call {
    int fd;
    struct uffdio_register *watch;
    struct uffdio_range range;
};

static int watch(void *arg, bool begins)
{
    struct watch_call *call = arg;
    return begins ? os_ioctl(call->fd, UFFDIO_REGISTER, call->watch)
                  : os_ioctl(call->fd, UFFDIO_UNREGISTER, &call->range);
}

/* The program watches this range itself, and the kernel allows one watch. */
static int program_watches(int fd, void *arg, const struct uffdio_register *asked)
{
    struct watch_call call = {fd, arg, asked->range};
    uintptr_t start = asked->range.start, len = asked->range.len;
    foreign_withdraw(start, len);
    return asked->mode & UFFDIO_REGISTER_MODE_MISSING ? missing_watch(start, len, watch, &call)
                                                      : watch(&call, true);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (_IOC_TYPE(request) == VFIO_TYPE && lifecycle_enter() && lifecycle_is_owner())
        return to_libc(vfio_ioctl(fd, request, arg, __builtin_return_address(0)));
    struct uffdio_register watch;
    if (request == UFFDIO_REGISTER && lifecycle_enter() && peek(&watch, arg, sizeof(watch)))
        return to_libc(program_watches(fd, arg, &watch));
    int result = os_ioctl(fd, request, arg);
    if (is_vdpa(request) && result >= 0 && lifecycle_enter() && lifecycle_is_owner())
        devices_note_unserved(fd, UNSERVED_VDPA);
    return to_libc(result);
}
