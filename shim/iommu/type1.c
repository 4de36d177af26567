/* SPDX-License-Identifier: MIT */
/*
 * The backend over a VFIO container with a type1 (v1 or v2) IOMMU: three ioctls, their structures filled and
 * read. Called under LOCK_REGISTRY; holds no state, says nothing, and takes no memory from any
 * heap.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "iommu/iommu.h"

/* What a kernel that doesn't tell (before 5.4) is taken for: the narrowest Intel IOMMU, without its MSI
 * window. */
static const struct iommu_range untold_ranges[] = {
    {0, 0xfedfffff},
    {0xfef00000, (1ull << 39) - 1},
};

static void read_ranges(struct iommu_info *info, const char *cap, size_t len)
{
    struct vfio_iommu_type1_info_cap_iova_range head;
    if (len < sizeof(head))
        return;
    memcpy(&head, cap, sizeof(head));
    size_t nr_told = (len - sizeof(head)) / sizeof(struct vfio_iova_range);
    if (nr_told > head.nr_iovas)
        nr_told = head.nr_iovas;
    /* More ranges than there is room for are IOVAs left unused: a loss, never an error. */
    if (nr_told > IOMMU_MAX_RANGES)
        nr_told = IOMMU_MAX_RANGES;
    for (info->nr_ranges = 0; info->nr_ranges < nr_told; info->nr_ranges++) {
        struct vfio_iova_range range;
        memcpy(&range, cap + sizeof(head) + info->nr_ranges * sizeof(range), sizeof(range));
        info->ranges[info->nr_ranges] = (struct iommu_range){range.start, range.end};
    }
}

static void read_entries(struct iommu_info *info, const char *cap, size_t len)
{
    struct vfio_iommu_type1_info_dma_avail avail;
    if (len < sizeof(avail))
        return;
    memcpy(&avail, cap, sizeof(avail));
    /* iommufd, when it plays a container, has no limit and says so with the largest number. */
    info->nr_entries = avail.avail == UINT32_MAX ? UINT64_MAX : avail.avail;
}

static void read_capabilities(struct iommu_info *info, const char *answer, size_t len, size_t offset)
{
    struct vfio_info_cap_header head;
    while (offset >= sizeof(struct vfio_iommu_type1_info) && offset + sizeof(head) <= len) {
        memcpy(&head, answer + offset, sizeof(head));
        if (head.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
            read_ranges(info, answer + offset, len - offset);
        else if (head.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)
            read_entries(info, answer + offset, len - offset);
        if (head.next <= offset)
            return;
        offset = head.next;
    }
}

void type1_read_info(const char *answer, size_t len, struct iommu_info *info)
{
    struct vfio_iommu_type1_info head;
    memcpy(&head, answer, sizeof(head));
    if (head.argsz < len)
        len = head.argsz;
    memset(info, 0, sizeof(*info));
    memcpy(info->ranges, untold_ranges, sizeof(untold_ranges));
    info->nr_ranges = sizeof(untold_ranges) / sizeof(untold_ranges[0]);
    info->page_sizes = head.flags & VFIO_IOMMU_INFO_PGSIZES ? head.iova_pgsizes : OS_PAGE_SIZE;
    info->nr_entries = UINT64_MAX;
    info->counter = "this process's, VmLck in /proc/PID/status";
    if (head.flags & VFIO_IOMMU_INFO_CAPS)
        read_capabilities(info, answer, len, head.cap_offset);
}

/* Asks with a buffer of `len` bytes; *needed gets the size of the whole answer. */
static int ask_info(int fd, void *buffer, size_t len, size_t *needed)
{
    struct vfio_iommu_type1_info head = {.argsz = (uint32_t)len};
    memset(buffer, 0, len);
    memcpy(buffer, &head, sizeof(head));
    int error = os_ioctl(fd, VFIO_IOMMU_GET_INFO, buffer);
    memcpy(&head, buffer, sizeof(head));
    *needed = head.argsz;
    return error < 0 ? error : 0;
}

static int query_mapped(int fd, size_t len, struct iommu_info *info)
{
    intptr_t buffer = os_mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (os_is_error(buffer))
        return (int)buffer;
    size_t needed;
    int error = ask_info(fd, (void *)buffer, len, &needed);
    if (!error)
        type1_read_info((const char *)buffer, len, info);
    os_munmap((uintptr_t)buffer, len);
    return error;
}

static int type1_query(struct iommu *iommu, struct iommu_info *info)
{
    char buffer[1024];
    size_t needed;
    int error = ask_info(iommu->fd, buffer, sizeof(buffer), &needed);
    if (error) /* a container without an IOMMU knows no such call; other errors are a descriptor's */
        return error == -EINVAL ? -ENODEV : error;
    if (needed > sizeof(buffer))
        return query_mapped(iommu->fd, needed, info);
    type1_read_info(buffer, sizeof(buffer), info);
    return 0;
}

static int type1_map(struct iommu *iommu, uint64_t iova, uint64_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        /* Always both: a read-only map may pin the zero page (up to 6.1), which the next write replaces. */
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = va,
        .iova = iova,
        .size = len,
    };
    int error = os_ioctl(iommu->fd, VFIO_IOMMU_MAP_DMA, &map);
    return error < 0 ? error : 0;
}

static int type1_unmap(struct iommu *iommu, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = iova, .size = len};
    int error = os_ioctl(iommu->fd, VFIO_IOMMU_UNMAP_DMA, &unmap);
    *unmapped = error < 0 ? 0 : unmap.size;
    return error < 0 ? error : 0;
}

static int type1_forward(struct iommu *iommu, unsigned long request, void *arg)
{
    return os_ioctl(iommu->fd, request, arg);
}

void type1_init(struct iommu *iommu, int fd)
{
    static const struct iommu_ops ops = {
        .name = "type1",
        .query = type1_query,
        .map = type1_map,
        .unmap = type1_unmap,
        .forward = type1_forward,
    };
    *iommu = (struct iommu){.ops = &ops, .fd = fd};
}
