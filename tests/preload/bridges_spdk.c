/* SPDX-License-Identifier: MIT */
/*
 * A program written against SPDK (its stand-in, as a shared library) that has its I/O in malloc'ed memory: what
 * spdk_vtophys says, before and after SPDK's own registration fails. "plain" as an argument: no bridge is there.
 */
#include "../standins/spdk.h"
#include "device.h"
#include "expect.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };
static bool is_plain;
static int container;

/* An IOVA for all of it, piece by piece, as a driver asks; each piece leads a device to the memory. */
static bool device_reaches(char *memory, size_t len)
{
    char wrote[512];
    for (size_t at = 0; at < len;) {
        uint64_t run = len - at, iova = spdk_vtophys(memory + at, &run);
        if (iova == SPDK_VTOPHYS_ERROR || !run || run > len - at)
            return false;
        size_t n = run < sizeof(wrote) ? run : sizeof(wrote);
        memset(wrote, (int)(at >> 9) + 1, n);
        if (device_write_all(iova + run - n, wrote, n) != 0 || memcmp(memory + at + run - n, wrote, n) != 0)
            return false;
        at += run;
    }
    return true;
}

static void memory_of_malloc_has_iovas(void)
{
    static const size_t sizes[] = {512, 4096, 4608, 65536, 1 << 20, 5 << 20}, offsets[] = {0, 4, 516, 4092};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t o = 0; o < sizeof(offsets) / sizeof(*offsets); o++) {
            char *memory = malloc(sizes[s] + offsets[o]);
            EXPECT(device_reaches(memory + offsets[o], sizes[s]) != is_plain);
            free(memory);
        }
}

static void other_memory_has_iovas(void)
{
    static char global[4 * PAGE];
    char stack[3 * PAGE];
    char *mapped = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(device_reaches(mapped + 12, (3 << 20) - 12) != is_plain);
    EXPECT(device_reaches(stack, sizeof(stack)) != is_plain);
    EXPECT(device_reaches(global + PAGE, 2 * PAGE) != is_plain);
    munmap(mapped, 3 << 20);
}

/* The failed question leaves the length shrunk; the answer must be to the whole one. */
static void the_length_is_the_one_asked_for(void)
{
    char *memory = aligned_alloc(HUGE_PAGE, 2 * HUGE_PAGE);
    uint64_t len = HUGE_PAGE + PAGE;
    uint64_t iova = spdk_vtophys(memory + HUGE_PAGE - PAGE, &len);
    EXPECT(is_plain ? iova == SPDK_VTOPHYS_ERROR && len == PAGE
                    : iova == (uint64_t)memory + HUGE_PAGE - PAGE && len == HUGE_PAGE + PAGE);
    EXPECT((spdk_vtophys(memory + 5, NULL) == (uint64_t)memory + 5) != is_plain);
    free(memory);
}

static void its_own_memory_is_its_own_affair(void)
{
    char *own = spdk_zmalloc(3 * PAGE, PAGE);
    uint64_t len = 3 * PAGE;
    EXPECT(spdk_vtophys(own, &len) == (uint64_t)own && len == 3 * PAGE);
    EXPECT(device_reaches(own, 3 * PAGE));
}

static void no_memory_has_no_iova(void)
{
    char *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t len = PAGE;
    EXPECT(spdk_vtophys(nothing, &len) == SPDK_VTOPHYS_ERROR);
    EXPECT(spdk_vtophys((void *)PAGE, NULL) == SPDK_VTOPHYS_ERROR);
    munmap(nothing, PAGE);
}

/* A pointer, a name looked up, and a library that was loaded later lead to the same function. */
static void every_way_to_the_function_is_the_same(void)
{
    uint64_t (*pointer)(const void *, uint64_t *) = spdk_vtophys;
    char *memory = malloc(PAGE);
    EXPECT((pointer(memory, NULL) == (uint64_t)memory) != is_plain);
    EXPECT(dlsym(RTLD_DEFAULT, "spdk_vtophys") == (void *)pointer);
    char path[512];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 32);
    while (len > 0 && path[len - 1] != '/')
        len--;
    strcpy(path + (len < 0 ? 0 : len), "plugins/asks.so");
    void *later = dlopen(path, RTLD_NOW);
    uint64_t (*ask)(const void *) = later ? (uint64_t(*)(const void *))dlsym(later, "ask_spdk") : NULL;
    EXPECT(ask && (ask(memory) == (uint64_t)memory) != is_plain);
    free(memory);
}

static void a_program_may_register_its_memory(void)
{
    char *memory = aligned_alloc(HUGE_PAGE, HUGE_PAGE);
    EXPECT(spdk_mem_register(memory, HUGE_PAGE) == 0);
    EXPECT(spdk_mem_register(memory, HUGE_PAGE) == -EBUSY);
    EXPECT(device_reaches(memory, HUGE_PAGE));
    EXPECT(spdk_mem_unregister(memory, HUGE_PAGE) == 0);
    EXPECT(device_reaches(memory, HUGE_PAGE) != is_plain);
    EXPECT(spdk_mem_register(memory, HUGE_PAGE) == 0); /* it was forgotten whole */
    EXPECT(spdk_mem_unregister(memory, HUGE_PAGE) == 0);
    free(memory);
}

/* IOVAs that are handed out already; SPDK maps other memory there, is refused, and takes no notice. */
static void a_registration_that_failed_is_not_believed(void)
{
    char *memory = aligned_alloc(HUGE_PAGE, 4 * HUGE_PAGE);
    struct vfio_iommu_type1_dma_map in_the_way = {.argsz = sizeof(in_the_way),
                                                  .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                                  .vaddr = (uint64_t)memory,
                                                  .iova = (uint64_t)memory + 2 * HUGE_PAGE,
                                                  .size = HUGE_PAGE};
    EXPECT(ioctl(container, VFIO_IOMMU_MAP_DMA, &in_the_way) == 0);
    char *lost = memory + 2 * HUGE_PAGE;
    EXPECT(spdk_mem_register(lost, HUGE_PAGE) == 0);
    if (is_plain)
        EXPECT(spdk_vtophys(lost, NULL) == (uint64_t)lost);
    else
        EXPECT(spdk_vtophys(lost, NULL) != (uint64_t)lost && device_reaches(lost, HUGE_PAGE));
    EXPECT(spdk_mem_unregister(lost, HUGE_PAGE) == 0);
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .iova = in_the_way.iova, .size = in_the_way.size};
    EXPECT(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0);
    its_own_memory_is_its_own_affair();
    free(memory);
}

/* After the one that fails, SPDK gives up the others that it had put off. */
static void registrations_that_were_given_up_are_not_believed(void)
{
    char *memory = aligned_alloc(HUGE_PAGE, 2 * HUGE_PAGE), *given_up = aligned_alloc(HUGE_PAGE, HUGE_PAGE);
    struct vfio_iommu_type1_dma_map in_the_way = {.argsz = sizeof(in_the_way),
                                                  .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                                  .vaddr = (uint64_t)memory + HUGE_PAGE,
                                                  .iova = (uint64_t)memory,
                                                  .size = HUGE_PAGE};
    EXPECT(spdk_mem_register(memory, HUGE_PAGE) == 0);
    EXPECT(spdk_mem_register(given_up, HUGE_PAGE) == 0);
    EXPECT(ioctl(container, VFIO_IOMMU_MAP_DMA, &in_the_way) == 0);
    like_spdk_device_added();
    EXPECT(device_reaches(memory, HUGE_PAGE) != is_plain);
    EXPECT(device_reaches(given_up, HUGE_PAGE) != is_plain);
}

int main(int argc, char **argv)
{
    is_plain = argc > 1 && strcmp(argv[1], "plain") == 0;
    bool is_late = argc > 1 && strcmp(argv[1], "late") == 0;
    device_start();
    container = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(anydma_attach(container, 0) == 0);
    EXPECT(like_spdk_start(container, 0, !is_late) == 0);
    if (is_late) {
        behaviour("registrations_that_were_given_up_are_not_believed",
                  registrations_that_were_given_up_are_not_believed);
        return behaviours_end();
    }
    behaviour("memory_of_malloc_has_iovas", memory_of_malloc_has_iovas);
    behaviour("other_memory_has_iovas", other_memory_has_iovas);
    behaviour("the_length_is_the_one_asked_for", the_length_is_the_one_asked_for);
    behaviour("its_own_memory_is_its_own_affair", its_own_memory_is_its_own_affair);
    behaviour("no_memory_has_no_iova", no_memory_has_no_iova);
    behaviour("every_way_to_the_function_is_the_same", every_way_to_the_function_is_the_same);
    behaviour("a_program_may_register_its_memory", a_program_may_register_its_memory);
    behaviour("a_registration_that_failed_is_not_believed", a_registration_that_failed_is_not_believed);
    return behaviours_end();
}
