/* SPDX-License-Identifier: MIT */
/* VFIO itself, in the VM: the bare calls go to the container that the shim uses too. */
#include "registration/pinner.h"

#include <linux/vfio.h>
#include <stddef.h>

#include "bench.h"
#include "raw.h"
#include "vfio_device.h"

static struct vfio_device device_of_program;

const char *const pinner_name = "vfio";

void pinner_open(const char *device)
{
    bench_require(device && vfio_device_open(&device_of_program, device) == 0, "no VFIO device");
}

int pinner_map(uint64_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = va,
                                           .iova = va,
                                           .size = len};
    return (int)raw(SYS_ioctl, device_of_program.container_fd, VFIO_IOMMU_MAP_DMA, (long)&map, 0, 0, 0);
}

int pinner_unmap(uint64_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = va, .size = len};
    int error =
        (int)raw(SYS_ioctl, device_of_program.container_fd, VFIO_IOMMU_UNMAP_DMA, (long)&unmap, 0, 0, 0);
    return error ? error : unmap.size == len ? 0 : -1;
}
