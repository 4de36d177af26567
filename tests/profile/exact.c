/* SPDX-License-Identifier: MIT */
/* Pins from three functions, lets some go, and prints what each of them pinned by anydma_stats, and the
 * totals: tests/profile/exact.sh compares the capture's report with that, byte for byte. */
#include "anydma.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct anydma_stats stats(void)
{
    struct anydma_stats now;
    if (anydma_stats(&now, sizeof(now)) != 0)
        exit(1);
    return now;
}

static char *map(size_t len)
{
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void look_up(const void *addr, size_t len)
{
    uint64_t iova;
    if (anydma_iova_range(addr, len, &iova) < 0 && anydma_segments(addr, len, NULL, 0) < 0)
        exit(2);
}

__attribute__((noinline)) static void pins_mappings(void)
{
    for (int i = 1; i <= 20; i++)
        look_up(map((size_t)i * 8192), (size_t)i * 8192);
}

__attribute__((noinline)) static void pins_heap(void)
{
    anydma_label_push("heap");
    for (int i = 0; i < 50; i++)
        look_up(malloc(300000), 300000);
    anydma_label_pop();
}

__attribute__((noinline)) static void pins_and_lets_go(void)
{
    for (int i = 0; i < 30; i++) {
        char *p = map(3 << 20);
        look_up(p, 3 << 20);
        if (i % 3)
            munmap(p, 3 << 20);
    }
}

static void *in_thread(void *unused)
{
    (void)unused;
    look_up(map(1 << 20), 1 << 20);
    return NULL;
}

static void measure(const char *name, void (*function)(void))
{
    uint64_t before = stats().pinned;
    function();
    printf("site %s %" PRIu64 "\n", name, stats().pinned - before);
}

int main(void)
{
    pthread_t thread;
    measure("pins_mappings", pins_mappings);
    measure("pins_heap", pins_heap);
    measure("pins_and_lets_go", pins_and_lets_go);
    uint64_t before = stats().pinned;
    if (pthread_create(&thread, NULL, in_thread, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    printf("site in_thread %" PRIu64 "\n", stats().pinned - before);
    anydma_iova((void *)16);
    struct anydma_stats s = stats();
    printf("total %" PRIu64 " peak %" PRIu64 " maps %" PRIu64 " unmaps %" PRIu64 " registrations %" PRIu64
           " refused %" PRIu64 "\n",
           s.pinned, s.pinned_peak, s.maps, s.unmaps, s.registrations, s.lookups_refused);
    fflush(stdout);
    _exit(0); /* nothing is let go behind our back */
}
