/* SPDX-License-Identifier: MIT */
/*
 * A fixed program for tests/preload/failures.sh, which makes its system calls fail one after another: it
 * allocates, looks up, purges, replaces, moves, protects, unmaps, holds, forks, and gives up what it is
 * refused. It must live; what a lookup answers must be where the device writes; at the end nothing may be
 * registered or held back. The call of getppid marks where it begins.
 */
#include "anydma.h"
#include "device.h"
#include "expect.h"

#include <fcntl.h>
#include <linux/vfio.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)

enum { PAGE = 4096, NR_BLOCKS = 6 };

static unsigned nr_answers, nr_refusals;
static uint64_t last_token;

/* The answer to a lookup is the truth. */
static void look_at(volatile uint64_t *at)
{
    uint64_t iova = anydma_iova((void *)at), token = ++last_token;
    if (iova == ANYDMA_BAD_IOVA) {
        nr_refusals++;
        return;
    }
    nr_answers++;
    EXPECT(device_write(iova, &token, sizeof(token)) == 0);
    EXPECT(*at == token);
}

static void look_at_pages(unsigned char *at, size_t nr_pages)
{
    for (size_t i = 0; i < nr_pages; i++)
        look_at((volatile uint64_t *)(at + i * PAGE));
}

/* A call that is refused changes nothing: it is made again, and works. */
static void unmap(void *at, size_t len)
{
    if (munmap(at, len) != 0)
        EXPECT(munmap(at, len) == 0);
}

static unsigned char *map(void *hint, size_t nr_pages, int flags)
{
    void *at = mmap(hint, nr_pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void use_mapping(void)
{
    unsigned char *at = map(NULL, 64, 0), *moved;
    if (!at)
        return;
    look_at_pages(at, 64);
    if (madvise(at, 8 * PAGE, MADV_DONTNEED) == 0)
        EXPECT(at[PAGE] == 0);
    look_at_pages(at, 64);
    mprotect(at, 4 * PAGE, PROT_NONE);
    if (mprotect(at, 4 * PAGE, RW) == 0 || mprotect(at, 4 * PAGE, RW) == 0)
        look_at_pages(at, 64);
    if (mmap(at + 16 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
        EXPECT(at[16 * PAGE] == 0);
    look_at_pages(at, 64);
    mmap(at + 24 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    look_at_pages(at, 24);
    look_at_pages(at + 28 * PAGE, 36);
    unmap(at + 32 * PAGE, 32 * PAGE);
    look_at_pages(at, 24);
    at[5 * PAGE] = 77;
    moved = mremap(at, 16 * PAGE, 80 * PAGE, MREMAP_MAYMOVE);
    EXPECT((moved == MAP_FAILED ? at : moved)[5 * PAGE] == 77);
    look_at_pages(moved == MAP_FAILED ? at : moved, 16);
    unmap(moved == MAP_FAILED ? at : moved, (moved == MAP_FAILED ? 16 : 80) * PAGE);
    unmap(at + 16 * PAGE, 16 * PAGE);
}

static void use_heap(void)
{
    unsigned char *blocks[NR_BLOCKS];
    for (size_t i = 0; i < NR_BLOCKS; i++) {
        blocks[i] = malloc((size_t)(i + 1) * 100000);
        if (blocks[i])
            look_at_pages(blocks[i], i + 1);
    }
    for (size_t i = 0; i < NR_BLOCKS; i += 2)
        free(blocks[i]);
    malloc_trim(0);
    for (size_t i = 1; i < NR_BLOCKS; i += 2) {
        if (blocks[i])
            look_at_pages(blocks[i], i + 1);
        free(blocks[i]);
    }
    unsigned char *zeroed = calloc(1, 300000);
    for (size_t i = 0; zeroed && i < 300000; i++)
        if (!EXPECT(zeroed[i] == 0))
            break;
    free(zeroed);
    malloc_trim(0);
}

/* Outside of the arena: by userfaultfd, where that is to be had. */
static void use_other_memory(void)
{
    unsigned char *at = map((void *)0x130000000000, 16, MAP_FIXED);
    if (!at)
        return;
    look_at_pages(at, 16);
    madvise(at, 4 * PAGE, MADV_DONTNEED);
    look_at_pages(at, 16);
    unmap(at, 16 * PAGE);
}

static void hold(void)
{
    unsigned char *at = map(NULL, 8, 0);
    if (!at)
        return;
    int error = anydma_pin(at, 8 * PAGE);
    unmap(at, 8 * PAGE);
    if (!error)
        EXPECT(anydma_unpin(at, 8 * PAGE) == 0);
}

static void map_by_itself(void)
{
    unsigned char *at = map(NULL, 8, 0);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct vfio_iommu_type1_dma_map map_it = {
        .argsz = sizeof(map_it), .flags = 3, .vaddr = (uintptr_t)at, .size = 8 * PAGE};
    struct vfio_iommu_type1_dma_unmap unmap_it = {.argsz = sizeof(unmap_it), .size = 8 * PAGE};
    map_it.iova = unmap_it.iova = (uintptr_t)at;
    if (at && fd >= 0 && anydma_attach(fd, 0) == 0 && ioctl(fd, VFIO_IOMMU_MAP_DMA, &map_it) == 0) {
        look_at_pages(at, 8);
        EXPECT(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &unmap_it) == 0 || errno != EINVAL);
    }
    if (fd >= 0)
        close(fd);
    if (at) {
        look_at_pages(at, 8);
        unmap(at, 8 * PAGE);
    }
}

static void have_a_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        void *own = malloc(50000);
        _exit(anydma_iova(own) == ANYDMA_BAD_IOVA ? 0 : 1);
    }
    int status = 1;
    if (child > 0 && waitpid(child, &status, 0) == child)
        EXPECT(status == 0);
}

static void everything_is_tried(void)
{
    unsigned char *neighbour = malloc(PAGE);
    uint64_t iova = anydma_iova(neighbour), token = 0x1234;
    struct anydma_stats before, after;
    EXPECT(anydma_stats(&before, sizeof(before)) == 0);
    getppid();
    use_mapping();
    use_heap();
    use_other_memory();
    hold();
    map_by_itself();
    have_a_child();
    if (iova != ANYDMA_BAD_IOVA) {
        EXPECT(device_write(iova, &token, sizeof(token)) == 0);
        EXPECT(memcmp(neighbour, &token, sizeof(token)) == 0);
    }
    EXPECT(anydma_stats(&after, sizeof(after)) == 0);
    EXPECT(after.held_back <= before.held_back);
    EXPECT(after.unmap_failures == 0);
    EXPECT(after.app_mappings == 0);
    fprintf(stderr, "%u answers, %u refusals, %lu bytes pinned (%lu before)\n", nr_answers, nr_refusals,
            after.pinned, before.pinned);
}

int main(void)
{
    device_start();
    shim_must_be_there();
    behaviour("lookups answer the truth, and nothing is left behind", everything_is_tried);
    return behaviours_end();
}
