/* SPDX-License-Identifier: MIT */
/* VFIO itself, in the VM: the bare calls go to the container, or the address space of an iommufd, that the shim uses too. */
#include "registration/pinner.h"

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>

#include "bench.h"
#include "iommu/iommufd_abi.h"
#include "raw.h"
#include "vfio_device.h"

static struct vfio_device device_of_program;

const char *const pinner_name = "vfio";

void pinner_open(const char *device)
{
    bench_require(device && vfio_device_open(&device_of_program, device) == 0, "no VFIO device");
}

static long call(unsigned long number, void *arg)
{
    return raw(SYS_ioctl, device_of_program.container_fd, (long)number, (long)arg, 0, 0, 0);
}

static int map_by_iommufd(uint64_t va, uint64_t len)
{
    struct iommufd_ioas_map map = {.size = sizeof(map),
                                   .flags = IOMMUFD_FIXED_IOVA | IOMMUFD_WRITEABLE | IOMMUFD_READABLE,
                                   .ioas_id = device_of_program.ioas_id,
                                   .user_va = va,
                                   .iova = va,
                                   .length = len};
    return (int)call(IOMMUFD_IOAS_MAP, &map);
}

int pinner_map(uint64_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = va,
                                           .iova = va,
                                           .size = len};
    return device_of_program.ioas_id ? map_by_iommufd(va, len) : (int)call(VFIO_IOMMU_MAP_DMA, &map);
}

int pinner_unmap(uint64_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_unmap by_vfio = {.argsz = sizeof(by_vfio), .iova = va, .size = len};
    struct iommufd_ioas_unmap unmap = {
        .size = sizeof(unmap), .ioas_id = device_of_program.ioas_id, .iova = va, .length = len};
    bool is_vfio = !device_of_program.ioas_id;
    int error = (int)(is_vfio ? call(VFIO_IOMMU_UNMAP_DMA, &by_vfio) : call(IOMMUFD_IOAS_UNMAP, &unmap));
    return error ? error : (is_vfio ? by_vfio.size : unmap.length) == len ? 0 : -1;
}
