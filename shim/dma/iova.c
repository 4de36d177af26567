/* SPDX-License-Identifier: MIT */
/* Which IOVA a range gets: its own address wherever every container can reach it and nothing else is there; else a
 * window inside the apertures, congruent modulo 2 MiB so that superpages and the pagemap's blocks still fit. */
#include "dma/iova.h"

#include <errno.h>

#include "dma/containers.h"
#include "dma/pagemap.h"
#include "dma/registrations.h"

#define USER_END (UINT64_C(1) << 47)
#define IDENTITY_BASE (UINT64_C(1) << 38) /* windows stay off the arena's own addresses, from 256 GiB up */

/* Windows of processes that share a container lie apart: none knows what the others have mapped there, at the same addresses,
 * it may be. Who has met another's takes one of these parts of each range, by chance. */
enum { NR_PARTS = 64 };
static unsigned part; /* 0: identity where possible, windows in all of the range */

void iova_go_apart(void)
{
    part = 1 + (unsigned)(__builtin_ia32_rdtsc() * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (NR_PARTS - 1);
}

void iova_come_together(void)
{
    part = 0;
}

static bool is_usable_everywhere(uint64_t iova, uint64_t len)
{
    CONTAINERS_EACH(i, containers_attached())
        if (!container_can_reach(container_at(i), iova, len))
            return false;
    return true;
}

bool iova_is_applications(uint64_t iova, uint64_t len, uint64_t *start)
{
    CONTAINERS_EACH(i, containers_attached()) {
        struct app_map *map = app_maps_from(&container_at(i)->app_maps, iova);
        if (map && map->iova < iova + len) {
            *start = map->iova;
            return true;
        }
    }
    return false;
}

/* Cuts [*start, *end) back to what of it around `iova` no mapping of the application's has. False: `iova` is in one. */
static bool clip_to_ours(uint64_t iova, uint64_t *start, uint64_t *end)
{
    CONTAINERS_EACH(i, containers_attached()) {
        struct app_maps *maps = &container_at(i)->app_maps;
        struct app_map *above = app_maps_from(maps, iova), *below = app_maps_before(maps, above);
        if (above && above->iova <= iova)
            return false;
        if (above && above->iova < *end)
            *end = above->iova;
        if (below && below->iova + below->len > *start)
            *start = below->iova + below->len;
    }
    return true;
}

/* Whether anything of ours or the application's lies in [iova, iova + len); *below gets where the lowest of it that was
 * seen starts. */
static bool collides(uint64_t iova, uint64_t len, uint64_t *below)
{
    struct registration *reg = registration_from_iova(iova);
    if (reg && reg->iova < iova + len) {
        *below = reg->iova;
        return true;
    }
    return iova_is_applications(iova, len, below);
}

/* Where windows end in the range. */
static uint64_t windows_end(const struct iommu_range *range)
{
    uint64_t end = range->last & ~(PAGEMAP_BLOCK_SIZE - 1);
    return end < USER_END && end > IDENTITY_BASE ? IDENTITY_BASE : end;
}

/* The address without its upper bits, in the upper half of the range: so IOVAs go on as the addresses do, in whatever parts and
 * order these are asked for. 0: it is taken, or the range too small for places that are far apart. */
static uint64_t find_alike(const struct iommu_range *range, uintptr_t va, size_t len)
{
    enum { LEAST_BITS = 36 };
    uint64_t end = windows_end(range), below;
    if (part || end <= range->start || (end - range->start) >> LEAST_BITS == 0)
        return 0;
    uint64_t size = UINT64_C(1) << (63 - __builtin_clzl(end - range->start));
    uint64_t place = va & (size - 1), iova = end - size + place;
    bool is_free = place + len <= size && is_usable_everywhere(iova, len) && !collides(iova, len, &below);
    return is_free ? iova : 0;
}

/* The highest place in `range` that is free and congruent to `va`; 0 for none. */
static uint64_t find_in_range(const struct iommu_range *range, uintptr_t va, size_t len)
{
    const uint64_t mask = PAGEMAP_BLOCK_SIZE - 1;
    uint64_t end = windows_end(range);
    if (part && end > range->start)
        end -= (end - range->start) / NR_PARTS * part & ~mask;
    while (end >= len) {
        uint64_t iova = ((end - len) & ~mask) | (va & mask);
        uint64_t below;
        if (iova + len > end) {
            if (iova < PAGEMAP_BLOCK_SIZE)
                return 0;
            iova -= PAGEMAP_BLOCK_SIZE;
        }
        if (iova < range->start || iova == 0)
            return 0;
        if (!is_usable_everywhere(iova, len))
            end = iova & ~mask;
        else if (collides(iova, len, &below))
            end = below;
        else
            return iova;
    }
    return 0;
}

int iova_clip_to_identity(uintptr_t va, uintptr_t *start, uintptr_t *end)
{
    if (!containers_attached())
        return 0;
    struct registration *above = registration_from_iova(va), *below = registration_before_iova(va);
    if ((above && above->iova <= va) || !clip_to_ours(va, start, end))
        return -EADDRNOTAVAIL;
    if (above && above->iova < *end)
        *end = above->iova;
    if (below && below->iova + below->len > *start)
        *start = below->iova + below->len;
    return is_usable_everywhere(*start, *end - *start) ? 0 : -EADDRNOTAVAIL;
}

int iova_choose(uintptr_t va, size_t len, uint64_t *iova)
{
    uint64_t below;
    if (!part && is_usable_everywhere(va, len) && !collides(va, len, &below)) {
        *iova = va;
        return 0;
    }
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        const struct container *container = container_at(i);
        if (!container->attached)
            continue;
        for (unsigned r = container->info.nr_ranges; r-- > 0;)
            if ((*iova = find_alike(&container->info.ranges[r], va, len)) ||
                (*iova = find_in_range(&container->info.ranges[r], va, len)))
                return 0;
        break; /* what one container can't reach is no use */
    }
    return -EADDRNOTAVAIL;
}

size_t iova_reach(uintptr_t va, uint64_t iova)
{
    CONTAINERS_EACH(i, containers_attached()) {
        size_t len = app_maps_reach(&container_at(i)->app_maps, va, iova);
        if (len)
            return len;
    }
    return 0;
}
