/* SPDX-License-Identifier: MIT */
/* The doors of descriptors: the program's VFIO calls, and the ends of its container descriptors. Other descriptors pass
 * at the cost of one test. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/registry.h"
#include "interpose/advice.h"
#include "interpose/bridges/bridges.h"
#include "interpose/lifecycle.h"
#include "memory/foreign.h"
#include "profile/failures.h"
#include "profile/profile.h"

static int to_libc(intptr_t result)
{
    if (!os_is_error(result))
        return (int)result;
    errno = (int)-result;
    return -1;
}

/* Whether `fd` is a container that anydma has adopted, a group or a device, in this process. */
static bool is_ours(int fd)
{
    return registry_knows_fd(fd) && lifecycle_enter() && registry_knows_fd(fd) && lifecycle_is_owner();
}

static void adopt(int fd, unsigned long type)
{
    struct iommu iommu;
    if ((type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU) || config.iommu == IOMMU_NONE ||
        config.iommu == IOMMU_SIM)
        return;
    type1_init(&iommu, fd);
    profile_enter();
    int error = registry_iommu_was_set(&iommu);
    profile_leave();
    if (error)
        log_write(LOG_WARNING, "container %d could not be adopted: error %d; nothing is registered in it", fd,
                  -error);
}

/* An attach may fail for what we hold in the container, and may narrow its apertures. */
static int set_container(int group, int *container)
{
    int result = os_ioctl(group, VFIO_GROUP_SET_CONTAINER, container);
    if (result == 0)
        registry_watch_fd(group);
    if (!container || !is_ours(*container))
        return result;
    if (result != 0) {
        registry_make_way(*container);
        result = os_ioctl(group, VFIO_GROUP_SET_CONTAINER, container);
    }
    registry_restore(*container);
    return result;
}

static int app_map(int fd, unsigned long request, void *arg, const void *caller)
{
    const struct vfio_iommu_type1_dma_map *map = arg;
    profile_enter();
    uint64_t began_ns = profile_now();
    int result = registry_app_map(fd, request, arg);
    if (result < 0 && map) {
        profile_record_map(&(struct profile_mapping){.owner = OWNER_APPLICATION,
                                                     .va = map->vaddr,
                                                     .len = map->size,
                                                     .iova = map->iova,
                                                     .began_ns = began_ns,
                                                     .error = result});
        failures_note(FAILED_APP_MAP, -result, map->size);
    }
    profile_leave();
    if (result < 0 && map)
        bridges_map_failed(caller, map->vaddr, map->iova, map->size, result);
    return result;
}

static int app_unmap(int fd, unsigned long request, void *arg)
{
    int result = registry_app_unmap(fd, request, arg);
    if (result < 0)
        failures_note(FAILED_APP_UNMAP, -result, 0);
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
            advice_ioctl_failed(request, -result, NULL);
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
        result = os_ioctl(fd, request, arg);
        if (result >= 0) {
            profile_record_device(arg);
            registry_watch_fd(result);
        } else if (result != -EFAULT) {
            advice_ioctl_failed(request, -result, arg);
        }
        return result;
    case VFIO_GROUP_UNSET_CONTAINER:
        result = os_ioctl(fd, request, arg);
        registry_revalidate();
        return result;
    case VFIO_IOMMU_MAP_DMA:
        return is_ours(fd) ? app_map(fd, request, arg, caller) : os_ioctl(fd, request, arg);
    case VFIO_IOMMU_UNMAP_DMA:
        return is_ours(fd) ? app_unmap(fd, request, arg) : os_ioctl(fd, request, arg);
    default:
        return os_ioctl(fd, request, arg);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (_IOC_TYPE(request) == VFIO_TYPE && lifecycle_enter() && lifecycle_is_owner())
        return to_libc(vfio_ioctl(fd, request, arg, __builtin_return_address(0)));
    if (request == UFFDIO_REGISTER && arg && lifecycle_enter()) {
        /* The program watches this range itself, and the kernel allows one watch. */
        const struct uffdio_register *watch = arg;
        foreign_withdraw(watch->range.start, watch->range.len);
    }
    return to_libc(os_ioctl(fd, request, arg));
}

int close(int fd)
{
    static int (*next)(int);
    if (!next)
        next = (__typeof__(next))lifecycle_next("close"); /* a cancellation point */
    if (!is_ours(fd))
        return next(fd);
    registry_fd_closing(fd);
    int result = next(fd);
    int saved = errno;
    registry_revalidate();
    errno = saved;
    return result;
}

static int duplicated(int old_fd, intptr_t result)
{
    if (!os_is_error(result) && is_ours(old_fd))
        registry_fd_duplicated(old_fd, (int)result);
    return to_libc(result);
}

/* Before new_fd is replaced, if it is going to be. */
static void replacing(int old_fd, int new_fd)
{
    if (old_fd != new_fd && is_ours(new_fd) && os_call(SYS_fcntl, old_fd, F_GETFD, 0, 0, 0, 0) >= 0)
        registry_fd_closing(new_fd);
}

int dup(int fd)
{
    return duplicated(fd, os_call(SYS_dup, fd, 0, 0, 0, 0, 0));
}

int dup2(int old_fd, int new_fd)
{
    replacing(old_fd, new_fd);
    return duplicated(old_fd, os_call(SYS_dup2, old_fd, new_fd, 0, 0, 0, 0));
}

int dup3(int old_fd, int new_fd, int flags)
{
    replacing(old_fd, new_fd);
    return duplicated(old_fd, os_call(SYS_dup3, old_fd, new_fd, flags, 0, 0, 0));
}

static int fcntl_with(const char *name, int fd, int command, void *arg)
{
    static int (*next)(int, int, ...);
    if (!next)
        next = (__typeof__(next))lifecycle_next(name); /* a cancellation point for locks */
    int result = next(fd, command, arg);
    if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC) && is_ours(fd))
        registry_fd_duplicated(fd, result);
    return result;
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return fcntl_with("fcntl64", fd, command, arg);
}

int fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return fcntl_with("fcntl64", fd, command, arg);
}

static void closing_range(unsigned first, unsigned last)
{
    if (last > INT32_MAX)
        last = INT32_MAX;
    for (unsigned fd = first; fd <= last && fd < 65536; fd++)
        if (is_ours((int)fd))
            registry_fd_closing((int)fd);
}

int close_range(unsigned first, unsigned last, int flags)
{
    if (!flags)
        closing_range(first, last);
    return to_libc(os_call(SYS_close_range, first, last, flags, 0, 0, 0));
}

void closefrom(int first)
{
    static void (*next)(int);
    if (!next)
        next = (__typeof__(next))lifecycle_next("closefrom");
    closing_range(first < 0 ? 0 : (unsigned)first, UINT32_MAX);
    next(first);
}
