/* SPDX-License-Identifier: MIT */
/*
 * The in-process IOMMU: the kernel's rules about what may be mapped and unmapped, without a device behind
 * them. LOCK_REGISTRY guards the state here too; tests/vm/sim_vs_kernel.c compares the rules with a real container, errno for
 * errno. Left out: a shared mapping of a file on disk counts as pinnable; and of iommufd what the registry never asks for, so that
 * the program's own calls go to the kernel or nowhere: IOVAs that the kernel chooses (and ALLOW_IOVAS, which binds these),
 * MAP_FILE, OPTION, page tables. Pages are counted for what was mapped first, not for what is copied of it and outlives it. The
 * numbers of address spaces, DESTROY among them, are the registry's: each is an object here.
 */
#include <bsd/sys/tree.h>
#include <errno.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "base/pool.h"
#include "iommu/iommu.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct mapping {
    RB_ENTRY(mapping) link;
    uint64_t iova;
    uint64_t last; /* inclusive */
    uint64_t va;
    bool is_copy; /* its pages are counted where they were mapped first */
};

RB_HEAD(mapping_tree, mapping);

struct sim {
    struct sim_config config;
    struct mapping_tree tree; /* by IOVA, disjoint */
    uint64_t bytes;
    uint64_t entries;
};

static struct pool sims = POOL_OF(struct sim);
static struct pool mappings = POOL_OF(struct mapping);

static int compare_iova(const struct mapping *a, const struct mapping *b)
{
    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

RB_GENERATE_INTERNAL(mapping_tree, mapping, link, compare_iova, __attribute__((unused)) static)

static struct sim *sim_of(const struct iommu *iommu)
{
    return iommu->state;
}

static uint64_t mapping_len(const struct mapping *mapping)
{
    return mapping->last - mapping->iova + 1;
}

/* The lowest mapping that holds `iova` or lies above it; NULL if there is none. */
static struct mapping *find_from(struct sim *sim, uint64_t iova)
{
    struct mapping *found = NULL;
    for (struct mapping *m = RB_ROOT(&sim->tree); m;) {
        if (m->last >= iova) {
            found = m;
            m = RB_LEFT(m, link);
        } else {
            m = RB_RIGHT(m, link);
        }
    }
    return found;
}

static bool is_anything_mapped(struct sim *sim, uint64_t iova, uint64_t last)
{
    const struct mapping *m = find_from(sim, iova);
    return m && m->iova <= last;
}

/* Whether a mapping lies on both sides of the border below `iova`. */
static bool is_bisected_at(struct sim *sim, uint64_t iova)
{
    const struct mapping *m = find_from(sim, iova);
    return m && m->iova < iova;
}

static bool is_in_aperture(const struct sim *sim, uint64_t iova, uint64_t last)
{
    for (unsigned i = 0; i < sim->config.nr_ranges; i++)
        if (iova >= sim->config.ranges[i].start && last <= sim->config.ranges[i].last)
            return true;
    return false;
}

static bool is_aligned(const struct sim *sim, uint64_t value)
{
    uint64_t smallest = sim->config.page_sizes & -sim->config.page_sizes;
    return (value & (smallest - 1)) == 0;
}

static bool is_wrapping(uint64_t start, uint64_t len)
{
    return start + len - 1 < start;
}

/* To type1 of 6.1 and 6.12, a range that ends with the address space ends at 0: nothing is found in it. */
static bool ends_unseen(const struct sim *sim, uint64_t iova, uint64_t len)
{
    return !sim->config.ends_are_seen && iova + len == 0;
}

/* What type1 says of a range that wraps. */
static int wrap_error(const struct sim *sim)
{
    return sim->config.ends_are_seen ? -EOVERFLOW : -EINVAL;
}

/* The order of these checks is the kernel's: it decides which error a doubly wrong call gets. */
static int check_map_type1(struct sim *sim, uint64_t iova, uint64_t va, uint64_t len)
{
    if (len == 0)
        return -EINVAL;
    if (is_wrapping(iova, len) || is_wrapping(va, len))
        return wrap_error(sim);
    if (!is_aligned(sim, len | iova | va))
        return -EINVAL;
    if (!ends_unseen(sim, iova, len) && is_anything_mapped(sim, iova, iova + len - 1))
        return -EEXIST;
    if (sim->entries >= sim->config.max_entries)
        return -ENOSPC;
    return is_in_aperture(sim, iova, iova + len - 1) ? 0 : -EINVAL;
}

/* Of the place that a mapping is to have; before its own pages are looked at, and after those that are copied. */
static int check_place_iommufd(struct sim *sim, uint64_t iova, uint64_t len)
{
    if (!is_aligned(sim, len | iova))
        return -EINVAL;
    if (is_wrapping(iova, len))
        return -EOVERFLOW;
    if (!is_in_aperture(sim, iova, iova + len - 1))
        return -EINVAL;
    return is_anything_mapped(sim, iova, iova + len - 1) ? -EEXIST : 0;
}

static int check_map_iommufd(struct sim *sim, uint64_t iova, uint64_t va, uint64_t len)
{
    if (iova == UINT64_MAX || len == UINT64_MAX)
        return -EOVERFLOW;
    if (sim->config.ends_are_seen && va + len < va)
        return -EOVERFLOW;
    if (len == 0 || len > UINT64_MAX - OS_PAGE_SIZE)
        return -EINVAL;
    if (va + len < va)
        return -EOVERFLOW;
    int error = check_place_iommufd(sim, iova, len);
    return error || is_aligned(sim, va) ? error : -EINVAL;
}

/* Faults the pages in for writing, as a pin would. A kernel that doesn't know this advice (before 5.14)
 * refuses it for no bytes too: nothing can be learnt there, and all memory counts as pinnable. */
static bool can_pin(uint64_t va, uint64_t len)
{
    if (os_madvise(va, len, MADV_POPULATE_WRITE) == 0)
        return true;
    return os_madvise(0, 0, MADV_POPULATE_WRITE) != 0;
}

/* type1 pins page by page, up to the first that it can't pin or that exceeds the limit: the first one decides.
 * iommufd pins first, and counts then. */
static int pin(const struct sim *sim, uint64_t va, uint64_t len)
{
    uint64_t limit = sim->config.memlock_bytes & ~(uint64_t)(OS_PAGE_SIZE - 1);
    uint64_t room = limit > sim->bytes ? limit - sim->bytes : 0;
    bool is_fitting = len <= room, is_counted_first = sim->config.rules != SIM_IOMMUFD;
    if (sim->config.populate && !can_pin(va, is_fitting || !is_counted_first ? len : room + OS_PAGE_SIZE))
        return -EFAULT;
    return is_fitting ? 0 : -ENOMEM;
}

static int insert(struct sim *sim, uint64_t iova, uint64_t va, uint64_t len, bool is_copy)
{
    const struct sim_config *config = &sim->config;
    struct mapping *mapping = pool_take(&mappings);
    int error;
    if (!mapping)
        return -ENOMEM;
    error = config->mapped ? config->mapped(config->arg, iova, va, len) : 0;
    if (error) {
        pool_give(&mappings, mapping);
        return error;
    }
    mapping->iova = iova;
    mapping->last = iova + len - 1;
    mapping->va = va;
    mapping->is_copy = is_copy;
    RB_INSERT(mapping_tree, &sim->tree, mapping);
    sim->bytes += is_copy ? 0 : len;
    sim->entries++;
    return 0;
}

static int sim_map(struct iommu *iommu, uint64_t iova, uint64_t va, uint64_t len)
{
    struct sim *sim = sim_of(iommu);
    int error = sim->config.rules == SIM_IOMMUFD ? check_map_iommufd(sim, iova, va, len)
                                                 : check_map_type1(sim, iova, va, len);
    if (!error)
        error = pin(sim, va, len);
    return error ? error : insert(sim, iova, va, len, false);
}

static void drop_mapping(struct sim *sim, struct mapping *mapping)
{
    const struct sim_config *config = &sim->config;
    uint64_t len = mapping_len(mapping);
    RB_REMOVE(mapping_tree, &sim->tree, mapping);
    sim->bytes -= mapping->is_copy ? 0 : len;
    sim->entries--;
    if (config->unmapped)
        config->unmapped(config->arg, mapping->iova, mapping->va, len);
    pool_give(&mappings, mapping);
}

static uint64_t drop_all(struct sim *sim)
{
    uint64_t dropped = 0;
    for (struct mapping *m; (m = RB_ROOT(&sim->tree));) {
        dropped += mapping_len(m);
        drop_mapping(sim, m);
    }
    return dropped;
}

/* Whether all of it is mapped, by one mapping or by several that follow one another. */
static bool is_all_mapped(struct sim *sim, uint64_t iova, uint64_t last)
{
    const struct mapping *m;
    while ((m = find_from(sim, iova)) && m->iova <= iova) {
        if (m->last >= last)
            return true;
        iova = m->last + 1;
    }
    return false;
}

/* In the kernel's order, as above. */
static int check_copy(struct sim *sim, uint64_t iova, struct sim *from, uint64_t from_iova, uint64_t len)
{
    if (iova == UINT64_MAX || from_iova == UINT64_MAX || len == UINT64_MAX)
        return -EOVERFLOW;
    if (len == 0)
        return -EINVAL;
    if (is_wrapping(from_iova, len))
        return -EOVERFLOW;
    if (!is_all_mapped(from, from_iova, from_iova + len - 1))
        return -ENOENT;
    return check_place_iommufd(sim, iova, len);
}

/* One mapping of the copied range: what of it a single one of the other's has. */
struct stretch {
    uint64_t va, len;
};

static struct stretch stretch_of(struct sim *from, uint64_t iova, uint64_t last)
{
    const struct mapping *m = find_from(from, iova);
    return (struct stretch){m->va + (iova - m->iova), (m->last < last ? m->last : last) - iova + 1};
}

/* Undoes [start, start + len) of what a copy has made. */
static void drop_stretches(struct sim *sim, uint64_t start, uint64_t len)
{
    for (struct mapping *m; len && (m = find_from(sim, start)) && m->iova <= start + (len - 1);)
        drop_mapping(sim, m);
}

int sim_copy(struct iommu *iommu, uint64_t iova, const struct iommu *other, uint64_t from_iova, uint64_t len)
{
    struct sim *sim = sim_of(iommu), *from = sim_of(other);
    int error = check_copy(sim, iova, from, from_iova, len);
    struct stretch stretch;
    for (uint64_t done = 0; !error && done < len; done += stretch.len) {
        stretch = stretch_of(from, from_iova + done, from_iova + len - 1);
        error = is_aligned(sim, stretch.va) ? 0 : -EINVAL;
    }
    for (uint64_t done = 0; !error && done < len; done += stretch.len) {
        stretch = stretch_of(from, from_iova + done, from_iova + len - 1);
        if (sim->config.populate && !can_pin(stretch.va, stretch.len)) /* pinned nowhere yet */
            error = -EFAULT;
        else
            error = insert(sim, iova + done, stretch.va, stretch.len, true);
        if (error)
            drop_stretches(sim, iova, done);
    }
    return error;
}

static int sim_copy_whole(struct iommu *iommu, const struct iommu *from, uint64_t iova, uint64_t len)
{
    return sim_copy(iommu, iova, from, iova, len);
}

/* v1 undoes whole mappings from their first byte on, even past the end of the range, and reports what it
 * undid; it does nothing at all, and calls that success, when the range starts inside a mapping. v2 refuses
 * both. */
static int unmap_type1(struct sim *sim, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    if (len == 0 || !is_aligned(sim, iova | len))
        return -EINVAL;
    if (is_wrapping(iova, len))
        return wrap_error(sim);
    uint64_t last = iova + len - 1;
    bool is_v2 = sim->config.rules == SIM_TYPE1_V2;
    if (is_bisected_at(sim, iova))
        return is_v2 ? -EINVAL : 0;
    if (ends_unseen(sim, iova, len))
        return 0;
    if (is_v2 && is_bisected_at(sim, last + 1))
        return -EINVAL;
    for (struct mapping *m; (m = find_from(sim, iova)) && m->iova <= last;) {
        *unmapped += mapping_len(m);
        drop_mapping(sim, m);
    }
    return 0;
}

/* Goes upwards and stops at the first mapping that isn't whole in the range: what lay below it is gone by
 * then. */
static int unmap_iommufd(struct sim *sim, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    uint64_t done = 0;
    if (iova == 0 && len == UINT64_MAX) {
        *unmapped = drop_all(sim);
        return 0;
    }
    if (iova == UINT64_MAX || len == UINT64_MAX)
        return -EOVERFLOW;
    if (len == 0)
        return -EINVAL;
    if (is_wrapping(iova, len))
        return -EOVERFLOW;
    uint64_t last = iova + len - 1;
    for (struct mapping *m; (m = find_from(sim, iova)) && m->iova <= last;) {
        if (m->iova < iova || m->last > last)
            return -ENOENT;
        done += mapping_len(m);
        drop_mapping(sim, m);
    }
    *unmapped = done;
    return done ? 0 : -ENOENT;
}

static int sim_unmap(struct iommu *iommu, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    struct sim *sim = sim_of(iommu);
    *unmapped = 0;
    return sim->config.rules == SIM_IOMMUFD ? unmap_iommufd(sim, iova, len, unmapped)
                                            : unmap_type1(sim, iova, len, unmapped);
}

static int forward_map(struct iommu *iommu, const struct vfio_iommu_type1_dma_map *map)
{
    const uint32_t known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    if (map->argsz < sizeof(*map) || map->flags & ~known || !map->flags)
        return -EINVAL;
    return sim_map(iommu, map->iova, map->vaddr, map->size);
}

static int forward_unmap(struct iommu *iommu, struct vfio_iommu_type1_dma_unmap *unmap)
{
    uint64_t unmapped = 0;
    int error = 0;
    if (unmap->argsz < offsetof(struct vfio_iommu_type1_dma_unmap, data) ||
        unmap->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
        return -EINVAL;
    if (!(unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL))
        error = sim_unmap(iommu, unmap->iova, unmap->size, &unmapped);
    else if (unmap->iova || unmap->size)
        error = -EINVAL;
    else
        unmapped = drop_all(sim_of(iommu));
    if (!error)
        unmap->size = unmapped;
    return error;
}

/* VFIO's interface is type1's; iommufd's emulation of it is not simulated. */
static int sim_forward(struct iommu *iommu, unsigned long request, void *arg)
{
    return request == VFIO_IOMMU_MAP_DMA ? forward_map(iommu, arg) : forward_unmap(iommu, arg);
}

static int sim_query(struct iommu *iommu, struct iommu_info *info)
{
    const struct sim *sim = sim_of(iommu);
    memset(info, 0, sizeof(*info));
    memcpy(info->ranges, sim->config.ranges, sizeof(info->ranges));
    info->nr_ranges = sim->config.nr_ranges;
    info->page_sizes = sim->config.page_sizes;
    info->counter = "this process's, as VFIO would count them";
    bool is_limited = sim->config.rules != SIM_IOMMUFD && sim->config.max_entries != UINT64_MAX;
    info->nr_entries = is_limited ? sim->config.max_entries - sim->entries : UINT64_MAX;
    return 0;
}

static void sim_close(struct iommu *iommu)
{
    struct sim *sim = sim_of(iommu);
    drop_all(sim);
    pool_give(&sims, sim);
    iommu->state = NULL;
}

void sim_config_default(struct sim_config *config)
{
    *config = (struct sim_config){
        .rules = SIM_TYPE1_V2,
        .ranges = {{0, 0xfedfffff}, {0xfef00000, (1ull << 48) - 1}},
        .nr_ranges = 2,
        .page_sizes = 0x40201000,
        .max_entries = 65535,
        .memlock_bytes = UINT64_MAX,
        .populate = true,
    };
}

int sim_init(struct iommu *iommu, const struct sim_config *config)
{
    static const struct iommu_ops type1 = {
        .name = "sim",
        .query = sim_query,
        .map = sim_map,
        .unmap = sim_unmap,
        .forward = sim_forward,
        .close = sim_close,
    };
    static const struct iommu_ops iommufd = {
        .name = "sim",
        .query = sim_query,
        .map = sim_map,
        .copy = sim_copy_whole,
        .unmap = sim_unmap,
        .forward = sim_forward,
        .close = sim_close,
    };
    struct sim *sim = pool_take(&sims);
    if (!sim)
        return -ENOMEM;
    sim->config = *config;
    RB_INIT(&sim->tree);
    *iommu = (struct iommu){.ops = config->rules == SIM_IOMMUFD ? &iommufd : &type1, .fd = -1, .state = sim};
    return 0;
}

int sim_translate(struct iommu *iommu, uint64_t iova, uint64_t *va)
{
    const struct mapping *m = find_from(sim_of(iommu), iova);
    if (!m || m->iova > iova)
        return -EFAULT;
    *va = m->va + (iova - m->iova);
    return 0;
}

void sim_usage(struct iommu *iommu, uint64_t *bytes, uint64_t *entries)
{
    *bytes = sim_of(iommu)->bytes;
    *entries = sim_of(iommu)->entries;
}
