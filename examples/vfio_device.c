/* SPDX-License-Identifier: MIT */
/*
 * Opens a PCI device through VFIO, step by step, and says which step failed. No locks: one thread opens and
 * closes.
 */
#include "vfio_device.h"

#include "iommufd.h"

#include <dirent.h>
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

static int choose_backend(struct vfio_device *dev, const char *bdf)
{
    static const char *const names[] = {"type1", "compat", "iommufd"};
    const char *name = getenv("BACKEND");
    dev->backend = VFIO_BACKEND_TYPE1;
    if (!name || !*name)
        return 0;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            dev->backend = (enum vfio_backend)i;
            return 0;
        }
    }
    errno = EINVAL;
    return fail(bdf, "BACKEND is type1, compat or iommufd");
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
    const char *path = dev->backend == VFIO_BACKEND_COMPAT ? "/dev/iommu" : "/dev/vfio/vfio";
    dev->container_fd = open(path, O_RDWR | O_CLOEXEC);
    if (dev->container_fd < 0)
        return fail(bdf, path);
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
static int open_by_group(struct vfio_device *dev, const char *bdf)
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

/* The device's own character device, /dev/vfio/devices/vfioN: sysfs knows the number. */
static int open_cdev(struct vfio_device *dev, const char *bdf)
{
    char path[sizeof("/sys/bus/pci/devices//vfio-dev") + 32];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
    DIR *dir = opendir(path);
    struct dirent *entry = NULL;
    while (dir && (entry = readdir(dir)) != NULL && strncmp(entry->d_name, "vfio", 4) != 0)
        ;
    if (entry) {
        char device[sizeof("/dev/vfio/devices/") + sizeof(entry->d_name)];
        snprintf(device, sizeof(device), "/dev/vfio/devices/%s", entry->d_name);
        dev->device_fd = open(device, O_RDWR | O_CLOEXEC);
    } else {
        errno = ENOENT;
    }
    int rc = dev->device_fd < 0 ? fail(bdf, "opening its device under /dev/vfio/devices") : 0;
    if (dir)
        closedir(dir);
    return rc;
}

static int fail_with(int rc, const char *bdf, const char *step)
{
    errno = -rc;
    return fail(bdf, step);
}

/* In iommufd's order: the device answers once it is bound, and does DMA once it is attached. */
static int open_by_cdev(struct vfio_device *dev, const char *bdf)
{
    int rc = open_cdev(dev, bdf);
    if (rc < 0)
        return rc;
    dev->container_fd = iommufd_open();
    if (dev->container_fd < 0)
        return fail_with(dev->container_fd, bdf, "/dev/iommu");
    rc = iommufd_bind(dev->container_fd, dev->device_fd, &dev->device_id);
    if (rc < 0)
        return fail_with(rc, bdf, "VFIO_DEVICE_BIND_IOMMUFD");
    rc = iommufd_alloc_ioas(dev->container_fd, &dev->ioas_id);
    if (rc < 0)
        return fail_with(rc, bdf, "IOMMU_IOAS_ALLOC");
    rc = iommufd_attach(dev->device_fd, dev->ioas_id);
    return rc < 0 ? fail_with(rc, bdf, "VFIO_DEVICE_ATTACH_IOMMUFD_PT") : 0;
}

int vfio_device_map(const struct vfio_device *dev, uint64_t iova, const void *va, uint64_t len)
{
    if (dev->backend == VFIO_BACKEND_IOMMUFD)
        return iommufd_map(dev->container_fd, dev->ioas_id, iova, (uintptr_t)va, len);
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = (uintptr_t)va,
                                           .iova = iova,
                                           .size = len};
    return ioctl(dev->container_fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

int vfio_device_unmap(const struct vfio_device *dev, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    if (dev->backend == VFIO_BACKEND_IOMMUFD)
        return iommufd_unmap(dev->container_fd, dev->ioas_id, iova, len, unmapped);
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = iova, .size = len};
    int rc = ioctl(dev->container_fd, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
    *unmapped = rc < 0 ? 0 : unmap.size;
    return rc;
}

int vfio_device_open(struct vfio_device *dev, const char *bdf)
{
    *dev = (struct vfio_device){.container_fd = -1, .group_fd = -1, .device_fd = -1};
    char full[32];
    int short_form = strchr(bdf, ':') == strrchr(bdf, ':'); /* "00:03.0" */
    snprintf(full, sizeof(full), "%s%s", short_form ? "0000:" : "", bdf);

    int rc = choose_backend(dev, full);
    if (rc == 0)
        rc = dev->backend == VFIO_BACKEND_IOMMUFD ? open_by_cdev(dev, full) : open_by_group(dev, full);
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
