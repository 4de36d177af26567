/* SPDX-License-Identifier: MIT */
/*
 * Opens a PCI device through VFIO, step by step, and says which step failed. No locks: one thread opens and
 * closes.
 */
#include "vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int fail(const char *bdf, const char *step)
{
    int err = errno;
    fprintf(stderr, "%s: %s: %s\n", bdf, step, strerror(err));
    return err ? -err : -EIO;
}

/* The IOMMU group of the device, from the symbolic link in sysfs; -1 with errno set. */
static int find_group(const char *bdf)
{
    char path[96], target[256];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
    ssize_t len = readlink(path, target, sizeof(target) - 1);
    if (len < 0)
        return -1;
    target[len] = 0;
    const char *name = strrchr(target, '/');
    return atoi(name ? name + 1 : target);
}

/* The group must be viable: every device in it is bound to vfio-pci (or to nothing). */
static int open_group(struct vfio_device *dev, const char *bdf)
{
    int group = find_group(bdf);
    if (group < 0)
        return fail(bdf, "finding its IOMMU group");
    char path[32];
    snprintf(path, sizeof(path), "/dev/vfio/%d", group);
    dev->group_fd = open(path, O_RDWR | O_CLOEXEC);
    if (dev->group_fd < 0)
        return fail(bdf, path);
    struct vfio_group_status status = {.argsz = sizeof(status)};
    if (ioctl(dev->group_fd, VFIO_GROUP_GET_STATUS, &status) < 0)
        return fail(bdf, "VFIO_GROUP_GET_STATUS");
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        errno = EPERM;
        return fail(bdf, "its group has devices that are not bound to vfio-pci");
    }
    return 0;
}

static int open_container(struct vfio_device *dev, const char *bdf)
{
    dev->container_fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (dev->container_fd < 0)
        return fail(bdf, "/dev/vfio/vfio");
    if (ioctl(dev->container_fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
        return fail(bdf, "VFIO_GET_API_VERSION");
    if (ioctl(dev->container_fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1)
        return fail(bdf, "VFIO_CHECK_EXTENSION: no type1v2 IOMMU");
    return 0;
}

static int map_bar0(struct vfio_device *dev, const char *bdf)
{
    struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX};
    if (ioctl(dev->device_fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
        return fail(bdf, "VFIO_DEVICE_GET_REGION_INFO");
    if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) {
        errno = ENOTSUP;
        return fail(bdf, "BAR 0 can't be mapped");
    }
    void *bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev->device_fd, (off_t)info.offset);
    if (bar == MAP_FAILED)
        return fail(bdf, "mapping BAR 0");
    dev->bar0 = bar;
    dev->bar0_bytes = info.size;
    return 0;
}

/* A device may neither answer in its BARs nor do DMA before these two bits are set. */
static int enable_bus_master(struct vfio_device *dev, const char *bdf)
{
    struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX};
    if (ioctl(dev->device_fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
        return fail(bdf, "VFIO_DEVICE_GET_REGION_INFO");
    off_t at = (off_t)info.offset + PCI_COMMAND;
    uint16_t command;
    if (pread(dev->device_fd, &command, sizeof(command), at) != sizeof(command))
        return fail(bdf, "reading its configuration");
    command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    if (pwrite(dev->device_fd, &command, sizeof(command), at) != sizeof(command))
        return fail(bdf, "writing its configuration");
    return 0;
}

/* Group and container, in VFIO's order: the IOMMU's type can be set once the container has a group. */
static int open_device(struct vfio_device *dev, const char *bdf)
{
    int rc = open_container(dev, bdf);
    if (rc == 0)
        rc = open_group(dev, bdf);
    if (rc < 0)
        return rc;
    if (ioctl(dev->group_fd, VFIO_GROUP_SET_CONTAINER, &dev->container_fd) < 0)
        return fail(bdf, "VFIO_GROUP_SET_CONTAINER");
    if (ioctl(dev->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
        return fail(bdf, "VFIO_SET_IOMMU");
    dev->device_fd = ioctl(dev->group_fd, VFIO_GROUP_GET_DEVICE_FD, bdf);
    if (dev->device_fd < 0)
        return fail(bdf, "VFIO_GROUP_GET_DEVICE_FD");
    return 0;
}

int vfio_device_open(struct vfio_device *dev, const char *bdf)
{
    *dev = (struct vfio_device){.container_fd = -1, .group_fd = -1, .device_fd = -1};
    char full[32];
    int short_form = strchr(bdf, ':') == strrchr(bdf, ':'); /* "00:03.0" */
    snprintf(full, sizeof(full), "%s%s", short_form ? "0000:" : "", bdf);

    int rc = open_device(dev, full);
    if (rc == 0)
        rc = enable_bus_master(dev, full);
    if (rc == 0)
        rc = map_bar0(dev, full);
    if (rc < 0)
        vfio_device_close(dev);
    return rc;
}

void vfio_device_close(struct vfio_device *dev)
{
    if (dev->bar0)
        munmap((void *)dev->bar0, dev->bar0_bytes);
    if (dev->device_fd >= 0)
        close(dev->device_fd);
    if (dev->group_fd >= 0)
        close(dev->group_fd);
    if (dev->container_fd >= 0)
        close(dev->container_fd);
    *dev = (struct vfio_device){.container_fd = -1, .group_fd = -1, .device_fd = -1};
}
