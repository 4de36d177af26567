/* SPDX-License-Identifier: MIT */
/* A tree by IOVA. */
#include "dma/app_maps.h"

#include "base/pool.h"

static struct pool pool = POOL_OF(struct app_map);

static int compare_iova(const struct app_map *a, const struct app_map *b)
{
    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

RB_GENERATE_INTERNAL(app_maps, app_map, by_iova, compare_iova, __attribute__((unused)) static)

struct app_map *app_maps_from(struct app_maps *maps, uint64_t iova)
{
    struct app_map *map = RB_ROOT(maps), *found = NULL;
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

struct app_map *app_maps_first(struct app_maps *maps)
{
    return RB_MIN(app_maps, maps);
}

struct app_map *app_maps_next(struct app_map *map)
{
    return RB_NEXT(app_maps, , map);
}

struct app_map *app_maps_before(struct app_maps *maps, struct app_map *map)
{
    return map ? RB_PREV(app_maps, maps, map) : RB_MAX(app_maps, maps);
}

size_t app_maps_reach(struct app_maps *maps, uintptr_t va, uint64_t iova)
{
    struct app_map *map = app_maps_from(maps, iova);
    return map && map->iova <= iova && map->va - map->iova == va - iova ? map->iova + map->len - iova : 0;
}

struct app_map *app_maps_insert(struct app_maps *maps, const struct app_map *map)
{
    struct app_map *made = pool_take(&pool);
    if (!made)
        return NULL;
    *made = *map;
    RB_INSERT(app_maps, maps, made);
    return made;
}

void app_maps_remove(struct app_maps *maps, struct app_map *map)
{
    RB_REMOVE(app_maps, maps, map);
    pool_give(&pool, map);
}
