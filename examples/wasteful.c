/* SPDX-License-Identifier: MIT */
/*
 * Needs no device. Wasteful on purpose, for the profiler: each session reads its start-up data into a large
 * buffer and keeps the first part of it as a queue for a device. The queues lie far apart, and each keeps a
 * whole unit of 2 MiB pinned for itself.
 *
 *     anydma run --iommu=sim -o wasteful.cap -- wasteful && anydma report wasteful.cap
 *
 * The report shows where: give_to_device pins much and uses little of it, make_ring uses all that it pins.
 */
#include "anydma.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { NR_SESSIONS = 24, QUEUE_BYTES = 64 << 10, BUFFER_BYTES = 4 << 20, RING_BYTES = 8 << 20 };

static void fail(const char *what)
{
    perror(what);
    fprintf(stderr, "wasteful: run it with: anydma run --iommu=sim -- wasteful\n");
    exit(1);
}

static char *make_queue(void)
{
    char *buffer = malloc(BUFFER_BYTES);
    if (!buffer)
        fail("malloc");
    memset(buffer, 1, BUFFER_BYTES);
    return realloc(buffer, QUEUE_BYTES);
}

static void give_to_device(const char *queue)
{
    uint64_t iova;
    if ((errno = -anydma_iova_range(queue, QUEUE_BYTES, &iova)) != 0)
        fail("no IOVA for a queue");
}

static void make_ring(void)
{
    char *ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t iova;
    if (ring == MAP_FAILED || (errno = -anydma_iova_range(ring, RING_BYTES, &iova)) != 0)
        fail("no IOVA for the ring");
    memset(ring, 1, RING_BYTES);
}

int main(void)
{
    char *queues[NR_SESSIONS];
    struct anydma_stats stats;
    make_ring();
    for (int i = 0; i < NR_SESSIONS; i++)
        queues[i] = make_queue();
    malloc_trim(0);
    for (int i = 0; i < NR_SESSIONS; i++)
        give_to_device(queues[i]);

    if (anydma_stats(&stats, sizeof(stats)) == 0)
        printf("%d queues of %d KiB and a ring of %d MiB keep %llu MiB pinned\n", NR_SESSIONS,
               QUEUE_BYTES >> 10, RING_BYTES >> 20, (unsigned long long)stats.pinned >> 20);
    return 0;
}
