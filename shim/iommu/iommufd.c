/* SPDX-License-Identifier: MIT */
/*
 * The backend over an address space (IOAS) of an iommufd: its calls, their structures filled and read. Called under
 * LOCK_REGISTRY; holds no state, says nothing, and takes no memory from any heap.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "iommu/iommu.h"
#include "iommu/iommufd_abi.h"

enum { ACCESS = IOMMUFD_FIXED_IOVA | IOMMUFD_WRITEABLE | IOMMUFD_READABLE };

static int call(const struct iommu *iommu, unsigned long number, void *arg)
{
    int error = os_ioctl(iommu->fd, number, arg);
    return error < 0 ? error : 0;
}

/* Each attached device, and each page table, takes something away: on every IOMMU that there is, at least the end. What has
 * nothing taken away has none of them. */
static bool is_whole(const struct iommu_info *info)
{
    return info->nr_ranges == 1 && info->ranges[0].start == 0 && info->ranges[0].last == UINT64_MAX;
}

/* Source: do_update_pinned in drivers/iommu/iommufd/pages.c. */
static void find_counter(const struct iommu *iommu, struct iommu_info *info)
{
    struct iommufd_option mode = {
        .size = sizeof(mode), .option_id = IOMMUFD_OPTION_RLIMIT_MODE, .op = IOMMUFD_OPTION_GET};
    info->is_per_user = call(iommu, IOMMUFD_OPTION, &mode) != 0 || !mode.val64;
    info->counter =
        info->is_per_user
            ? "the user's, of all processes and io_uring; this one's are VmPin in /proc/PID/status"
            : "this process's, VmLck in /proc/PID/status";
}

static int iommufd_query(struct iommu *iommu, struct iommu_info *info)
{
    struct iommufd_range ranges[IOMMU_MAX_RANGES];
    struct iommufd_ioas_iova_ranges ask = {.size = sizeof(ask),
                                           .ioas_id = iommu->ioas_id,
                                           .num_iovas = IOMMU_MAX_RANGES,
                                           .allowed_iovas = (uintptr_t)ranges};
    int error = call(iommu, IOMMUFD_IOAS_IOVA_RANGES, &ask);
    /* More ranges than there is room for are IOVAs left unused: a loss, never an error. */
    if (error && error != -EMSGSIZE)
        return error == -ENOENT ? -ENODEV : error;
    memset(info, 0, sizeof(*info));
    info->nr_ranges = ask.num_iovas < IOMMU_MAX_RANGES ? ask.num_iovas : IOMMU_MAX_RANGES;
    for (unsigned i = 0; i < info->nr_ranges; i++)
        info->ranges[i] = (struct iommu_range){ranges[i].start, ranges[i].last};
    info->page_sizes = ask.out_iova_alignment;
    info->nr_entries = UINT64_MAX;
    find_counter(iommu, info);
    info->is_idle = is_whole(info);
    return 0;
}

static int iommufd_map(struct iommu *iommu, uint64_t iova, uint64_t va, uint64_t len)
{
    struct iommufd_ioas_map map = {.size = sizeof(map),
                                   .flags = ACCESS,
                                   .ioas_id = iommu->ioas_id,
                                   .user_va = va,
                                   .length = len,
                                   .iova = iova};
    return call(iommu, IOMMUFD_IOAS_MAP, &map);
}

static int iommufd_copy(struct iommu *iommu, const struct iommu *from, uint64_t iova, uint64_t len)
{
    struct iommufd_ioas_copy copy = {.size = sizeof(copy),
                                     .flags = ACCESS,
                                     .dst_ioas_id = iommu->ioas_id,
                                     .src_ioas_id = from->ioas_id,
                                     .length = len,
                                     .dst_iova = iova,
                                     .src_iova = iova};
    return call(iommu, IOMMUFD_IOAS_COPY, &copy);
}

static int iommufd_unmap(struct iommu *iommu, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    struct iommufd_ioas_unmap unmap = {
        .size = sizeof(unmap), .ioas_id = iommu->ioas_id, .iova = iova, .length = len};
    int error = call(iommu, IOMMUFD_IOAS_UNMAP, &unmap);
    *unmapped = error ? 0 : unmap.length;
    return error;
}

static int iommufd_forward(struct iommu *iommu, unsigned long request, void *arg)
{
    return os_ioctl(iommu->fd, request, arg);
}

void iommufd_init(struct iommu *iommu, int fd, uint32_t ioas_id)
{
    static const struct iommu_ops ops = {
        .name = "iommufd",
        .query = iommufd_query,
        .map = iommufd_map,
        .copy = iommufd_copy,
        .unmap = iommufd_unmap,
        .forward = iommufd_forward,
    };
    *iommu = (struct iommu){.ops = &ops, .fd = fd, .ioas_id = ioas_id};
}

bool iommufd_init_container(struct iommu *iommu, int fd)
{
    struct iommufd_vfio_ioas ask = {.size = sizeof(ask), .op = IOMMUFD_VFIO_IOAS_GET};
    if (os_ioctl(fd, IOMMUFD_VFIO_IOAS, &ask) != 0 || !ask.ioas_id)
        return false;
    iommufd_init(iommu, fd, ask.ioas_id);
    return true;
}
