/* SPDX-License-Identifier: MIT */
/*
 * What the registry's tests put below and above it: memory in units of 16 pages of which each page is alive
 * or not, and a backend, the simulated one, that fails when it is told to. Nothing is really mapped at the
 * addresses.
 */
#ifndef TESTS_UNIT_FAKE_MEMORY_H
#define TESTS_UNIT_FAKE_MEMORY_H

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>

#include "anydma.h"
#include "dma/application.h"
#include "dma/attachments.h"
#include "dma/dma.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "dma/stats.h"
#include "iommu/iommu.h"

#define START (((uintptr_t)300 << 30) + PAGEMAP_BLOCK_SIZE * 7 / 8) /* in two blocks */
#define PAGE ((size_t)4096)
#define UNIT (16 * PAGE)

enum { NR_PAGES = 256 };

static bool is_page_alive[NR_PAGES], is_page_stale[NR_PAGES];
static unsigned nr_released __attribute__((unused));

static size_t page_of(uintptr_t va)
{
    return (va - START) / PAGE;
}

static int fake_intact(uintptr_t va, uintptr_t *start, size_t *len)
{
    if (va < START || va >= START + NR_PAGES * PAGE ||
        (!is_page_alive[page_of(va)] && !is_page_stale[page_of(va)]))
        return -EFAULT;
    if (is_page_stale[page_of(va)])
        return -ESTALE;
    uintptr_t low = va & ~(UNIT - 1);
    *start = va & ~(PAGE - 1);
    uintptr_t end = *start + PAGE;
    while (*start > low && is_page_alive[page_of(*start - PAGE)])
        *start -= PAGE;
    while (end < low + UNIT && is_page_alive[page_of(end)])
        end += PAGE;
    *len = end - *start;
    return 0;
}

static int fake_plan(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len)
{
    (void)want_len;
    return fake_intact(va, start, len);
}

static bool fake_is_owned(uintptr_t va)
{
    return va >= START && va < START + NR_PAGES * PAGE;
}

static void fake_registered(uintptr_t start, size_t len)
{
    (void)start;
    (void)len;
}

static bool fake_next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    size_t i = *cursor < START ? 0 : page_of(*cursor),
           last = end < START + NR_PAGES * PAGE ? page_of(end) : NR_PAGES;
    while (i < last && !is_page_alive[i])
        i++;
    *start = START + i * PAGE;
    for (*len = 0; i < last && is_page_alive[i]; i++)
        *len += PAGE;
    *cursor = *start + *len;
    return *len;
}

static bool fake_retire(uintptr_t start, size_t len)
{
    for (size_t i = page_of(start); i < page_of(start + len); i++)
        if (is_page_alive[i])
            return false;
    return true;
}

static void fake_release(uintptr_t start, size_t len)
{
    for (size_t i = page_of(start); i < page_of(start + len); i++)
        is_page_stale[i] = false;
    nr_released++;
}

static int fail_map;
static unsigned
    nr_in_flight; /* another thread ends its unmapping of a part after so many questions; then maps succeed */

static bool fake_expose(uintptr_t start, size_t len, bool exposed)
{
    (void)start;
    (void)len;
    if (!exposed || !nr_in_flight)
        return false;
    if (--nr_in_flight == 0)
        fail_map = 0;
    return true;
}

/* All of it comes and goes page by page. */
static bool fake_lump(uintptr_t va, struct memory_lump *lump)
{
    (void)va;
    (void)lump;
    return false;
}

static const struct memory_ops fake_memory = {
    .plan = fake_plan,
    .intact = fake_intact,
    .lump = fake_lump,
    .is_owned = fake_is_owned,
    .registered = fake_registered,
    .next_alive = fake_next_alive,
    .prepare = fake_registered,
    .expose = fake_expose,
    .retire = fake_retire,
    .release = fake_release,
};

/* --- the backend ---------------------------------------------------------------------------------- */

static int fail_unmap, fail_forward __attribute__((unused));
static bool unmaps_nothing;
static bool has_iommu __attribute__((unused)) =
    true; /* false: it has ended, with everything that was mapped */
enum { MAX_SPACES = 16 };
static bool lacks_device[MAX_SPACES]; /* by the address space's number */
static unsigned nr_copies;
static const struct iommu_ops *sim_ops;

static int fake_query(struct iommu *iommu, struct iommu_info *info)
{
    int error = has_iommu ? sim_ops->query(iommu, info) : -ENODEV;
    if (!error && iommu->ioas_id)
        info->is_idle = lacks_device[iommu->ioas_id];
    return error;
}

static bool wants_alive __attribute__((unused)); /* pins nothing else */

static bool is_all_alive(uintptr_t start, size_t len)
{
    return !memchr(is_page_alive + page_of(start), false, len / PAGE);
}

static int fake_map(struct iommu *iommu, uint64_t iova, uint64_t va, uint64_t len)
{
    if (wants_alive && !is_all_alive(va, len))
        return -EFAULT;
    return !has_iommu ? -EINVAL : fail_map ? fail_map : sim_ops->map(iommu, iova, va, len);
}

static int fake_unmap(struct iommu *iommu, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    *unmapped = 0;
    if (!has_iommu)
        return -EINVAL;
    if (fail_unmap || unmaps_nothing)
        return fail_unmap;
    return sim_ops->unmap(iommu, iova, len, unmapped);
}

/* What is there is there at the same address: that is all that the tests copy. */
static int fake_copy(struct iommu *iommu, const struct iommu *from, uint64_t iova, uint64_t len)
{
    uint64_t va;
    int error = sim_translate((struct iommu *)from, iova, &va);
    nr_copies++;
    return error ? error : fake_map(iommu, iova, va, len);
}

static int fake_forward(struct iommu *iommu, unsigned long request, void *arg)
{
    return fail_forward ? fail_forward : sim_ops->forward(iommu, request, arg);
}

/* A container that answers to descriptor `fd`. */
__attribute__((unused)) static struct iommu fake_container(int fd, uint64_t max_entries, uint64_t last_iova)
{
    static struct iommu_ops ops;
    struct sim_config sim;
    struct iommu iommu;
    sim_config_default(&sim);
    sim.populate = false;
    sim.max_entries = max_entries;
    sim.ranges[sim.nr_ranges - 1].last = last_iova;
    cr_assert_eq(sim_init(&iommu, &sim), 0);
    sim_ops = iommu.ops;
    ops = *iommu.ops;
    ops.query = fake_query;
    ops.map = fake_map;
    ops.unmap = fake_unmap;
    ops.forward = fake_forward;
    ops.copy = fake_copy;
    iommu.ops = &ops;
    iommu.fd = fd;
    return iommu;
}

__attribute__((unused)) static int attach_fake(int fd, uint64_t max_entries, uint64_t last_iova)
{
    struct iommu iommu = fake_container(fd, max_entries, last_iova);
    return attachments_add(&iommu);
}

/* The application's own calls, as the door reads them. */
__attribute__((unused)) static int app_map_at(int fd, uint64_t iova, uintptr_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map), .flags = 3, .vaddr = va, .iova = iova, .size = len};
    return application_map(&(struct dma_request){.fd = fd,
                                                 .call = VFIO_IOMMU_MAP_DMA,
                                                 .arg = &map,
                                                 .is_plain = true,
                                                 .is_accessible = true,
                                                 .iova = iova,
                                                 .va = va,
                                                 .len = len});
}

/* Returns the bytes that were unmapped, or -errno. */
__attribute__((unused)) static int64_t app_unmap_at(int fd, uint64_t iova, uint64_t len, bool is_all)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .flags = is_all ? VFIO_DMA_UNMAP_FLAG_ALL : 0, .iova = iova, .size = len};
    int error = application_unmap(&(struct dma_request){.fd = fd,
                                                        .call = VFIO_IOMMU_UNMAP_DMA,
                                                        .arg = &unmap,
                                                        .is_plain = true,
                                                        .is_all = is_all,
                                                        .is_divisible = true,
                                                        .iova = iova,
                                                        .len = len,
                                                        .undone = (uint64_t *)&unmap.size});
    return error ? error : (int64_t)unmap.size;
}

__attribute__((unused)) static void set_alive(size_t first, size_t nr, bool alive)
{
    memset(is_page_alive + first, alive, nr);
}

__attribute__((unused)) static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats = {0};
    stats_fill(&stats);
    return stats;
}

/* A lookup: the IOVA, or the negative error. */
__attribute__((unused)) static int64_t look_up(size_t page)
{
    uint64_t iova = 0;
    size_t run_len = 0;
    int error = registry_lookup(START + page * PAGE, 1, &iova, &run_len);
    return error ? error : (int64_t)iova;
}

__attribute__((unused)) static void start_registry(void)
{
    cr_assert_eq(pagemap_init(), 0);
    dma_init(&fake_memory);
    set_alive(0, NR_PAGES / 2, true);
}

#endif
