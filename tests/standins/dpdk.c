/* SPDX-License-Identifier: MIT */
/* See dpdk.h. Written from DPDK's interface and what was seen of its behaviour. */
#include "dpdk.h"

#include <errno.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { POOL_BYTES = 4 << 20, PAGE_BYTES = 2 << 20 };

static enum rte_iova_mode mode;
static uint64_t offset;
static char *pool;
static size_t used;
static struct rte_memseg memsegs[POOL_BYTES / PAGE_BYTES];

enum rte_iova_mode rte_eal_iova_mode(void)
{
    return mode;
}

struct rte_memseg *rte_mem_virt2memseg(const void *addr, const struct rte_memseg_list *list)
{
    size_t at = (size_t)((const char *)addr - pool);
    (void)list;
    return pool && at < POOL_BYTES ? &memsegs[at / PAGE_BYTES] : NULL;
}

uint64_t rte_mem_virt2iova(const void *addr)
{
    return (uint64_t)addr + (mode == RTE_IOVA_PA ? offset : 0);
}

uint64_t like_dpdk_iova_of_new_memory(const void *addr)
{
    return rte_mem_virt2iova(addr);
}

void *rte_malloc(const char *type, size_t size, unsigned align)
{
    size_t start = align ? (used + align - 1) / align * align : (used + 63) / 64 * 64;
    (void)type;
    if (start + size > POOL_BYTES)
        return NULL;
    used = start + size;
    return pool + start;
}

int like_dpdk_start(int container, enum rte_iova_mode wanted, uint64_t physical_offset)
{
    pool = mmap((void *)UINT64_C(0x1100000000), POOL_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (pool == MAP_FAILED)
        return -errno;
    mode = wanted;
    offset = physical_offset;
    for (size_t i = 0; i < POOL_BYTES / PAGE_BYTES; i++) {
        void *addr = pool + i * PAGE_BYTES;
        uint64_t iova = (uint64_t)addr + (mode == RTE_IOVA_PA ? offset : 0);
        memsegs[i] =
            (struct rte_memseg){.iova = iova, .addr = addr, .len = PAGE_BYTES, .hugepage_sz = PAGE_BYTES};
        struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                               .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                               .vaddr = (uint64_t)addr,
                                               .iova = iova,
                                               .size = PAGE_BYTES};
        if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) != 0)
            return -errno;
    }
    return 0;
}
