/* SPDX-License-Identifier: MIT */
/* Check mode with a real IOMMU: a device that writes to memory after it was freed faults, and whoever got memory next keeps
 * what it wrote; a mapping of the application's own over freed memory is reported. Runs in the VM.
 * @vm-hazards FAULTS=allow anydma run --check=1 -- hazard_edu $EDU_BDF
 */
#include "check.h"
#include "edu.h"

#include <sys/mman.h>

enum { BYTES = 4000 };

static struct vfio_device dev;

static void freed_memory_faults(void)
{
    unsigned char *buffer = malloc(BYTES);
    unsigned before = dmar_faults();
    fill_pattern(buffer, BYTES, 1);
    uint64_t iova = anydma_iova(buffer);
    check(iova == (uintptr_t)buffer && edu_load(&dev, iova, 0, BYTES) == 0,
          "the device reads a live allocation");
    check(dmar_faults() == before, "no fault while it is alive");

    free(buffer);
    unsigned char *next = malloc(BYTES);
    unsigned char expected[BYTES];
    memset(next, 0x55, BYTES);
    memset(expected, 0x55, BYTES);
    check(edu_store(&dev, iova, 0, BYTES) == 0, "the device writes to it after free");
    /* The kernel logs ten faults in five seconds, which whoever ran before may have used up. */
    for (int tries = 0; dmar_faults() == before && tries < 30; tries++)
        edu_store(&dev, iova, 0, BYTES);
    check(dmar_faults() > before, "the write faults in the IOMMU");
    check(count_different(next, expected, BYTES) == 0, "the next allocation keeps its bytes");
    free(next);
}

static void own_mapping_is_reported(void)
{
    struct anydma_stats stats;
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(vfio_device_map(&dev, 0x10000, page, 4096) == 0, "the application maps a page by itself");
    munmap(page, 4096);
    anydma_stats(&stats, sizeof(stats));
    check(stats.hazards == 1, "unmapping it under that mapping is a hazard: %lu",
          (unsigned long)stats.hazards);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: hazard_edu BDF\n");
        return 2;
    }
    check_shim_is_there();
    if (vfio_device_open(&dev, argv[1]) != 0 || edu_check(&dev) != 0)
        return 1;
    freed_memory_faults();
    own_mapping_is_reported();
    vfio_device_close(&dev);
    return check_end("hazard_edu");
}
