/* SPDX-License-Identifier: MIT */
/* The address spaces of the program's iommufds. Each call takes LOCK_REGISTRY. */
#ifndef DMA_SPACES_H
#define DMA_SPACES_H

#include <stdbool.h>
#include <stdint.h>

struct iommu;

/* An iommufd, which the program may make address spaces of. Returns false when there are too many to know. */
bool spaces_note_iommufd(int fd);
/* An address space of an iommufd. What the program maps there is known from now on; what is registered is mapped there, too,
 * while it has a device. `is_default`: it is what VFIO's calls on the descriptor mean. Returns 0 or -errno. */
int spaces_note(const struct iommu *space, bool is_default);
/* One that nobody has seen made, of an iommufd that is known, to which a device was attached: if `ioas_id` is one. */
void spaces_find(uint32_t ioas_id);
/* Devices were attached to address spaces, or taken from them: looks at them all. */
void spaces_changed(void);
/* Whether a device that was attached to the address space is reached by what is registered. 0: to the one that VFIO's calls
 * mean, if there is any; an unknown one: to a page table, of one of them. */
bool spaces_are_served(uint32_t ioas_id);

#endif
