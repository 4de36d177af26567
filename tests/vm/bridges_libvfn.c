/* SPDX-License-Identifier: MIT */
/*
 * An NVMe driver written against libvfn's calls (its stand-in, a shared library): queues in memory that libvfn mapped, IOVAs
 * from iommu_translate_vaddr and checked by nvme_rq_map_prp, and the I/O in memory straight from malloc and mmap. It knows
 * nothing of anydma. libvfn has no answer for such memory: plainly each read and write is refused, and with "plainly" as an
 * argument that is what is wanted.
 * In the VM: bridges_libvfn BDF-of-nvme [plainly]
 * @vm anydma run -- bridges_libvfn $NVME_BDF
 * @vm-bed type1/48/6.12,type1/39/6.12,type1/48/6.1: bridges_libvfn $NVME_BDF plainly
 */
#include "../standins/libvfn.h"
#include "bridges.h"

static struct nvme_ctrl *ctrl;
static struct nvme_rq rq;

static void *alloc(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && iommu_map_vaddr(like_libvfn_ctx(ctrl), memory, bytes, NULL, 0) == 0
               ? memory
               : NULL;
}

static void keep(void *memory)
{
    (void)memory;
}

static int start(const struct vfio_device *dev)
{
    ctrl = like_libvfn_start(dev->container_fd);
    rq.page = ctrl ? alloc(NVME_PAGE_BYTES) : NULL;
    return rq.page ? 0 : -ENOMEM;
}

/* As libvfn's own callers do: one translation, for as long as the buffer is. */
static int find_segments(const void *addr, size_t len, struct anydma_segment *segs, size_t max)
{
    union nvme_cmd command;
    uint64_t iova;
    if (!iommu_translate_vaddr(like_libvfn_ctx(ctrl), (void *)(uintptr_t)addr, &iova) ||
        nvme_rq_map_prp(ctrl, &rq, &command, iova, len) != 0)
        return -EFAULT;
    if (max)
        segs[0] = (struct anydma_segment){iova, len};
    return 1;
}

static const struct nvme_memory of_libvfn = {start, alloc, keep, find_segments};

int main(int argc, char **argv)
{
    return move_everything(argc, argv, &of_libvfn);
}
