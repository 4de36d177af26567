/* SPDX-License-Identifier: MIT */
/*
 * A fixed program with a real device, for tests/vm/failures.sh, which makes its ioctls fail one after another:
 * opens, looks up, unmaps, holds, makes DMA mappings of its own, closes. It must live, and the memory that the
 * kernel counts as locked must be what it was. failures BDF; the call of getppid marks where it begins.
 */
#include "check.h"
#include "vfio_device.h"

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
static void map_by_itself(const struct vfio_device *dev, const unsigned char *at)
{
    uint64_t unmapped;
    if (vfio_device_map(dev, 0x100000, at, 4 * PAGE) == 0 &&
        vfio_device_unmap(dev, 0x100000, 4 * PAGE, &unmapped) != 0)
        vfio_device_unmap(dev, 0x100000, 4 * PAGE, &unmapped);
}

static void use(const struct vfio_device *dev)
{
    unsigned char *at = map_pages(NR_PAGES), *own = map_pages(4), *block = malloc(100000);
    if (!at || !own || !block)
        return;
    unsigned answers = look_up_pages(at, NR_PAGES) + look_up_pages(block, 20);
    uint64_t most = vm_locked_bytes();
    bool is_held = anydma_pin(at, 4 * PAGE) == 0;
    map_by_itself(dev, own);
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

int main(int argc, char **argv)
{
    struct vfio_device dev;
    if (argc < 2)
        return 2;
    check_shim_is_there();
    uint64_t before = vm_locked_bytes();
    getppid();
    if (vfio_device_open(&dev, argv[1]) == 0)
        use(&dev);
    vfio_device_close(&dev);
    check(vm_locked_bytes() == before, "%llu bytes are locked at the end, %llu were at the beginning",
          (unsigned long long)vm_locked_bytes(), (unsigned long long)before);
    return check_end("failures");
}
