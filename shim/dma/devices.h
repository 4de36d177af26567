/* SPDX-License-Identifier: MIT */
/* The program's descriptors of containers, groups and devices: how they end and multiply, and what is not served. Each call takes
 * LOCK_REGISTRY, but for the first. */
#ifndef DMA_DEVICES_H
#define DMA_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

/* Whether `fd` may be a container, a group or a device that is known. No lock. */
bool devices_may_know(int fd);
/* Whether it is a container that is known, or the iommufd of an address space that is, by this descriptor or by another one
 * of the same file. `ioas_id` 0: what VFIO's calls on `fd` itself mean. */
bool devices_know(int fd, uint32_t ioas_id);
/* A group or a device: with its end a container may end. */
void devices_note(int fd);
/* Whether `fd` is one of them, or a container, by this descriptor or by another one of the same file. */
bool devices_know_device(int fd);

/* Before and after a call that closes descriptors `first` to `last`, in this process, as far as they are open. The last one
 * of a file drops what is registered in its containers; so does the end of its IOMMU, with the last group or device. */
void devices_closing(int first, int last);
void devices_closed(void);
/* `new_fd` is the same file as `old_fd`, from now on. */
void devices_duplicated(int old_fd, int new_fd);

/* What leads to a device that anydma does not serve: while it is open lookups say ENODEV, since their IOVAs would lead that
 * device nowhere. */
enum unserved { UNSERVED_IOMMUFD, UNSERVED_GROUP, UNSERVED_TYPE, UNSERVED_VDPA };
void devices_note_unserved(int fd, enum unserved what);
/* The groups that were unserved are those of a container that has now been adopted. */
void devices_serve_groups(void);

#endif
