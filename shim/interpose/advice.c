/* SPDX-License-Identifier: MIT */
/* A row for each kind of failure. Sources: Documentation/driver-api/vfio.rst, vfio_group_fops_open, vfio_iommu_type1_attach_group,
 * iommufd_device_bind, iommufd_device_change_pt and what they call (Linux 6.12). */
#include "interpose/advice.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/log.h"
#include "iommu/iommufd_abi.h"

enum call {
    OPEN_CONTAINER,
    OPEN_GROUP,
    OPEN_CDEV,
    OPEN_IOMMUFD,
    SET_CONTAINER,
    SET_IOMMU,
    SET_OTHER_IOMMU,
    GET_DEVICE,
    USE_GROUP,
    BIND_DEVICE,
    ATTACH_DEVICE
};

static const struct row {
    enum call call;
    int error; /* 0: any other */
    const char *reason, *fix;
} rows[] = {
    {OPEN_CONTAINER, ENOENT, "VFIO is not loaded, or not passed into this container", "modprobe vfio-pci"},
    {OPEN_CONTAINER, ENODEV, "VFIO is not loaded", "modprobe vfio-pci"},
    {OPEN_CONTAINER, EACCES, "no permission", "chmod 666 /dev/vfio/vfio as root"},
    {OPEN_CONTAINER, EPERM, "the device cgroup forbids it", "docker run --device=/dev/vfio/vfio"},
    {OPEN_GROUP, ENOENT,
     "no device of that group is bound to vfio-pci, or the node is not passed into this container",
     "bind the device: driverctl set-override BDF vfio-pci"},
    {OPEN_GROUP, ENODEV, "the node is stale: no group has its number",
     "restart the container, or make the node again"},
    {OPEN_GROUP, ENXIO, "the node is stale: no group has its number",
     "restart the container, or make the node again"},
    {OPEN_GROUP, EACCES, "no permission", "chown USER that file as root; a udev rule for good"},
    {OPEN_GROUP, EPERM,
     "the device cgroup forbids it, or CAP_SYS_RAWIO is missing for a group without an IOMMU",
     "docker run --device= with that file"},
    {OPEN_GROUP, EBUSY, "another process has the group open, and it has one user at a time",
     "end that process"},
    {OPEN_CDEV, EACCES, "no permission", "chown USER that file as root; a udev rule for good"},
    {OPEN_CDEV, EPERM, "the device cgroup forbids it", "docker run --device= with that file"},
    {OPEN_CDEV, 0, "see open(2)", NULL},
    {OPEN_IOMMUFD, EACCES, "no permission", "chown USER /dev/iommu as root; a udev rule for good"},
    {OPEN_IOMMUFD, EPERM, "the device cgroup forbids it", "docker run --device=/dev/iommu"},
    {SET_CONTAINER, EPERM, "the group is not viable: another driver has a device of it",
     "bind all of its devices to vfio-pci"},
    {SET_CONTAINER, EBUSY, "the group is in another container, or in use by another driver",
     "end who uses it"},
    {SET_CONTAINER, 0, "see Documentation/driver-api/vfio.rst", NULL},
    {SET_IOMMU, EPERM, "interrupts are not remapped, or the firmware keeps memory for the device (RMRR)",
     "switch remapping on in the firmware or in QEMU (intremap=on), or allow_unsafe_interrupts=1"},
    {SET_IOMMU, ENODEV, "the kernel has no such IOMMU driver", "modprobe vfio_iommu_type1"},
    {SET_IOMMU, ENOMEM, "memory, or memlock, does not suffice", "raise memlock"},
    {SET_IOMMU, EBUSY, "another driver uses a device of the group", "bind all of its devices to vfio-pci"},
    {SET_IOMMU, EINVAL, "no group is in the container yet, or its IOMMU is set already", NULL},
    {SET_OTHER_IOMMU, 0, "the kernel has no IOMMU of the type that was asked for",
     "ask for VFIO_TYPE1v2_IOMMU; anydma serves no other"},
    {SET_IOMMU, 0, "see Documentation/driver-api/vfio.rst", NULL},
    {GET_DEVICE, ENODEV, "that device is not in the group, or not bound to vfio-pci",
     "bind it: driverctl set-override BDF vfio-pci"},
    {GET_DEVICE, EBUSY, "the device is in use", "end who uses it"},
    {GET_DEVICE, EPERM, "the group has no container with an IOMMU yet", NULL},
    {USE_GROUP, EPERM, "it is not viable: another driver has a device of it",
     "bind all of its devices to vfio-pci; bridges may stay"},
    {BIND_DEVICE, EBUSY, "the device is in use, by its VFIO group or by another driver", "end who uses it"},
    {BIND_DEVICE, EPERM, "interrupts are not remapped, or another iommufd has a device of the same group",
     "switch remapping on in the firmware or in QEMU (intremap=on), or end who uses the group"},
    {BIND_DEVICE, EINVAL, "the device is bound already, or its IOMMU does not keep caches coherent", NULL},
    {BIND_DEVICE, ENODEV, "the device has no IOMMU group, or is about to go",
     "switch the IOMMU on in the firmware and the kernel"},
    {BIND_DEVICE, EBADF, "what it names is not an iommufd", "open /dev/iommu"},
    {BIND_DEVICE, EBADFD, "what it names is not an iommufd", "open /dev/iommu"},
    {ATTACH_DEVICE, ENOENT, "the iommufd has no address space and no page table of that number",
     "take the one that IOMMU_IOAS_ALLOC gave on the iommufd that the device is bound to"},
    {ATTACH_DEVICE, EINVAL, "the device is not bound, or can't use what that number is of", NULL},
    {ATTACH_DEVICE, EADDRINUSE,
     "IOVAs that the device does not reach are mapped, or kept by IOMMU_IOAS_ALLOW_IOVAS",
     "unmap them, or allow fewer"},
    {ATTACH_DEVICE, EFAULT, "a mapping of the program's has pages that can't be pinned", "unmap it"},
    {ATTACH_DEVICE, ENOMEM, "memory, or memlock, does not suffice for what is mapped there", "raise memlock"},
};
enum { NR_ROWS = sizeof(rows) / sizeof(rows[0]) };

static _Atomic uint64_t counts[NR_ROWS];

static const char *const call_names[] = {
    [OPEN_CONTAINER] = "opening the VFIO container",
    [OPEN_GROUP] = "opening a VFIO group",
    [OPEN_CDEV] = "opening a VFIO device",
    [OPEN_IOMMUFD] = "opening iommufd",
    [SET_CONTAINER] = "VFIO_GROUP_SET_CONTAINER",
    [SET_IOMMU] = "VFIO_SET_IOMMU",
    [SET_OTHER_IOMMU] = "VFIO_SET_IOMMU",
    [GET_DEVICE] = "VFIO_GROUP_GET_DEVICE_FD",
    [USE_GROUP] = "using a VFIO group",
    [BIND_DEVICE] = "VFIO_DEVICE_BIND_IOMMUFD",
    [ATTACH_DEVICE] = "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
};

/* `of`: a path, a device; "" */
static void note(enum call call, int error, const char *of)
{
    int saved = errno, at = 0;
    while (at < NR_ROWS && (rows[at].call != call || (rows[at].error != error && rows[at].error)))
        at++;
    if (at < NR_ROWS && !atomic_fetch_add_explicit(&counts[at], 1, memory_order_relaxed)) {
        const char *fix = rows[at].fix;
        log_write(
            LOG_WARNING,
            "%s failed%s%s: %s (error %d). The program has no device by it, and its memory is not registered"
            "%s%s; `anydma doctor` says what is in the way",
            call_names[call], *of ? " for " : "", of, rows[at].reason, error, fix ? "; " : "",
            fix ? fix : "");
    }
    errno = saved;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool advice_is_about(const char *path)
{
    return begins(path, "/dev/vfio/") || strcmp(path, "/dev/iommu") == 0;
}

/* A program that goes without the one or the other asks whether it is there: what is not there is no failure. */
void advice_open_failed(const char *path, int error)
{
    if (strcmp(path, "/dev/vfio/vfio") == 0)
        note(OPEN_CONTAINER, error, path);
    else if (begins(path, "/dev/vfio/devices/"))
        note(OPEN_CDEV, error, path);
    else if (strcmp(path, "/dev/iommu") == 0)
        note(OPEN_IOMMUFD, error, path);
    else if (begins(path, "/dev/vfio/") && path[10] >= '0' && path[10] <= '9')
        note(OPEN_GROUP, error, path);
}

static bool is_type1(uintptr_t type)
{
    return type == VFIO_TYPE1_IOMMU || type == VFIO_TYPE1v2_IOMMU;
}

void advice_ioctl_failed(unsigned long request, int error, const void *arg)
{
    if (request == VFIO_GROUP_SET_CONTAINER)
        note(SET_CONTAINER, error, "");
    else if (request == VFIO_SET_IOMMU)
        note(is_type1((uintptr_t)arg) ? SET_IOMMU : SET_OTHER_IOMMU, error, "");
    else if (request == VFIO_GROUP_GET_DEVICE_FD && arg)
        note(GET_DEVICE, error, arg);
    else if (request == IOMMUFD_DEVICE_BIND)
        note(BIND_DEVICE, error, "");
    else if (request == IOMMUFD_DEVICE_ATTACH)
        note(ATTACH_DEVICE, error, "");
}

void advice_group_is_not_viable(void)
{
    note(USE_GROUP, EPERM, "");
}

void advice_tell_end(void)
{
    for (int i = 0; i < NR_ROWS; i++) {
        uint64_t count = atomic_load_explicit(&counts[i], memory_order_relaxed);
        if (count > 1)
            log_write(LOG_WARNING, "%s failed %lu times in all: %s; `anydma doctor` says what is in the way",
                      call_names[rows[i].call], count, rows[i].reason);
    }
}

void advice_forget(void)
{
    for (int i = 0; i < NR_ROWS; i++)
        if (counts[i]) /* a page that is not written is not copied */
            atomic_store_explicit(&counts[i], 0, memory_order_relaxed);
}
