// SPDX-License-Identifier: MIT
// Shows, without the shim, that the test bed is what the other tests take it for: each device's
// group opens, a type1v2 container takes a mapping, and edu moves data through the IOMMU. Runs in
// the guest: probe [fault]. With "fault", edu then reads an unmapped address: a DMA fault.
// @vm probe
// @vm FAULTS=allow probe fault
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK_BYTES = 2 << 20, COPY_BYTES = 2048 };
enum { EDU_ID = 0x00, EDU_SOURCE = 0x80, EDU_DESTINATION = 0x88, EDU_COUNT = 0x90, EDU_COMMAND = 0x98 };
enum { EDU_START = 1, EDU_TO_MEMORY = 2, EDU_BUFFER = 0x40000 };

static void check(int ok, const char *what)
{
    if (ok)
        return;
    printf("probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void print_iova_ranges(int container)
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

// QEMU 7.2's edu takes 100 ms for a copy, and stops the whole machine when one reaches the last
// byte of its 4 KiB buffer: at most 4095 bytes from its start.
static void edu_copy(volatile char *bar, uint64_t source, uint64_t destination, uint64_t command)
{
    *(volatile uint64_t *)(bar + EDU_SOURCE) = source;
    *(volatile uint64_t *)(bar + EDU_DESTINATION) = destination;
    *(volatile uint64_t *)(bar + EDU_COUNT) = COPY_BYTES;
    *(volatile uint64_t *)(bar + EDU_COMMAND) = command | EDU_START;
    while (*(volatile uint64_t *)(bar + EDU_COMMAND) & EDU_START)
        usleep(1000);
}

static void drive_edu(int device, char *memory, uint64_t iova, int want_fault)
{
    struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
    struct vfio_region_info bar0 = {.argsz = sizeof(bar0), .index = VFIO_PCI_BAR0_REGION_INDEX};
    uint16_t enable = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    volatile char *bar;

    check(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) == 0, "config region");
    check(pwrite(device, &enable, 2, (off_t)config.offset + PCI_COMMAND) == 2, "enabling the device");
    check(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar0) == 0, "BAR 0");
    bar = mmap(NULL, bar0.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar0.offset);
    check(bar != MAP_FAILED, "mmap of BAR 0");
    printf(" id=0x%x", *(volatile uint32_t *)(bar + EDU_ID));

    for (int i = 0; i < COPY_BYTES; i++)
        memory[i] = (char)(i * 7 + 1);
    edu_copy(bar, iova, EDU_BUFFER, 0);
    edu_copy(bar, EDU_BUFFER, iova + COPY_BYTES, EDU_TO_MEMORY);
    check(memcmp(memory, memory + COPY_BYTES, COPY_BYTES) == 0, "what edu wrote differs from what it read");
    printf(" dma=ok");
    if (want_fault)
        edu_copy(bar, iova + BLOCK_BYTES, EDU_BUFFER, 0);
}

static void probe_device(const char *name, int want_fault)
{
    char variable[32], path[64];
    const char *bdf, *group_number;
    struct vfio_group_status status = {.argsz = sizeof(status)};
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map), .size = BLOCK_BYTES, .iova = 16 << 20};
    int container, group, device;
    char *memory;

    snprintf(variable, sizeof(variable), "%s_BDF", name);
    bdf = getenv(variable);
    snprintf(variable, sizeof(variable), "%s_GROUP", name);
    group_number = getenv(variable);
    check(bdf && group_number, "not in the VM: no BDF or GROUP in the environment");
    printf("%s %s group=%s ", name, bdf, group_number);

    snprintf(path, sizeof(path), "/dev/vfio/%s", group_number);
    container = open("/dev/vfio/vfio", O_RDWR);
    check(container >= 0, "/dev/vfio/vfio");
    group = open(path, O_RDWR);
    check(group >= 0, path);
    check(ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0 && status.flags & VFIO_GROUP_FLAGS_VIABLE,
          "group not viable");
    check(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0, "SET_CONTAINER");
    check(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0, "SET_IOMMU");
    print_iova_ranges(container);

    memory = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    map.vaddr = (uintptr_t)memory;
    map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    check(ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0, "MAP_DMA");
    device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
    check(device >= 0, "GET_DEVICE_FD");
    if (strcmp(name, "EDU") == 0)
        drive_edu(device, memory, map.iova, want_fault);
    printf(" ok\n");

    munmap(memory, BLOCK_BYTES);
    close(device);
    close(group);
    close(container);
}

int main(int argc, char **argv)
{
    int want_fault = argc > 1 && strcmp(argv[1], "fault") == 0;

    probe_device("EDU", want_fault);
    probe_device("NVME", 0);
    probe_device("E1000E", 0);
    return 0;
}
