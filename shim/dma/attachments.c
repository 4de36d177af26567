/* SPDX-License-Identifier: MIT */
/* Who comes, and who goes: what is registered follows. */
#include "dma/attachments.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/config.h"
#include "base/log.h"
#include "dma/application.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/eager.h"
#include "dma/iova.h"
#include "dma/pagemap.h"
#include "dma/promises.h"
#include "profile/failures.h"
#include "profile/live.h"
#include "profile/profile.h"

/* A group or a device was closed: a container may end unseen, with a mapping of the device. */
static _Atomic bool is_in_doubt;
/* A thread has descriptors of its own: from then on one may end unseen at any time. */
static _Atomic bool has_parted;

bool attachments_are_there(void)
{
    return containers_attached() != 0;
}

void attachments_bring_in(struct container *container, const struct iommu_info *info)
{
    unsigned index = container_index(container);
    const struct iommu *iommu = &container->iommu;
    container_attach(container, info);
    registry_has_device();
    failures_set_counter(info->counter);
    log_write(LOG_INFO, "attached %s container %d: IOVAs 0x%lx to 0x%lx, %lu mappings", iommu->ops->name,
              iommu->fd, container->info.ranges[0].start,
              container->info.ranges[container->info.nr_ranges ? container->info.nr_ranges - 1 : 0].last,
              container->max_entries);
    live_open();
    containers_changed();
    profile_record_attach(
        index, iommu->ops->name, container->max_entries, container->info.ranges[0].start,
        container->info.ranges[container->info.nr_ranges ? container->info.nr_ranges - 1 : 0].last);
    application_attached(container);
    application_join(container);
    promises_keep();
    if (config.mode == MODE_EAGER || application_wants_eager(container))
        eager_start();
}

int attachments_note(const struct iommu *iommu)
{
    struct iommu asked = *iommu;
    struct iommu_info info;
    int error = iommu->ops->query(&asked, &info);
    if (error)
        return error;
    struct container *container = container_note(iommu);
    if (!container)
        return -EMFILE;
    if (!info.is_idle)
        attachments_bring_in(container, &info);
    return 0;
}

/* Unmaps everything of ours from the container. Registrations left in no container end. */
static void withdraw(struct container *container)
{
    unsigned index = container_index(container);
    bool gone = container_is_gone(container);
    struct registration *reg = registration_from(0), *next;
    container_withdraw(container);
    for (; reg; reg = next) {
        uintptr_t start = reg->start;
        size_t len = reg->len;
        next = registration_next(reg);
        bool is_last = reg->mapped == 1u << index;
        if (!(reg->mapped & 1u << index))
            continue;
        if (is_last)
            pagemap_clear(start, len);
        if (gone || !container_unmap(container, reg)) /* refused: it stays stuck, in no container */
            container_was_unmapped(container, reg);
        if (is_last && registry_undo(reg))
            registry_released(start, len);
    }
}

static void mark_detached(struct container *container)
{
    profile_record_detach(container_index(container));
    container_detach(container);
    if (!containers_attached()) {
        is_in_doubt = false;
        iova_come_together();
        eager_end();
    }
}

/* Its last device is gone; the address space stays, with what the application has mapped there. */
void attachments_take_out(struct container *container)
{
    log_write(LOG_INFO, "no device is attached to address space %u any more: nothing is registered there",
              container->iommu.ioas_id);
    withdraw(container);
    application_detached(container);
    mark_detached(container);
}

/* Forgets the container, and all that is in it. */
static void detach_locked(struct container *container)
{
    if (container->attached)
        withdraw(container);
    application_forget_container(container);
    if (container->attached)
        mark_detached(container);
    container_forget(container);
}

void attachments_end_file(struct container_file *file)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (container_at(i)->is_known && container_at(i)->file == file)
            detach_locked(container_at(i));
    containers_forget_file(file);
}

void attachments_reap(void)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct container *container = container_at(i);
        if (!container->is_known || !container->has_ended)
            continue;
        log_write(LOG_INFO, "container %d has lost its IOMMU: what was registered there is not any more",
                  container->iommu.fd);
        detach_locked(container);
    }
}

static void look_at_all(void)
{
    struct iommu_info info;
    CONTAINERS_EACH(i, containers_attached())
        if (container_look_at(container_at(i), &info) && info.is_idle)
            attachments_take_out(container_at(i));
    attachments_reap();
}

void attachments_doubt(void)
{
    is_in_doubt = containers_attached() != 0;
}

void attachments_look(void)
{
    if (is_in_doubt || has_parted)
        look_at_all();
}

void attachments_part(void)
{
    registry_enter();
    has_parted = true;
    pagemap_publish_no_more();
    promises_withdraw();
    registry_exit();
}

int attachments_add(const struct iommu *iommu)
{
    registry_enter();
    struct container *known = iommu->fd >= 0 ? container_find(iommu->fd, iommu->ioas_id) : NULL;
    if (known && container_is_gone(known)) {
        detach_locked(known);
        known = NULL;
    }
    int error = known ? -EBUSY : attachments_note(iommu);
    registry_leave();
    return error;
}

int attachments_renew(const struct iommu *iommu)
{
    registry_enter();
    struct container *known = container_find(iommu->fd, iommu->ioas_id);
    if (known) {
        known->has_ended = true;
        attachments_reap();
    }
    int error = attachments_note(iommu);
    registry_leave();
    return error;
}

int attachments_end(int fd, uint32_t ioas_id)
{
    registry_enter();
    struct container *container = container_find(fd, ioas_id);
    if (container)
        detach_locked(container);
    registry_exit();
    return container ? 0 : -ENOENT;
}

int attachments_end_all(int fd)
{
    registry_enter();
    struct container_file *file = containers_file_of(fd, false);
    if (file)
        attachments_end_file(file);
    registry_exit();
    return file ? 0 : -ENOENT;
}

void attachments_mapping_left(void)
{
    if (!atomic_load_explicit(&is_in_doubt, memory_order_relaxed))
        return;
    registry_enter();
    attachments_look();
    registry_leave();
}

/* Which containers an attach concerns: the one that the descriptor and the number mean, or the address spaces of that number. A
 * number of none is a page table's, of one of them all. */
static uint32_t concerned(int fd, uint32_t ioas_id)
{
    const struct container *one = fd >= 0 ? container_find(fd, ioas_id) : NULL;
    uint32_t spaces = 0, meant = 0;
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        const struct container *container = container_at(i);
        spaces |= container_is_space(container) ? 1u << i : 0;
        if (fd < 0 ? container_is_space(container) && container_is_meant(container, ioas_id)
                   : container == one)
            meant |= 1u << i;
    }
    return (fd < 0 && ioas_id && !meant ? spaces : meant) & containers_attached();
}

bool attachments_make_way(int fd, uint32_t ioas_id)
{
    bool has_made_way = false;
    registry_enter();
    uint32_t set = concerned(fd, ioas_id);
    for (struct registration *reg = registration_from(0); set && reg; reg = registration_next(reg)) {
        if (!(reg->mapped & set))
            continue;
        pagemap_clear(reg->start, reg->len);
        CONTAINERS_EACH(i, reg->mapped & set)
            has_made_way |= container_unmap(container_at(i), reg);
    }
    registry_exit();
    return has_made_way;
}

void attachments_restore(int fd, uint32_t ioas_id)
{
    registry_enter();
    uint32_t set = concerned(fd, ioas_id);
    CONTAINERS_EACH(i, set)
        container_look_again(container_at(i));
    if (set)
        promises_keep();
    registry_exit();
}

void attachments_reset(void)
{
    is_in_doubt = has_parted = false;
    iova_come_together();
}
