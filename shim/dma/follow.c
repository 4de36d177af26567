/* SPDX-License-Identifier: MIT */
/* What is registered at its own address, and what the application has mapped there. */
#include "dma/follow.h"

#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/eager.h"
#include "dma/iova.h"

bool follow_start(changes_follower *changed)
{
    registry_enter();
    bool is_followed = eager_is_on() && containers_attached();
    if (is_followed) {
        changes_follow(changed);
        for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg))
            changed(reg->start, reg->len, MEMORY_REGISTERED);
    }
    registry_exit();
    return is_followed;
}

/* No lock is held. */
void follow_pass_over(uintptr_t start, size_t len)
{
    if (!changes_are_followed())
        return;
    registry_enter();
    changes_tell(start, len, MEMORY_PASSED_OVER);
    registry_exit();
}

static bool is_identity(const struct registration *reg)
{
    return reg->iova == reg->start && containers_attached() && reg->mapped == containers_attached() &&
           !reg->divided;
}

static bool has_application(uintptr_t start, size_t len)
{
    CONTAINERS_EACH(i, containers_attached()) {
        struct app_map *map = app_maps_from(&container_at(i)->app_maps, start);
        while (map && map->iova < start + len && map->iova != map->va)
            map = app_maps_next(map);
        if (map && map->iova < start + len)
            return true;
    }
    return false;
}

bool follow_is_identity(uintptr_t start, size_t len)
{
    for (uintptr_t va = start, end = start + len; va < end;) {
        struct registration *reg = registration_from(va);
        bool is_ours = reg && reg->start <= va && is_identity(reg);
        size_t there = is_ours ? reg->start + reg->len - va : iova_reach(va, va);
        if (!there)
            return false;
        va += there;
    }
    return true;
}

bool follow_has_identity(uintptr_t start, size_t len)
{
    struct registration *reg = registration_from(start);
    while (reg && reg->start < start + len && !is_identity(reg))
        reg = registration_next(reg);
    return (reg && reg->start < start + len) || has_application(start, len);
}
