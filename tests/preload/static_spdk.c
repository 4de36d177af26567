/* SPDX-License-Identifier: MIT */
/*
 * A program with SPDK (its stand-in) linked into it, its I/O in malloc'ed memory: what SPDK's map says of memory that comes
 * and goes. An argument names another way to run it: "limit" with a small ANYDMA_LIMIT, "lazy" in lazy mode, "plain" without
 * the bridge.
 */
#include "../standins/spdk.h"
#include "device.h"
#include "expect.h"

#include <fcntl.h>
#include <linux/vfio.h>
#include <malloc.h>
#include <sys/ioctl.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };
static const char *way = "";
static int container;

/* What a driver would do with it: refused, or everything that SPDK says of it leads a device there. */
enum answer { REFUSED, RIGHT, WRONG };

static enum answer ask(char *memory, size_t len)
{
    static char wrote[4 << 20];
    for (size_t at = 0; at < len;) {
        uint64_t run = len - at, iova = spdk_vtophys(memory + at, &run);
        if (iova == SPDK_VTOPHYS_ERROR)
            return REFUSED;
        memset(wrote, (int)(at >> 12) + 1, run);
        if (device_write_all(iova, wrote, run) != 0 || memcmp(memory + at, wrote, run) != 0)
            return WRONG;
        at += run;
    }
    return RIGHT;
}

static void memory_of_malloc_has_iovas(void)
{
    static const size_t sizes[] = {512, 4096, 4608, 65536, 1 << 20, 3 << 20}, offsets[] = {0, 4, 516, 4092};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t o = 0; o < sizeof(offsets) / sizeof(*offsets); o++) {
            char *memory = malloc(sizes[s] + offsets[o]);
            EXPECT(ask(memory + offsets[o], sizes[s]) == RIGHT);
            free(memory);
        }
}

static unsigned next_random(void)
{
    static unsigned state = 1;
    return state = state * 1103515245 + 12345;
}

/* Whatever malloc, trim, mmap and purges have done before. */
static void memory_that_comes_and_goes_has_iovas(void)
{
    enum { NR_BLOCKS = 64 };
    static char *blocks[NR_BLOCKS];
    for (unsigned i = 0; i < 4000; i++) {
        unsigned random = next_random(), n = (random >> 16) % NR_BLOCKS;
        size_t size = (size_t)64 << (random >> 8) % 15;
        free(blocks[n]);
        blocks[n] = malloc(size);
        if (i % 8 == 0)
            EXPECT(ask(blocks[n], size) == RIGHT);
        if (i % 100 == 0)
            malloc_trim(0);
        char *mapped = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (i % 16 == 0)
            EXPECT(ask(mapped, size) == RIGHT);
        if (i % 3)
            munmap(mapped, size + PAGE);
        else if (i % 9 == 0)
            madvise(mapped, size + PAGE, MADV_DONTNEED);
    }
}

static void what_is_not_registered_is_refused(void)
{
    char *reserve =
        mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *constant = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char stack[PAGE];
    uint64_t len = PAGE;
    reserve[0] = 1;
    EXPECT(ask(reserve, PAGE) != WRONG);
    EXPECT(spdk_vtophys(constant, &len) == SPDK_VTOPHYS_ERROR);
    EXPECT(mprotect(constant + PAGE, PAGE, PROT_READ | PROT_WRITE) ==
           0); /* registered, in the same of SPDK's pages */
    EXPECT(spdk_vtophys(constant, &len) == SPDK_VTOPHYS_ERROR);
    EXPECT(ask(stack, PAGE) == REFUSED);
    munmap(reserve, 4 << 20);
    munmap(constant, 2 * PAGE);
}

static void what_becomes_writable_has_iovas(void)
{
    char *memory = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(mprotect(memory, 64 * PAGE, PROT_READ | PROT_WRITE) == 0);
    EXPECT(ask(memory, 64 * PAGE) == RIGHT);
    munmap(memory, 64 * PAGE);
}

static void what_is_unmapped_is_forgotten(void)
{
    char *memory = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(ask(memory, 4 << 20) == RIGHT);
    munmap(memory, 8 << 20);
    EXPECT(spdk_vtophys(memory, NULL) == SPDK_VTOPHYS_ERROR);
}

static void a_program_may_register_its_memory(void)
{
    char *memory = aligned_alloc(HUGE_PAGE, HUGE_PAGE);
    EXPECT(spdk_mem_register(memory, HUGE_PAGE) == 0);
    EXPECT(ask(memory, HUGE_PAGE) == RIGHT);
    EXPECT(spdk_mem_unregister(memory, HUGE_PAGE) == 0);
    EXPECT(ask(memory, HUGE_PAGE) != WRONG);
    free(memory);
}

/* The limit is reached in the middle of one of SPDK's pages, in which mappings go on coming and going. */
static void what_is_left_out_is_refused(void)
{
    enum { NR = 1400, BYTES = 48 << 10 };
    static char *blocks[NR];
    unsigned counts[3] = {0};
    for (unsigned i = 0; i < NR; i++) {
        blocks[i] = i % 2 ? malloc(BYTES)
                          : mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        counts[ask(blocks[i], BYTES)]++;
    }
    for (unsigned i = 0; i < NR; i += 10)
        munmap(blocks[i], BYTES);
    for (unsigned i = 0; i < NR; i++)
        if (i % 10)
            counts[ask(blocks[i], BYTES)]++;
    fprintf(stderr, "%u right, %u refused, %u wrong\n", counts[RIGHT], counts[REFUSED], counts[WRONG]);
    EXPECT(counts[RIGHT] > 0 && counts[REFUSED] > 0 && counts[WRONG] == 0);
}

/* An entry is written from within malloc: nothing may have to be allocated for it. */
static void entries_need_no_memory(void)
{
    EXPECT(like_spdk_nr_tables() >= 256);
}

static void everything_is_refused(void)
{
    for (size_t size = 64; size <= 4 << 20; size *= 4) {
        char *memory = malloc(size);
        EXPECT(ask(memory, size) == REFUSED);
        free(memory);
    }
}

static void its_own_memory_is_its_own_affair(void)
{
    EXPECT(ask(spdk_zmalloc(3 * PAGE, PAGE), 3 * PAGE) == RIGHT);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        way = argv[1];
    device_start();
    container = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(anydma_attach(container, 0) == 0);
    ioctl(container, VFIO_DEVICE_GET_INFO, NULL); /* before SPDK has its maps */
    EXPECT(like_spdk_start(container, 0, true) == 0);
    ioctl(container, VFIO_DEVICE_GET_INFO, NULL);
    behaviour("its_own_memory_is_its_own_affair", its_own_memory_is_its_own_affair);
    if (strcmp(way, "limit") == 0) {
        behaviour("what_is_left_out_is_refused", what_is_left_out_is_refused);
    } else if (*way) {
        behaviour("everything_is_refused", everything_is_refused);
    } else {
        behaviour("entries_need_no_memory", entries_need_no_memory);
        behaviour("memory_of_malloc_has_iovas", memory_of_malloc_has_iovas);
        behaviour("memory_that_comes_and_goes_has_iovas", memory_that_comes_and_goes_has_iovas);
        behaviour("what_is_not_registered_is_refused", what_is_not_registered_is_refused);
        behaviour("what_becomes_writable_has_iovas", what_becomes_writable_has_iovas);
        behaviour("what_is_unmapped_is_forgotten", what_is_unmapped_is_forgotten);
        behaviour("a_program_may_register_its_memory", a_program_may_register_its_memory);
    }
    return behaviours_end();
}
