/* SPDX-License-Identifier: MIT */
/*
 * The application's own mappings and unmappings: carried out as if we were not there, and recorded. Its mapping of
 * what we have at the same address and IOVA is an alias of ours, which it then holds; its wide unmaps are
 * issued for what it mapped, never for what we did. Under LOCK_REGISTRY.
 */
#include "dma/application.h"

#include <errno.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/counts.h"
#include "dma/eager.h"
#include "dma/holders.h"
#include "dma/iova.h"
#include "profile/profile.h"

bool application_find_held(uintptr_t start, size_t len, struct held_range *held)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct app_map *map;
        if (!container_at(i)->attached)
            continue;
        for (map = app_maps_first(&container_at(i)->app_maps); map; map = app_maps_next(map)) {
            if (map->va >= start + len || start >= map->va + map->len)
                continue;
            *held = (struct held_range){map->va, map->len, true, map->holder};
            return true;
        }
    }
    return false;
}

static struct profile_mapping profile_of(const struct container *container, const struct app_map *map,
                                         uint64_t began_ns)
{
    return (struct profile_mapping){.owner = map->is_alias ? OWNER_ALIAS : OWNER_APPLICATION,
                                    .container = container_index(container),
                                    .site = map->site,
                                    .va = map->va == APP_MAP_NOWHERE(map->iova) ? 0 : map->va,
                                    .len = map->len,
                                    .iova = map->iova,
                                    .began_ns = began_ns};
}

/* Where a device is behind the container. */
static void count_in(struct container *container, struct app_map *map, uint64_t began_ns)
{
    struct profile_mapping profile = profile_of(container, map, began_ns);
    profile_record_map(&profile);
    if (map->is_alias || map->is_copy)
        return;
    counts_pin(COUNTS_APPLICATIONS, map->len);
    containers_changed();
}

static void count_out(struct container *container, struct app_map *map, uint64_t began_ns)
{
    struct profile_mapping profile = profile_of(container, map, began_ns);
    profile_record_unmap(&profile);
    if (map->is_alias)
        return;
    if (!map->is_copy)
        counts_unpin(COUNTS_APPLICATIONS, map->len);
    eager_released(map->iova, map->len);
}

static void record(struct container *container, const struct dma_request *request, bool is_alias,
                   uint64_t began_ns)
{
    const struct app_map made = {.iova = request->iova,
                                 .len = request->len,
                                 .va = request->va,
                                 .is_alias = is_alias,
                                 .is_copy = request->source == FROM_SPACE,
                                 .site = profile_site(),
                                 .holder = holders_note()};
    struct app_map *map = app_maps_insert(&container->app_maps, &made);
    if (!map)
        return;
    container->nr_app_maps++;
    if (!is_alias)
        container_count_entries(container, 1);
    if (container->attached)
        count_in(container, map, began_ns);
    if (is_alias)
        registry_hold(map->va, map->len, 1);
}

static void forget(struct container *container, struct app_map *map, uint64_t began_ns)
{
    if (container->attached)
        count_out(container, map, began_ns);
    const struct app_map was = *map;
    app_maps_remove(&container->app_maps, map);
    container->nr_app_maps--;
    if (was.is_alias)
        registry_hold(was.va, was.len, -1);
    else
        container_count_entries(container, -1);
    containers_changed();
}

void application_forget_container(struct container *container)
{
    struct app_map *map;
    while ((map = app_maps_first(&container->app_maps)))
        forget(container, map, profile_now());
}

void application_attached(struct container *container)
{
    struct app_map *map;
    for (map = app_maps_first(&container->app_maps); map; map = app_maps_next(map))
        count_in(container, map, profile_now());
}

/* An address space that no device is attached to pins nothing: what was an alias is its own there. */
void application_detached(struct container *container)
{
    struct iommu *iommu = &container->iommu;
    struct app_map *map;
    for (map = app_maps_first(&container->app_maps); map; map = app_maps_next(map)) {
        count_out(container, map, profile_now());
        if (!map->is_alias)
            continue;
        registry_hold(map->va, map->len, -1);
        map->is_alias = map->is_copy = false;
        container_count_entries(container, 1);
        int error = iommu->ops->map(iommu, map->iova, map->va, map->len);
        if (error)
            log_write(
                LOG_ERROR,
                "the application's mapping of 0x%lx, %lu bytes, can't be put back: error %d; report this",
                map->va, map->len, -error);
    }
}

bool application_wants_eager(struct container *container)
{
    struct app_map *map;
    if (config.mode != MODE_AUTO || eager_is_left_to_program())
        return false;
    for (map = app_maps_first(&container->app_maps); map; map = app_maps_next(map)) {
        if (map->iova == map->va)
            return true;
    }
    return false;
}

/* The application's call as it made it. */
static int forward(struct container *container, const struct dma_request *request)
{
    return container->iommu.ops->forward(&container->iommu, request->call, request->arg);
}

/* Whether all of ours in the IOVA range, and at the addresses, is where the application wants it. */
static bool is_same_place(const struct dma_request *request)
{
    uint64_t delta = request->iova - request->va;
    struct registration *reg = registration_from_iova(request->iova);
    for (; reg && reg->iova < request->iova + request->len; reg = registration_next_iova(reg))
        if (reg->iova - reg->start != delta)
            return false;
    for (reg = registration_from(request->va); reg && reg->start < request->va + request->len;
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

static int map_over_ours(struct container *container, const struct dma_request *request)
{
    uint64_t began_ns = profile_now();
    struct app_map *other = app_maps_from(&container->app_maps, request->iova);
    if (other && other->iova < request->iova + request->len)
        return -EEXIST;
    if ((request->iova | request->va | request->len) & (OS_PAGE_SIZE - 1) || !request->is_accessible)
        return -EINVAL;
    if (is_same_place(request)) {
        int error = registry_fill(request->va, request->len);
        if (error == -EFAULT || error == -EINPROGRESS)
            return error;
        if (!error && is_same_place(request)) { /* what was missing may have got another IOVA */
            record(container, request, true, began_ns);
            return 0;
        }
    }
    registry_release_unused(request->iova, request->len);
    if (overlaps_ours(request->iova, request->len)) {
        log_write(
            LOG_WARNING,
            "the application maps %s at IOVA 0x%lx (%lu bytes), where memory of its own is registered whose "
            "IOVA was handed out: answered EEXIST",
            request->source == FROM_FILE ? "a file" : "memory", request->iova, request->len);
        return -EEXIST;
    }
    int result = forward(container, request);
    if (result == 0)
        record(container, request, false, began_ns);
    return result;
}

static void join(struct container *container, struct app_map *map)
{
    const struct dma_request same = {.iova = map->iova, .va = map->va, .len = map->len};
    struct iommu *iommu = &container->iommu;
    uint64_t undone;
    if (!overlaps_ours(map->iova, map->len) || !is_same_place(&same) ||
        iommu->ops->unmap(iommu, map->iova, map->len, &undone) != 0)
        return;
    container_count_entries(container, -1);
    count_out(container, map, profile_now());
    map->is_copy = false;
    if (registry_fill(map->va, map->len) == 0 && is_same_place(&same)) {
        map->is_alias = true;
        count_in(container, map, profile_now());
        registry_hold(map->va, map->len, 1);
        return;
    }
    registry_release_unused(map->iova, map->len);
    if (iommu->ops->map(iommu, map->iova, map->va, map->len) == 0)
        container_count_entries(container, 1);
    count_in(container, map, profile_now());
}

void application_join(struct container *container)
{
    struct app_map *map;
    for (map = app_maps_first(&container->app_maps); map; map = app_maps_next(map))
        join(container, map);
}

/* Releases everything that nobody was told of, for a MAP that failed for want of room. */
static bool release_all_unused(void)
{
    uint64_t before = registrations_count();
    registry_release_unused(0, UINT64_MAX);
    return registrations_count() != before;
}

/* Where the pages are that are to be mapped once more. */
static uintptr_t copied_va(const struct dma_request *request)
{
    uint64_t iova = request->from_iova, len = request->len;
    struct container *from = container_find(request->fd, request->from_ioas_id);
    struct app_map *map = from ? app_maps_from(&from->app_maps, iova) : NULL;
    struct registration *reg = from && from->attached ? registration_from_iova(iova) : NULL;
    if (map && map->iova <= iova && iova + len <= map->iova + map->len)
        return map->va + (iova - map->iova);
    if (reg && reg->iova <= iova && iova + len <= reg->iova + reg->len)
        return reg->start + (iova - reg->iova);
    return APP_MAP_NOWHERE(request->iova);
}

static int app_map_locked(struct container *container, struct dma_request *request)
{
    uint64_t began_ns = profile_now(), iova = request->iova, len = request->len;
    counts_map(COUNTS_APPLICATIONS);
    if (container->attached && !request->chosen && len && iova + (len - 1) >= iova &&
        overlaps_ours(iova, len))
        return map_over_ours(container, request);
    int result = forward(container, request);
    if ((result == -ENOMEM || result == -ENOSPC) && release_all_unused()) {
        eager_gave_way();
        result = forward(container, request);
    }
    if (result != 0)
        return result; /* the door tells of it */
    if (request->chosen)
        request->iova = *request->chosen;
    if (request->va == APP_MAP_NOWHERE(iova))
        request->va = APP_MAP_NOWHERE(request->iova);
    record(container, request, false, began_ns);
    if (config.mode == MODE_AUTO && !eager_is_left_to_program()) {
        if (request->iova != request->va)
            eager_note_lookup();
        else if (container->attached)
            eager_start();
    }
    return 0;
}

int application_map(const struct dma_request *asked)
{
    struct dma_request request = *asked;
    unsigned tries = 0;
    int result;
    registry_enter();
    do {
        struct container *container = container_find(request.fd, request.ioas_id);
        if (request.source != FROM_MEMORY)
            request.va = request.source == FROM_SPACE ? copied_va(&request) : APP_MAP_NOWHERE(request.iova);
        if (!container || !request.is_plain)
            result = os_ioctl(request.fd, request.call, request.arg);
        else
            result = app_map_locked(container, &request);
    } while (registry_try_again(&result, &tries));
    registry_leave();
    return result;
}

/* Takes the application's own mappings that lie whole in the range out of the IOMMU, one by one. */
static int unmap_each(struct container *container, const struct dma_request *request)
{
    uint64_t start = request->iova, last = request->iova + (request->len - 1), total = 0;
    if (!request->is_divisible)
        return -EINVAL;
    if (request->is_all)
        start = 0, last = UINT64_MAX;
    else if (!request->len || last < start || (start | request->len) & (OS_PAGE_SIZE - 1))
        return -EINVAL;
    struct app_map *first = app_maps_from(&container->app_maps, start), *map, *next;
    struct app_map *final = app_maps_from(&container->app_maps, last);
    if ((first && first->iova < start && first->iova + first->len > start) ||
        (final && final->iova <= last && final->iova + (final->len - 1) > last))
        return -EINVAL;
    for (map = first; map && map->iova <= last; map = next) {
        uint64_t began_ns = profile_now(), undone = map->len;
        struct iommu *iommu = &container->iommu;
        next = app_maps_next(map);
        int error = map->is_alias ? 0 : iommu->ops->unmap(iommu, map->iova, map->len, &undone);
        *request->undone = total;
        if (error)
            return error;
        total += undone;
        forget(container, map, began_ns);
    }
    *request->undone = total;
    return 0;
}

/* What the kernel says when there is nothing to undo: kernels differ. Asked where nothing can be. */
static int undo_nothing(struct container *container)
{
    const struct iommu_info *info = &container->info;
    uint64_t behind = info->nr_ranges ? info->ranges[info->nr_ranges - 1].last + 1 : 0, undone;
    return behind ? container->iommu.ops->unmap(&container->iommu, behind, OS_PAGE_SIZE, &undone) : -ENOENT;
}

/* The same by iommufd's rules: upwards, up to the first that is not whole in the range. */
static int unmap_upwards(struct container *container, const struct dma_request *request)
{
    uint64_t start = request->iova, last = start + (request->len - 1), total = 0;
    struct iommu *iommu = &container->iommu;
    int error = 0;
    if (request->is_all)
        start = 0, last = UINT64_MAX;
    else if (!request->is_divisible || !request->len)
        return -EINVAL;
    else if (last < start || start == UINT64_MAX || request->len == UINT64_MAX)
        return -EOVERFLOW;
    for (struct app_map *map = app_maps_from(&container->app_maps, start), *next; map && map->iova <= last;
         map = next) {
        uint64_t began_ns = profile_now(), undone = map->len;
        next = app_maps_next(map);
        if (map->iova < start || map->iova + (map->len - 1) > last)
            error = -ENOENT;
        else if (!map->is_alias)
            error = iommu->ops->unmap(iommu, map->iova, map->len, &undone);
        if (error)
            break;
        total += undone;
        forget(container, map, began_ns);
    }
    if (!error && !total && !request->is_all && request->ioas_id) /* nothing is no error of VFIO's call */
        error = undo_nothing(container);
    if (!error || !request->ioas_id) /* VFIO's call tells what was undone before it failed */
        *request->undone = total;
    return error;
}

/* What iommufd undid before it came to one that is not whole in the range. */
static void forget_upwards(struct container *container, uint64_t start, uint64_t len)
{
    uint64_t began_ns = profile_now();
    struct app_map *map = app_maps_from(&container->app_maps, start), *next;
    for (; map && map->iova >= start && map->iova + map->len <= start + len; map = next) {
        next = app_maps_next(map);
        forget(container, map, began_ns);
    }
}

/* What the kernel undid of the application's mappings, by its own rules. */
static void forget_range(struct container *container, uint64_t start, uint64_t len, uint64_t undone,
                         uint64_t began_ns)
{
    struct app_map *map = app_maps_from(&container->app_maps, start), *next;
    for (; map && undone && map->iova < start + len; map = next) {
        next = app_maps_next(map);
        undone -= undone < map->len ? undone : map->len;
        forget(container, map, began_ns);
    }
}

static int app_unmap_locked(struct container *container, const struct dma_request *request)
{
    uint64_t start = request->is_all ? 0 : request->iova, began_ns = profile_now();
    uint64_t len = request->is_all ? UINT64_MAX : request->len;
    bool has_alias = false;
    counts_unmap(COUNTS_APPLICATIONS);
    for (struct app_map *map = app_maps_from(&container->app_maps, start); map && map->iova < start + len;
         map = app_maps_next(map))
        has_alias |= map->is_alias;
    if (container->attached && (has_alias || overlaps_ours(start, len)))
        return container->iommu.ioas_id ? unmap_upwards(container, request) : unmap_each(container, request);
    int result = forward(container, request);
    if (result == -ENOENT && container->iommu.ioas_id)
        forget_upwards(container, start, len);
    else if (result == 0)
        forget_range(container, start, len, *request->undone, began_ns);
    return result;
}

int application_unmap(const struct dma_request *request)
{
    registry_enter();
    struct container *container = container_find(request->fd, request->ioas_id);
    int result = container && request->is_plain ? app_unmap_locked(container, request)
                                                : os_ioctl(request->fd, request->call, request->arg);
    registry_leave();
    return result;
}

size_t application_reaches(uintptr_t va, uint64_t iova)
{
    size_t len = 0;
    registry_enter();
    struct registration *reg = registration_from(va);
    if (reg && reg->start <= va && reg->mapped && reg->iova - reg->start == iova - va)
        len = reg->start + reg->len - va;
    if (!len)
        len = iova_reach(va, iova);
    registry_exit();
    return len;
}

bool application_has(uint64_t iova)
{
    uint64_t start;
    registry_enter();
    bool is_its_own = iova_is_applications(iova, 1, &start);
    registry_exit();
    return is_its_own;
}
