/* SPDX-License-Identifier: MIT */
/*
 * The application's own MAP_DMA and UNMAP_DMA: carried out as if we were not there, and recorded. Its MAP of
 * what we have at the same address and IOVA is an alias of ours, which it then holds; its wide unmaps are
 * issued for what it mapped, never for what we did. Under LOCK_REGISTRY.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/eager.h"
#include "dma/registration.h"
#include "profile/profile.h"

static int compare_iova(const struct app_map *a, const struct app_map *b)
{
    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

RB_GENERATE_INTERNAL(app_maps, app_map, by_iova, compare_iova, __attribute__((unused)) static)

/* The first that ends above `iova`. */
static struct app_map *map_from(struct container *container, uint64_t iova)
{
    struct app_map *map = RB_ROOT(&container->app_maps), *found = NULL;
    while (map) {
        if (iova < map->iova + map->len) {
            found = map;
            map = RB_LEFT(map, by_iova);
        } else {
            map = RB_RIGHT(map, by_iova);
        }
    }
    return found;
}

bool application_find_held(uintptr_t start, size_t len, struct held_range *held)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct app_map *map;
        if (!registry.containers[i].attached)
            continue;
        RB_FOREACH(map, app_maps, &registry.containers[i].app_maps)
        {
            if (map->va >= start + len || start >= map->va + map->len)
                continue;
            *held = (struct held_range){map->va, map->len, true, map->holder};
            return true;
        }
    }
    return false;
}

bool application_collides(uint64_t iova, uint64_t len, uint64_t *next_below)
{
    for (unsigned i = next_container(registry.attached, 0); i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1)) {
        struct app_map *map = map_from(&registry.containers[i], iova);
        if (map && map->iova < iova + len) {
            *next_below = map->iova;
            return true;
        }
    }
    return false;
}

bool application_clip(uint64_t iova, uint64_t *start, uint64_t *end)
{
    for (unsigned i = next_container(registry.attached, 0); i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1)) {
        struct app_maps *maps = &registry.containers[i].app_maps;
        struct app_map *above = map_from(&registry.containers[i], iova);
        struct app_map *below = above ? RB_PREV(app_maps, maps, above) : RB_MAX(app_maps, maps);
        if (above && above->iova <= iova)
            return false;
        if (above && above->iova < *end)
            *end = above->iova;
        if (below && below->iova + below->len > *start)
            *start = below->iova + below->len;
    }
    return true;
}

static struct profile_mapping profile_of(const struct container *container, const struct app_map *map,
                                         uint64_t began_ns)
{
    return (struct profile_mapping){.owner = map->is_alias ? OWNER_ALIAS : OWNER_APPLICATION,
                                    .container = (unsigned)(container - registry.containers),
                                    .site = map->site,
                                    .va = map->va,
                                    .len = map->len,
                                    .iova = map->iova,
                                    .began_ns = began_ns};
}

static void record(struct container *container, const struct vfio_iommu_type1_dma_map *arg, bool is_alias,
                   uint64_t began_ns)
{
    struct app_map *map = pool_take(&registry.app_map_pool);
    if (!map)
        return;
    map->iova = arg->iova;
    map->len = arg->size;
    map->va = arg->vaddr;
    map->is_alias = is_alias;
    map->site = profile_site();
    map->holder = hazards_note_holder();
    struct profile_mapping profile = profile_of(container, map, began_ns);
    profile_record_map(&profile);
    RB_INSERT(app_maps, &container->app_maps, map);
    container->nr_app_maps++;
    if (is_alias) {
        registration_hold_range(map->va, map->len, 1);
        return;
    }
    container_count_entries(container, 1);
    registry.count.app_pinned += map->len;
    if (registry.count.app_pinned > registry.count.app_pinned_peak)
        registry.count.app_pinned_peak = registry.count.app_pinned;
    registry_changed();
}

static void forget(struct container *container, struct app_map *map, uint64_t began_ns)
{
    struct profile_mapping profile = profile_of(container, map, began_ns);
    profile_record_unmap(&profile);
    RB_REMOVE(app_maps, &container->app_maps, map);
    container->nr_app_maps--;
    if (map->is_alias) {
        registration_hold_range(map->va, map->len, -1);
    } else {
        container_count_entries(container, -1);
        registry.count.app_pinned -= map->len;
        eager_released(map->iova, map->len);
    }
    registry_changed();
    pool_give(&registry.app_map_pool, map);
}

void application_forget_container(struct container *container)
{
    struct app_map *map;
    while ((map = RB_MIN(app_maps, &container->app_maps)))
        forget(container, map, profile_now());
}

/* The application's call as it made it. */
static int forward(struct container *container, unsigned long request, void *arg)
{
    return container->iommu.ops->forward(&container->iommu, request, arg);
}

/* Whether all of ours in the IOVA range, and at the addresses, is where the application wants it. */
static bool is_same_place(const struct vfio_iommu_type1_dma_map *arg)
{
    uint64_t delta = arg->iova - arg->vaddr;
    struct registration *reg = registration_from_iova(arg->iova);
    for (; reg && reg->iova < arg->iova + arg->size; reg = registration_next_iova(reg))
        if (reg->iova - reg->start != delta)
            return false;
    for (reg = registration_from(arg->vaddr); reg && reg->start < arg->vaddr + arg->size;
         reg = registration_next(reg))
        if (reg->iova - reg->start != delta)
            return false;
    return true;
}

static bool overlaps_ours(uint64_t iova, uint64_t len)
{
    struct registration *reg = registration_from_iova(iova);
    return reg && reg->iova < iova + len;
}

static int map_over_ours(struct container *container, unsigned long request,
                         struct vfio_iommu_type1_dma_map *arg)
{
    uint64_t began_ns = profile_now();
    struct app_map *other = map_from(container, arg->iova);
    if (other && other->iova < arg->iova + arg->size)
        return -EEXIST;
    const uint64_t page_mask = OS_PAGE_SIZE - 1;
    if ((arg->iova | arg->vaddr | arg->size) & page_mask || !(arg->flags & 3))
        return -EINVAL;
    if (is_same_place(arg)) {
        int error = registration_fill(arg->vaddr, arg->size);
        if (error == -EFAULT || error == -EINPROGRESS)
            return error;
        if (!error && is_same_place(arg)) { /* what was missing may have got another IOVA */
            record(container, arg, true, began_ns);
            return 0;
        }
    }
    registration_release_unused(arg->iova, arg->size);
    if (overlaps_ours(arg->iova, arg->size)) {
        log_write(LOG_WARNING,
                  "the application maps 0x%lx at IOVA 0x%lx (%lu bytes), where memory of its own is "
                  "registered whose IOVA was "
                  "handed out: answered EEXIST",
                  (uint64_t)arg->vaddr, (uint64_t)arg->iova, (uint64_t)arg->size);
        return -EEXIST;
    }
    int result = forward(container, request, arg);
    if (result == 0)
        record(container, arg, false, began_ns);
    return result;
}

/* Releases everything that nobody was told of, for a MAP that failed for want of room. */
static bool release_all_unused(void)
{
    uint64_t before = registry.nr_registrations;
    registration_release_unused(0, UINT64_MAX);
    return registry.nr_registrations != before;
}

static int app_map_locked(struct container *container, unsigned long request,
                          struct vfio_iommu_type1_dma_map *arg)
{
    uint64_t began_ns = profile_now();
    registry.count.app_maps++;
    if (arg->size && arg->iova + (arg->size - 1) >= arg->iova && overlaps_ours(arg->iova, arg->size))
        return map_over_ours(container, request, arg);
    int result = forward(container, request, arg);
    if ((result == -ENOMEM || result == -ENOSPC) && release_all_unused()) {
        eager_gave_way();
        result = forward(container, request, arg);
    }
    if (result != 0)
        return result; /* the door tells of it */
    record(container, arg, false, began_ns);
    if (config.mode == MODE_AUTO && !registry.manages_itself) {
        if (arg->iova == arg->vaddr)
            eager_start();
        else
            registry.manages_itself = true;
    }
    return 0;
}

int registry_app_map(int fd, unsigned long request, void *arg)
{
    struct vfio_iommu_type1_dma_map *map = arg;
    unsigned tries = 0;
    int result;
    lock_take(&registry.lock);
    do {
        struct container *container = container_of_fd(fd);
        if (!container || !map || map->argsz < sizeof(*map) || map->flags & ~3u)
            result = os_ioctl(fd, request, arg);
        else
            result = app_map_locked(container, request, map);
    } while (registration_try_again(&result, &tries));
    registry_leave();
    return result;
}

/* Takes the application's own mappings that lie whole in the range out of the IOMMU, one by one. */
static int unmap_each(struct container *container, unsigned long request,
                      struct vfio_iommu_type1_dma_unmap *arg)
{
    bool all = arg->flags & VFIO_DMA_UNMAP_FLAG_ALL;
    uint64_t start = all ? 0 : arg->iova, last = all ? UINT64_MAX : arg->iova + (arg->size - 1), total = 0;
    if (arg->flags & ~VFIO_DMA_UNMAP_FLAG_ALL || (all && (arg->iova || arg->size)) ||
        (!all && (!arg->size || last < start || (start | arg->size) & (OS_PAGE_SIZE - 1))))
        return -EINVAL;
    struct app_map *first = map_from(container, start), *map, *next;
    struct app_map *final = map_from(container, last);
    if ((first && first->iova < start && first->iova + first->len > start) ||
        (final && final->iova <= last && final->iova + (final->len - 1) > last))
        return -EINVAL;
    for (map = first; map && map->iova <= last; map = next) {
        struct vfio_iommu_type1_dma_unmap one = {.argsz = sizeof(one), .iova = map->iova, .size = map->len};
        next = RB_NEXT(app_maps, , map);
        uint64_t began_ns = profile_now();
        int error = map->is_alias ? 0 : forward(container, request, &one);
        if (error) {
            arg->size = total;
            return error;
        }
        total += one.size;
        forget(container, map, began_ns);
    }
    arg->size = total;
    return 0;
}

/* What the kernel undid of the application's mappings, by its own rules. */
static void forget_range(struct container *container, uint64_t start, uint64_t len, uint64_t undone,
                         uint64_t began_ns)
{
    struct app_map *map = map_from(container, start), *next;
    for (; map && undone && map->iova < start + len; map = next) {
        next = RB_NEXT(app_maps, , map);
        undone -= undone < map->len ? undone : map->len;
        forget(container, map, began_ns);
    }
}

int registry_app_unmap(int fd, unsigned long request, void *arg)
{
    struct vfio_iommu_type1_dma_unmap *unmap = arg;
    int result;
    lock_take(&registry.lock);
    struct container *container = container_of_fd(fd);
    if (!container || !unmap || unmap->argsz < offsetof(struct vfio_iommu_type1_dma_unmap, data)) {
        result = os_ioctl(fd, request, arg);
    } else {
        uint64_t start = unmap->iova, len = unmap->size;
        bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
        registry.count.app_unmaps++;
        struct app_map *map = map_from(container, start);
        bool has_alias = false;
        for (; map && (all || map->iova < start + len); map = RB_NEXT(app_maps, , map))
            has_alias |= map->is_alias;
        if (has_alias || overlaps_ours(all ? 0 : start, all ? UINT64_MAX : len)) {
            result = unmap_each(container, request, unmap);
        } else {
            uint64_t began_ns = profile_now();
            result = forward(container, request, arg);
            if (result == 0)
                forget_range(container, all ? 0 : start, all ? UINT64_MAX : len, unmap->size, began_ns);
        }
    }
    registry_leave();
    return result;
}

static size_t container_reaches(struct container *container, uintptr_t va, uint64_t iova)
{
    struct app_map *map = map_from(container, iova);
    return map && map->iova <= iova && map->va - map->iova == va - iova ? map->iova + map->len - iova : 0;
}

size_t registry_reaches(uintptr_t va, uint64_t iova)
{
    size_t len = 0;
    lock_take(&registry.lock);
    struct registration *reg = registration_from(va);
    if (reg && reg->start <= va && reg->mapped && reg->iova - reg->start == iova - va)
        len = reg->start + reg->len - va;
    for (unsigned i = next_container(registry.attached, 0); !len && i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1))
        len = container_reaches(&registry.containers[i], va, iova);
    lock_release(&registry.lock);
    return len;
}

size_t application_identity(uintptr_t va)
{
    size_t len = 0;
    for (unsigned i = next_container(registry.attached, 0); !len && i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1))
        len = container_reaches(&registry.containers[i], va, va);
    return len;
}

bool application_has_identity(uintptr_t start, size_t len)
{
    for (unsigned i = next_container(registry.attached, 0); i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1)) {
        struct app_map *map = map_from(&registry.containers[i], start);
        while (map && map->iova < start + len && map->iova != map->va)
            map = RB_NEXT(app_maps, , map);
        if (map && map->iova < start + len)
            return true;
    }
    return false;
}

bool registry_is_application(uint64_t iova)
{
    uint64_t below;
    lock_take(&registry.lock);
    bool is_its_own = application_collides(iova, 1, &below);
    lock_release(&registry.lock);
    return is_its_own;
}
