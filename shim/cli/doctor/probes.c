/* SPDX-License-Identifier: MIT */
/* What only trying can tell: whether nodes open, whether a group attaches and what its container then says, which calls are
 * let through. Nothing is left behind. In a copy of a machine (--root) the file `probes` answers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/doctor/facts.h"

/* From <linux/userfaultfd.h> and <linux/iommufd.h>, which older headers lack. */
enum { UFFD_USER_MODE_ONLY_FLAG = 1, IOMMUFD_MAP_FILE = 0x8f };
#ifndef VFIO_UNMAP_ALL
#define VFIO_UNMAP_ALL 9
#endif

/* The number that a probe of the copy has; `absent` where it has none. */
static uint64_t probed(uint64_t absent, const char *name, const char *of)
{
    char value[64];
    return tree_probe(value, sizeof(value), "%s%s%s", name, *of ? " " : "", of) ? strtoull(value, NULL, 0)
                                                                                : absent;
}

int doctor_try_open(const char *path)
{
    if (tree_is_copy())
        return (int)probed(0, "open", path);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

/* --- the machine -------------------------------------------------------------------------------------------- */

static void ask_container(struct doctor_facts *facts)
{
    int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    facts->type1v2 = ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) == 1;
    facts->unmap_all = ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL) == 1;
    close(fd);
}

/* A call that the kernel does not know is told from one with a structure of no size. */
static void ask_iommufd(struct doctor_facts *facts)
{
    uint32_t no_size[16] = {0};
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    facts->map_file = ioctl(fd, _IO(';', IOMMUFD_MAP_FILE), no_size) == 0 || errno != ENOTTY;
    close(fd);
}

static int error_of(long fd)
{
    if (fd < 0)
        return errno;
    close((int)fd);
    return 0;
}

void doctor_probe_machine(struct doctor_facts *facts)
{
    char parameters[128] = {0}; /* struct io_uring_params, of 120 bytes */
    facts->type1v2 = facts->unmap_all = facts->map_file = -1;
    if (tree_is_copy()) {
        facts->type1v2 = (int)probed(1, "type1v2", "");
        facts->unmap_all = (int)probed(1, "unmap_all", "");
        facts->map_file = (int)probed(0, "map_file", "");
        facts->userfaultfd = (int)probed(0, "userfaultfd", "");
        facts->io_uring = (int)probed(0, "io_uring", "");
        return;
    }
    if (!facts->container.error)
        ask_container(facts);
    if (!facts->iommufd.error)
        ask_iommufd(facts);
    facts->userfaultfd = error_of(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY_FLAG));
    facts->io_uring = error_of(syscall(SYS_io_uring_setup, 1, parameters));
}

/* --- a device ----------------------------------------------------------------------------------------------- */

static void read_info(struct doctor_device *device, int container)
{
    union {
        struct vfio_iommu_type1_info info;
        char bytes[4096];
    } answer = {.info.argsz = sizeof(answer)};
    if (ioctl(container, VFIO_IOMMU_GET_INFO, &answer))
        return;
    device->page_sizes = answer.info.iova_pgsizes;
    uint32_t at = answer.info.flags & VFIO_IOMMU_INFO_CAPS ? answer.info.cap_offset : 0;
    while (at && at + sizeof(struct vfio_info_cap_header) <= sizeof(answer)) {
        const struct vfio_info_cap_header *cap = (const void *)(answer.bytes + at);
        if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            const struct vfio_iommu_type1_info_cap_iova_range *ranges = (const void *)cap;
            for (uint32_t i = 0; i < ranges->nr_iovas; i++)
                if (ranges->iova_ranges[i].end > device->aperture_last)
                    device->aperture_last = ranges->iova_ranges[i].end;
        } else if (cap->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
            device->room = ((const struct vfio_iommu_type1_info_dma_avail *)(const void *)cap)->avail;
        }
        at = cap->next;
    }
}

/* Returns 0 or the errno of the first step that failed. */
static int attach(struct doctor_device *device, int container, int group)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};
    if (ioctl(group, VFIO_GROUP_GET_STATUS, &status))
        return errno;
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
        return EPERM;
    if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
        return errno;
    if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
        return errno;
    read_info(device, container);
    return 0;
}

void doctor_probe_device(struct doctor_facts *facts, struct doctor_device *device)
{
    if (!doctor_is_bound(device) || device->group < 0 || device->group_node.error || device->culprit[0] ||
        facts->container.error)
        return;
    if (tree_is_copy()) {
        device->attach_error = (int)probed(0, "attach", device->bdf);
        device->aperture_last =
            probed(device->width ? (UINT64_C(1) << device->width) - 1 : 0, "aperture", device->bdf);
        device->page_sizes = probed(0x40201000, "page_sizes", device->bdf);
        device->room = probed(65535, "room", device->bdf);
        return;
    }
    int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    int group = open(device->group_node.node.path, O_RDWR | O_CLOEXEC);
    device->attach_error = container < 0 || group < 0 ? errno : attach(device, container, group);
    if (group >= 0)
        close(group);
    if (container >= 0)
        close(container);
}
