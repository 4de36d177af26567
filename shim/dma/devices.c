/* SPDX-License-Identifier: MIT */
/* Descriptors, as the doors see them come and go. */
#include "dma/devices.h"

#include "base/log.h"
#include "dma/attachments.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/descriptors.h"
#include "dma/promises.h"

bool devices_may_know(int fd)
{
    return descriptors_may_know(fd);
}

bool devices_know(int fd, uint32_t ioas_id)
{
    registry_enter();
    bool is_known =
        container_find(fd, ioas_id) || (containers_file_of(fd, true) && container_find(fd, ioas_id));
    registry_exit();
    return is_known;
}

/* One of those that are about to be closed. */
static void closing(int fd, int first, int last)
{
    enum descriptor_kind kind;
    void *object;
    if (!descriptors_find(fd, &kind, &object))
        return;
    struct container_file *ended =
        kind == DESCRIPTOR_CONTAINER ? containers_file_ends(object, fd, first, last) : NULL;
    if (ended)
        attachments_end_file(ended);
    else if (kind != DESCRIPTOR_CONTAINER)
        descriptors_forget(fd);
    attachments_doubt();
    if (kind == DESCRIPTOR_UNSERVED && !descriptors_count(kind))
        log_write(LOG_INFO,
                  "the last device that anydma does not serve is closed: lookups are answered again");
}

void devices_closing(int first, int last)
{
    registry_enter();
    for (int fd = descriptors_from(first); fd >= 0 && fd <= last; fd = descriptors_from(fd + 1))
        closing(fd, first, last);
    registry_leave();
}

void devices_closed(void)
{
    registry_enter();
    attachments_look();
    registry_leave();
}

void devices_note(int fd)
{
    registry_enter();
    descriptors_note(fd, DESCRIPTOR_DEVICE, NULL);
    registry_exit();
}

/* Notes it as what another descriptor of the same file is. */
static bool is_same_as_known(int fd)
{
    enum descriptor_kind kind;
    void *object;
    for (int other = descriptors_from(0); other >= 0; other = descriptors_from(other + 1))
        if (descriptors_are_one(other, fd) && descriptors_find(other, &kind, &object))
            return descriptors_note(fd, kind, object);
    return false;
}

bool devices_know_device(int fd)
{
    registry_enter();
    bool is_known = descriptors_find(fd, NULL, NULL) || is_same_as_known(fd);
    registry_exit();
    return is_known;
}

void devices_duplicated(int old_fd, int new_fd)
{
    enum descriptor_kind kind;
    void *object;
    registry_enter();
    if (old_fd != new_fd && descriptors_find(old_fd, &kind, &object))
        descriptors_note(new_fd, kind, object);
    registry_exit();
}

static const char *const unserved_names[] = {
    [UNSERVED_IOMMUFD] = "by /dev/iommu and its character device",
    [UNSERVED_GROUP] = "of a container that another process has set up",
    [UNSERVED_TYPE] = "in a container whose IOMMU is not of type 1, or that ANYDMA_IOMMU keeps apart",
    [UNSERVED_VDPA] = "by vDPA",
};

void devices_note_unserved(int fd, enum unserved what)
{
    registry_enter();
    bool is_first = !descriptors_count(DESCRIPTOR_UNSERVED);
    enum descriptor_kind kind;
    bool is_known = descriptors_find(fd, &kind, NULL) && kind == DESCRIPTOR_UNSERVED;
    if (!is_known && descriptors_note(fd, DESCRIPTOR_UNSERVED, (void *)unserved_names[what]) && is_first) {
        unsigned nr_handed = promises_withdraw();
        log_write(LOG_WARNING,
                  "the program opens a device %s (descriptor %d), which anydma does not serve: while it is "
                  "open lookups "
                  "say ENODEV, and IOVAs that were looked up before (%u ranges) lead it nowhere",
                  unserved_names[what], fd, nr_handed);
    }
    registry_exit();
}

void devices_serve_groups(void)
{
    registry_enter();
    for (int fd; (fd = descriptors_other(unserved_names[UNSERVED_GROUP], -1)) >= 0;)
        descriptors_note(fd, DESCRIPTOR_DEVICE, NULL);
    registry_exit();
}
