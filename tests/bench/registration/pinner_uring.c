/* SPDX-License-Identifier: MIT */
/* Fixed buffers of io_uring take the long-term pins that VFIO takes. One ring for the bare calls, one behind
 * the simulated IOMMU, alike; linked with -rdynamic. */
#include "registration/pinner.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>

#include "bench.h"
#include "iommu/iommu.h"

enum { NR_SLOTS = 4096, BLOCK_SHIFT = 21 };

struct table {
    struct io_uring ring;
    uint64_t va[NR_SLOTS]; /* 0: free */
};
static struct table bare, behind;

const char *const pinner_name = "uring";

/* The slot that holds `wanted`, searched from where `va` belongs. */
static unsigned find_slot(const struct table *table, uint64_t va, uint64_t wanted)
{
    unsigned slot = (unsigned)(va >> BLOCK_SHIFT) % NR_SLOTS;
    for (unsigned i = 0; i < NR_SLOTS; i++, slot = (slot + 1) % NR_SLOTS)
        if (table->va[slot] == wanted)
            return slot;
    return NR_SLOTS;
}

static int set_buffer(struct table *table, unsigned slot, uint64_t va, uint64_t len)
{
    struct iovec buffer = {(void *)(uintptr_t)va, len};
    int n = io_uring_register_buffers_update_tag(&table->ring, slot, &buffer, NULL, 1);
    return n == 1 ? 0 : n < 0 ? n : -EIO;
}

static int table_map(struct table *table, uint64_t va, uint64_t len)
{
    unsigned slot = find_slot(table, va, 0);
    int error = slot == NR_SLOTS ? -ENOSPC : set_buffer(table, slot, va, len);
    if (!error)
        table->va[slot] = va;
    return error;
}

static int table_unmap(struct table *table, uint64_t va)
{
    unsigned slot = find_slot(table, va, va);
    if (slot == NR_SLOTS)
        return -ENOENT;
    table->va[slot] = 0;
    return set_buffer(table, slot, 0, 0);
}

static int mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    (void)iova;
    return table_map(&behind, va, len);
}

static void unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    (void)iova;
    (void)len;
    table_unmap(&behind, va);
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device = {mapped, unmapped, NULL};
extern const char anydma_sim_device_pins;
const char anydma_sim_device_pins = 1;

static void open_table(struct table *table)
{
    bench_require(io_uring_queue_init(8, &table->ring, 0) == 0, "no io_uring");
    bench_require(io_uring_register_buffers_sparse(&table->ring, NR_SLOTS) == 0, "no table of buffers");
}

void pinner_open(const char *device)
{
    (void)device;
    open_table(&bare);
    open_table(&behind);
}

int pinner_map(uint64_t va, uint64_t len)
{
    return table_map(&bare, va, len);
}

int pinner_unmap(uint64_t va, uint64_t len)
{
    (void)len;
    return table_unmap(&bare, va);
}
