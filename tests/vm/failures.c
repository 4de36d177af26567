/* SPDX-License-Identifier: MIT */
/*
 * A fixed program with a real VFIO container, for tests/vm/failures.sh, which makes its ioctls fail one after
 * another: looks up, unmaps, holds, makes DMA mappings of its own, closes. It must live, and the memory that
 * the kernel counts as locked must be what it was. EDU_GROUP names the group; the call of getppid marks where
 * it begins.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { PAGE = 4096, NR_PAGES = 64 };

static unsigned char *map_pages(size_t nr)
{
    void *at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static unsigned look_up_pages(unsigned char *at, size_t nr)
{
    unsigned answers = 0;
    for (size_t i = 0; i < nr; i++) {
        uint64_t iova = anydma_iova(at + i * PAGE);
        answers += iova != ANYDMA_BAD_IOVA;
        at[i * PAGE] = (unsigned char)i;
    }
    return answers;
}

/* The program's own mapping, at an IOVA of its own. */
static void map_by_itself(int container, unsigned char *at)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map), .flags = 3, .vaddr = (uintptr_t)at, .iova = 0x100000, .size = 4 * PAGE};
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = 0x100000, .size = 4 * PAGE};
    if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0 &&
        ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) != 0)
        ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static void use(int container)
{
    unsigned char *at = map_pages(NR_PAGES), *own = map_pages(4), *block = malloc(100000);
    if (!at || !own || !block)
        return;
    unsigned answers = look_up_pages(at, NR_PAGES) + look_up_pages(block, 20);
    uint64_t most = vm_locked_bytes();
    bool is_held = anydma_pin(at, 4 * PAGE) == 0;
    map_by_itself(container, own);
    munmap(at + 32 * PAGE, 32 * PAGE);
    madvise(at, 8 * PAGE, MADV_DONTNEED);
    answers += look_up_pages(at, 32);
    munmap(at, 32 * PAGE);
    if (is_held)
        check(anydma_unpin(at, 4 * PAGE) == 0, "the hold was kept");
    free(block);
    munmap(own, 4 * PAGE);
    unsigned char *again = map_pages(NR_PAGES);
    if (again) {
        answers += look_up_pages(again, NR_PAGES);
        munmap(again, NR_PAGES * PAGE);
    }
    printf("%u answers, at most %llu bytes locked\n", answers, (unsigned long long)most);
}

int main(void)
{
    char path[64];
    const char *number = getenv("EDU_GROUP");
    check_shim_is_there();
    uint64_t before = vm_locked_bytes();
    getppid();
    snprintf(path, sizeof(path), "/dev/vfio/%s", number ? number : "");
    int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), group = open(path, O_RDWR | O_CLOEXEC);
    if (!check(container >= 0 && group >= 0, "the container and group %s are open", path))
        return check_end("failures");
    if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0 &&
        ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0)
        use(container);
    close(container);
    close(group);
    check(vm_locked_bytes() == before, "%llu bytes are locked at the end, %llu were at the beginning",
          (unsigned long long)vm_locked_bytes(), (unsigned long long)before);
    return check_end("failures");
}
