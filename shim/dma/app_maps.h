/* SPDX-License-Identifier: MIT */
/* The records of the application's own mappings in one container, in order of IOVAs, which do not overlap. Records only. Under
 * LOCK_REGISTRY. */
#ifndef DMA_APP_MAPS_H
#define DMA_APP_MAPS_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct holder;

struct app_map {
    RB_ENTRY(app_map) by_iova;
    uint64_t iova;
    uint64_t len;
    uintptr_t va; /* or APP_MAP_NOWHERE */
    uint32_t site;
    bool is_alias;         /* the IOMMU has it by a registration of ours, which it pins */
    bool is_copy;          /* of another mapping, whose pages it shares: pinned there */
    struct holder *holder; /* in check mode */
};

/* For pages that are at no address that is known: an address that none has, at a distance that nothing else has. */
#define APP_MAP_NOWHERE(iova) ((iova) ^ UINT64_C(1) << 63)

RB_HEAD(app_maps, app_map);

/* The first that ends above `iova`; NULL. */
struct app_map *app_maps_from(struct app_maps *maps, uint64_t iova);
struct app_map *app_maps_first(struct app_maps *maps);
struct app_map *app_maps_next(struct app_map *map);
/* The one before `map`; of all when that is NULL: the last. */
struct app_map *app_maps_before(struct app_maps *maps, struct app_map *map);
/* How many bytes from `va` on a device finds at `iova` and behind it; 0: not even one. */
size_t app_maps_reach(struct app_maps *maps, uintptr_t va, uint64_t iova);

/* A record like `map`. Returns NULL when there is no memory. */
struct app_map *app_maps_insert(struct app_maps *maps, const struct app_map *map);
/* Ends the record. */
void app_maps_remove(struct app_maps *maps, struct app_map *map);

#endif
