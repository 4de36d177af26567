/* SPDX-License-Identifier: MIT */
/* The program's containers by its descriptors: how they end and multiply, and what is not served. Each call takes
 * LOCK_REGISTRY, but for the first. */
#ifndef DMA_CONTAINERS_H
#define DMA_CONTAINERS_H

#include <stdbool.h>
#include <stdint.h>

struct iommu;

/* Whether `fd` may be a container, a group or a device that is known. No lock. */
bool containers_may_know(int fd);
/* Whether it is a container that is known, or the iommufd of an address space that is, by this descriptor or by another one
 * of the same file. `ioas_id` 0: what VFIO's calls on `fd` itself mean. */
bool containers_know(int fd, uint32_t ioas_id);
/* A group or a device: with its end a container may end. */
void containers_note_device(int fd);
/* Whether `fd` is one of them, or a container, by this descriptor or by another one of the same file. */
bool containers_know_device(int fd);

/* Before and after a call that closes descriptors `first` to `last`, in this process, as far as they are open. The last one
 * of a file drops what is registered in its containers; so does the end of its IOMMU, with the last group or device. */
void containers_closing(int first, int last);
void containers_closed(void);
/* `new_fd` is the same file as `old_fd`, from now on. */
void containers_duplicated(int old_fd, int new_fd);

/* An iommufd, which the program may make address spaces of. Returns false when there are too many to know. */
bool containers_note_iommufd(int fd);
/* An address space of an iommufd. What the program maps there is known from now on; what is registered is mapped there, too,
 * while it has a device. `is_default`: it is what VFIO's calls on the descriptor mean. Returns 0 or -errno. */
int containers_note_space(const struct iommu *space, bool is_default);
/* One that nobody has seen made, of an iommufd that is known, to which a device was attached: if `ioas_id` is one. */
void containers_find_space(uint32_t ioas_id);
/* Devices were attached to address spaces, or taken from them: looks at them all. */
void containers_devices_changed(void);
/* Whether a device that was attached to the address space is reached by what is registered. 0: to the one that VFIO's calls
 * mean, if there is any; an unknown one: to a page table, of one of them. */
bool containers_serve_space(uint32_t ioas_id);

/* What leads to a device that anydma does not serve: while it is open lookups say ENODEV, since their IOVAs would lead that
 * device nowhere. */
enum unserved { UNSERVED_IOMMUFD, UNSERVED_GROUP, UNSERVED_TYPE, UNSERVED_VDPA };
void containers_note_unserved(int fd, enum unserved what);
/* The groups that were unserved are those of a container that has now been adopted. */
void containers_serve_groups(void);

#endif
