/* SPDX-License-Identifier: MIT */
/*
 * Needs no device: prints what each kind of allocation maps to, address, IOVA and whether they are the same,
 * or the reason why there is none.
 *
 *     anydma run --iommu=sim -- where
 */
#include "anydma.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20 };

static char global_data[4 * PAGE] = "initialised";
static char global_zero[4 * PAGE];
static const char global_constant[4 * PAGE] = "read-only";

static void show(const char *kind, const void *addr)
{
    if (!addr || addr == MAP_FAILED) {
        printf("%-34s could not be had\n", kind);
        return;
    }
    uint64_t iova = anydma_iova(addr);
    if (iova == ANYDMA_BAD_IOVA)
        printf("%-34s %#14lx  none: %s\n", kind, (unsigned long)addr, strerror(errno));
    else
        printf("%-34s %#14lx  %#14lx  %s\n", kind, (unsigned long)addr, (unsigned long)iova,
               iova == (uintptr_t)addr ? "identity" : "window");
}

static void *map(int prot, int flags, int fd)
{
    return mmap(NULL, 4 * PAGE, prot, flags, fd, 0);
}

static void show_heap(void)
{
    char *grown = realloc(malloc(PAGE), 3 * MIB);
    show("malloc(24)", malloc(24));
    show("malloc(64 KiB)", malloc(64 << 10));
    show("malloc(8 MiB)", malloc(8 * MIB));
    show("calloc(1 MiB)", calloc(1, MIB));
    show("aligned_alloc(4096)", aligned_alloc(PAGE, PAGE));
    show("realloc(4 KiB to 3 MiB)", grown);
    show("  the middle of it", grown ? grown + 2 * MIB - 1 : NULL);
}

static void show_mappings(void)
{
    const int rw = PROT_READ | PROT_WRITE;
    FILE *file = tmpfile();
    int memfd = memfd_create("where", MFD_CLOEXEC);

    show("mmap, anonymous private", map(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1));
    show("mmap, anonymous shared", map(rw, MAP_SHARED | MAP_ANONYMOUS, -1));
    show("mmap, read-only", map(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1));
    show("mmap, no access", map(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1));
    if (memfd >= 0 && ftruncate(memfd, 4 * PAGE) == 0)
        show("shared memory (memfd)", map(rw, MAP_SHARED, memfd));
    if (file && ftruncate(fileno(file), 4 * PAGE) == 0) {
        show("file, private mapping", map(rw, MAP_PRIVATE, fileno(file)));
        show("file, shared mapping", map(rw, MAP_SHARED, fileno(file)));
    }
}

static void *show_own_stack(void *arg)
{
    char local[PAGE] = {0};
    show("a thread's stack", local);
    return arg;
}

static void show_the_rest(void)
{
    static _Thread_local char thread_local_data[64];
    char local[PAGE] = {0};
    pthread_t thread;

    show("global, initialised (.data)", global_data);
    show("global, zero (.bss)", global_zero + 2 * PAGE); /* the first page is shared with .data */
    show("global, constant (.rodata)", global_constant);
    show("thread-local data", thread_local_data);
    show("the main stack", local);
    if (pthread_create(&thread, NULL, show_own_stack, NULL) == 0)
        pthread_join(thread, NULL);
    show("unmapped address", (const void *)(uintptr_t)PAGE);
}

static void show_summary(void)
{
    struct anydma_stats stats;
    if (anydma_stats(&stats, sizeof(stats)) < 0)
        return;
    printf("\nanydma %s: %lu device container(s), %lu ranges registered, %lu KiB pinned\n", anydma_version(),
           (unsigned long)stats.containers, (unsigned long)stats.registrations,
           (unsigned long)stats.pinned >> 10);
}

int main(void)
{
    if (!anydma_active())
        printf("libanydma.so.0 is not loaded (try `anydma run --iommu=sim -- where`): no address has an "
               "IOVA\n\n");
    printf("%-34s %14s  %14s\n", "memory", "address", "IOVA");
    show_heap();
    show_mappings();
    show_the_rest();
    show_summary();
    return 0;
}
