/* SPDX-License-Identifier: MIT */
/* Address spaces are known by number, on the iommufd that they are of. */
#include "dma/spaces.h"

#include "dma/attachments.h"
#include "dma/clients.h"
#include "dma/containers.h"

bool spaces_note_iommufd(int fd)
{
    registry_enter();
    bool is_known = containers_file_of(fd, true) || containers_note_file(fd);
    registry_exit();
    return is_known;
}

int spaces_note(const struct iommu *space, bool is_default)
{
    registry_enter();
    containers_file_of(space->fd, true);
    struct container *container = container_find(space->fd, space->ioas_id);
    int error = container ? 0 : attachments_note(space);
    container = error ? NULL : container_find(space->fd, space->ioas_id);
    if (container && is_default)
        container_make_default(container);
    registry_leave();
    return error;
}

void spaces_find(uint32_t ioas_id)
{
    registry_enter();
    for (struct container_file *file = NULL; (file = containers_next_file(file));) {
        int fd = containers_descriptor(file);
        struct iommu space;
        if (fd < 0 || container_find(fd, ioas_id))
            continue;
        iommufd_init(&space, fd, ioas_id);
        attachments_note(&space);
    }
    registry_leave();
}

/* Those that a device was attached to first: what the others lose may be wanted there. */
void spaces_changed(void)
{
    struct iommu_info info;
    registry_enter();
    for (int is_losing = 0; is_losing < 2; is_losing++)
        for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
            struct container *container = container_at(i);
            if (!container_is_space(container) || !container_look_at(container, &info))
                continue;
            if (!info.is_idle && !container->attached)
                attachments_bring_in(container, &info);
            else if (!info.is_idle)
                container->info = info;
            else if (container->attached && is_losing)
                attachments_take_out(container);
        }
    registry_leave();
}

bool spaces_are_served(uint32_t ioas_id)
{
    bool is_there = false, is_served = false;
    registry_enter();
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        const struct container *container = container_at(i);
        if (!container_is_space(container) || !container_is_meant(container, ioas_id))
            continue;
        is_there = true;
        is_served |= container->attached;
    }
    is_served |= !is_there && !ioas_id;
    for (unsigned i = 0; !is_there && i < MAX_CONTAINERS; i++)
        is_served |= container_is_space(container_at(i)) && container_at(i)->attached;
    registry_exit();
    return is_served;
}
