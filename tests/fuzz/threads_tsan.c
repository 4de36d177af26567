/* SPDX-License-Identifier: MIT */
/*
 * The registry and the pagemap under ThreadSanitizer, in a plain program: threads look up, hold, unmap and
 * remap units of a memory that is only said to be there, containers come and go. Each unit has one owner, who
 * may say what it must find; everybody looks at everything.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "anydma.h"
#include "dma/attachments.h"
#include "dma/devices.h"
#include "dma/dma.h"
#include "dma/pagemap.h"
#include "dma/pins.h"
#include "dma/registry.h"
#include "dma/stats.h"
#include "iommu/iommu.h"

#define START ((uintptr_t)300 << 30)
#define PAGE ((size_t)4096)
#define UNIT (16 * PAGE)

enum { NR_UNITS = 64, NR_OWNERS = 3, NR_LOOKERS = 2, FD = 100 };

static atomic_bool is_alive[NR_UNITS], is_over;
static atomic_ulong nr_answers, nr_wrong, nr_refused;

static size_t unit_of(uintptr_t va)
{
    return (va - START) / UNIT;
}

static int intact(uintptr_t va, uintptr_t *start, size_t *len)
{
    *start = va & ~(UNIT - 1);
    *len = UNIT;
    return atomic_load(&is_alive[unit_of(va)]) ? 0 : -EFAULT;
}

static int plan(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len)
{
    (void)want_len;
    return intact(va, start, len);
}

static bool is_owned(uintptr_t va)
{
    return va >= START && va < START + NR_UNITS * UNIT;
}

static void nothing(uintptr_t start, size_t len)
{
    (void)start;
    (void)len;
}

static bool next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    (void)cursor;
    (void)end;
    (void)start;
    (void)len;
    return false;
}

static bool retire(uintptr_t start, size_t len)
{
    (void)len;
    return !atomic_load(&is_alive[unit_of(start)]);
}

static bool expose(uintptr_t start, size_t len, bool exposed)
{
    (void)exposed;
    nothing(start, len);
    return false;
}

static bool lump(uintptr_t va, struct memory_lump *found)
{
    (void)va;
    (void)found;
    return false;
}

static const struct memory_ops memory = {
    .plan = plan,
    .intact = intact,
    .lump = lump,
    .is_owned = is_owned,
    .registered = nothing,
    .next_alive = next_alive,
    .prepare = nothing,
    .expose = expose,
    .retire = retire,
    .release = nothing,
};

static int attach(int fd)
{
    struct sim_config config;
    struct iommu iommu;
    sim_config_default(&config);
    config.populate = false;
    if (sim_init(&iommu, &config) != 0)
        abort();
    iommu.fd = fd;
    return attachments_add(&iommu);
}

/* What must be found, and may not be: its owner looks at its own unit. */
static void look(uintptr_t va, bool must)
{
    uint64_t iova;
    size_t run_len;
    int error = pagemap_lookup(va, &iova) ? 0 : registry_lookup(va, 1, &iova, &run_len);
    atomic_fetch_add(error ? &nr_refused : &nr_answers, 1);
    if ((error && must) || (!error && iova != va))
        atomic_fetch_add(&nr_wrong, 1);
}

static void *own(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!atomic_load(&is_over)) {
        size_t unit = (uintptr_t)arg + NR_OWNERS * ((unsigned)rand_r(&seed) % (NR_UNITS / NR_OWNERS));
        uintptr_t va = START + unit * UNIT;
        atomic_store(&is_alive[unit], true);
        look(va + 5, true);
        bool is_held = rand_r(&seed) % 4 == 0 && pins_add(va, UNIT) == 0;
        look(va + 3 * PAGE, true);
        atomic_store(&is_alive[unit], false);
        registry_forget(va, UNIT);
        uint64_t iova;
        if (pagemap_lookup(va, &iova))
            atomic_fetch_add(&nr_wrong, 1);
        if (is_held && pins_remove(va, UNIT) != 0)
            atomic_fetch_add(&nr_wrong, 1);
    }
    return NULL;
}

static void *look_at_all(void *arg)
{
    unsigned seed = 1000 + (unsigned)(uintptr_t)arg;
    struct anydma_stats stats = {0};
    while (!atomic_load(&is_over)) {
        uintptr_t va = START + (size_t)((unsigned)rand_r(&seed) % (NR_UNITS * UNIT));
        look(va, false);
        registry_address(va);
        if (rand_r(&seed) % 64 == 0)
            stats_fill(&stats);
    }
    return NULL;
}

static void *come_and_go(void *arg)
{
    (void)arg;
    for (int fd = FD; !atomic_load(&is_over); fd = FD + (fd + 1) % 3) {
        if (attach(fd) != 0)
            atomic_fetch_add(&nr_wrong, 1);
        devices_duplicated(fd, fd + 10);
        devices_may_know(fd);
        attachments_make_way(fd, 0);
        attachments_restore(fd, 0);
        devices_closing(fd, fd);
        devices_closing(fd + 10, fd + 10);
    }
    return NULL;
}

int main(void)
{
    const struct timespec how_long = {.tv_sec = 3};
    pthread_t threads[NR_OWNERS + NR_LOOKERS + 1];
    struct anydma_stats stats = {0};
    if (pagemap_init() != 0)
        return 1;
    dma_init(&memory);
    if (attach(-1) != 0)
        return 1;
    for (uintptr_t i = 0; i < NR_OWNERS + NR_LOOKERS + 1; i++)
        pthread_create(&threads[i], NULL,
                       i < NR_OWNERS                ? own
                       : i < NR_OWNERS + NR_LOOKERS ? look_at_all
                                                    : come_and_go,
                       (void *)i);
    nanosleep(&how_long, NULL);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < NR_OWNERS + NR_LOOKERS + 1; i++)
        pthread_join(threads[i], NULL);
    registry_forget(START, NR_UNITS * UNIT);
    stats_fill(&stats);
    printf("%lu answers, %lu refusals, %lu wrong; %lu maps; %lu bytes still pinned, %lu failed unmaps\n",
           nr_answers, nr_refused, nr_wrong, stats.maps, stats.pinned, stats.unmap_failures);
    return nr_wrong || stats.pinned || stats.unmap_failures || !nr_answers;
}
