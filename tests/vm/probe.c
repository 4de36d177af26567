/* SPDX-License-Identifier: MIT */
/*
 * Shows, without the shim, that the test bed is what the other tests take it for: each device opens by the
 * BACKEND that the environment names, takes a mapping at an IOVA of the program's choice, and edu moves data
 * through the IOMMU. Runs in the guest: probe [fault]. With "fault", edu then reads an unmapped address: a DMA
 * fault.
 * @vm-bed probe
 * @vm-bed FAULTS=allow probe fault
 */
#include "edu.h"
#include "iommufd.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { BLOCK_BYTES = 2 << 20, COPY_BYTES = 2048, IOVA = 16 << 20, MAX_RANGES = 16 };

static void check(int ok, const char *what)
{
    if (ok)
        return;
    printf("probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check_rc(int rc, const char *what)
{
    errno = -rc;
    check(rc >= 0, what);
}

static void print_container(int container)
{
    size_t size = 4096;
    struct vfio_iommu_type1_info *info = calloc(1, size);
    uint32_t offset;

    check(info != NULL, "calloc");
    info->argsz = (uint32_t)size;
    check(ioctl(container, VFIO_IOMMU_GET_INFO, info) == 0, "VFIO_IOMMU_GET_INFO");
    printf("page_sizes=0x%llx", (unsigned long long)info->iova_pgsizes);
    for (offset = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0; offset != 0;) {
        const char *at = (const char *)info + offset;
        const struct vfio_info_cap_header *header = (const void *)at;

        if (header->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            const struct vfio_iommu_type1_info_cap_iova_range *cap = (const void *)at;

            for (uint32_t i = 0; i < cap->nr_iovas; i++)
                printf(" iova=0x%llx-0x%llx", (unsigned long long)cap->iova_ranges[i].start,
                       (unsigned long long)cap->iova_ranges[i].end);
        } else if (header->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
            printf(" dma_avail=%u",
                   ((const struct vfio_iommu_type1_info_dma_avail *)(const void *)at)->avail);
        }
        offset = header->next;
    }
    free(info);
}

static void print_ioas(const struct vfio_device *dev)
{
    struct iommufd_range ranges[MAX_RANGES];
    int nr = iommufd_ranges(dev->container_fd, dev->ioas_id, ranges, MAX_RANGES);
    check_rc(nr, "IOMMU_IOAS_IOVA_RANGES");
    printf("ioas=%u device=%u", dev->ioas_id, dev->device_id);
    for (int i = 0; i < nr && i < MAX_RANGES; i++)
        printf(" iova=0x%llx-0x%llx", (unsigned long long)ranges[i].start,
               (unsigned long long)ranges[i].last);
}

static void drive_edu(const struct vfio_device *dev, char *memory, int want_fault)
{
    check(edu_check(dev) == 0, "its identification");
    for (int i = 0; i < COPY_BYTES; i++)
        memory[i] = (char)(i * 7 + 1);
    check_rc(edu_load(dev, IOVA, 0, COPY_BYTES), "edu reads");
    check_rc(edu_store(dev, IOVA + COPY_BYTES, 0, COPY_BYTES), "edu writes");
    check(memcmp(memory, memory + COPY_BYTES, COPY_BYTES) == 0, "what edu wrote differs from what it read");
    printf(" dma=ok");
    if (want_fault)
        edu_load(dev, IOVA + BLOCK_BYTES, 0, COPY_BYTES);
}

static void probe_device(const char *name, int want_fault)
{
    char variable[32];
    struct vfio_device dev;
    uint64_t unmapped;

    snprintf(variable, sizeof(variable), "%s_BDF", name);
    const char *bdf = getenv(variable);
    check(bdf != NULL, "not in the VM: no BDF in the environment");
    printf("%s %s ", name, bdf);
    fflush(stdout);
    check_rc(vfio_device_open(&dev, bdf), "opening it");
    if (dev.backend == VFIO_BACKEND_IOMMUFD)
        print_ioas(&dev);
    else
        print_container(dev.container_fd);

    char *memory = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    check_rc(vfio_device_map(&dev, IOVA, memory, BLOCK_BYTES), "its mapping");
    if (strcmp(name, "EDU") == 0)
        drive_edu(&dev, memory, want_fault);
    check_rc(vfio_device_unmap(&dev, IOVA, BLOCK_BYTES, &unmapped), "unmapping it");
    check(unmapped == BLOCK_BYTES, "unmapping all of it");
    printf(" ok\n");

    munmap(memory, BLOCK_BYTES);
    vfio_device_close(&dev);
}

int main(int argc, char **argv)
{
    int want_fault = argc > 1 && strcmp(argv[1], "fault") == 0;

    probe_device("EDU", want_fault);
    probe_device("NVME", 0);
    probe_device("E1000E", 0);
    return 0;
}
