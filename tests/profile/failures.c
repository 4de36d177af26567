/* SPDX-License-Identifier: MIT */
/* Fails on purpose: the application's own MAP_DMA of memory that is not there, three times, and one over another; lookups of
 * memory that can't be watched, five times. */
#include "anydma.h"

#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static __attribute__((noinline)) int maps_it(int fd, void *va, uint64_t iova)
{
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = (uintptr_t)va,
                                           .iova = iova,
                                           .size = PAGE};
    return ioctl(fd, VFIO_IOMMU_MAP_DMA, &map);
}

static __attribute__((noinline)) uint64_t looks_up_shared(void *shared)
{
    return anydma_iova(shared);
}

int main(void)
{
    int fd = memfd_create("container", 0);
    void *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *good = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (anydma_attach(fd, 0) != 0)
        return 1;
    for (int i = 0; i < 3; i++)
        if (maps_it(fd, nothing, 0x100000) == 0)
            return 2;
    if (maps_it(fd, good, 0x100000) != 0 || maps_it(fd, good, 0x100000) == 0)
        return 3;
    for (int i = 0; i < 5; i++)
        if (looks_up_shared(shared) != ANYDMA_BAD_IOVA)
            return 4;
    return 0;
}
