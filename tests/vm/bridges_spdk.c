/* SPDX-License-Identifier: MIT */
/*
 * An NVMe driver written against SPDK's calls (its stand-in, a shared library): queues in memory that SPDK registered,
 * IOVAs from spdk_vtophys, and the I/O in memory straight from malloc and mmap. It knows nothing of anydma. SPDK has no
 * answer for such memory: plainly each read and write is refused, and with "plainly" as an argument that is what is wanted.
 * In the VM: bridges_spdk BDF-of-nvme [plainly]
 * @vm anydma run -- bridges_spdk $NVME_BDF
 * @vm anydma run --mode=lazy -- bridges_spdk $NVME_BDF
 * @vm-bed type1/48/6.12,type1/39/6.12,type1/48/6.1: bridges_spdk $NVME_BDF plainly
 */
#include "../standins/spdk.h"
#include "bridges.h"

static int start(const struct vfio_device *dev)
{
    return like_spdk_start(dev->container_fd, 0, true);
}

static void *alloc(size_t bytes)
{
    return spdk_zmalloc(bytes, NVME_PAGE_BYTES);
}

static void keep(void *memory)
{
    (void)memory;
}

/* As SPDK's own drivers ask: for what is left, until it is all there. */
static int find_segments(const void *addr, size_t len, struct anydma_segment *segs, size_t max)
{
    int nr = 0;
    for (uint64_t run; len; addr = (const char *)addr + run, len -= run, nr++) {
        run = len;
        uint64_t iova = spdk_vtophys(addr, &run);
        if (iova == SPDK_VTOPHYS_ERROR)
            return -EFAULT;
        if ((size_t)nr < max)
            segs[nr] = (struct anydma_segment){iova, run};
    }
    return nr;
}

static const struct nvme_memory of_spdk = {start, alloc, keep, find_segments};

int main(int argc, char **argv)
{
    return move_everything(argc, argv, &of_spdk);
}
