/* SPDX-License-Identifier: MIT */
/*
 * Containers and address spaces as devices come to them and go: everything that is registered is mapped in each one that has a
 * device, and leaves it with the last. Each call takes LOCK_REGISTRY, but for what says otherwise.
 */
#ifndef DMA_ATTACHMENTS_H
#define DMA_ATTACHMENTS_H

#include <stdbool.h>
#include <stdint.h>

struct container;
struct container_file;
struct iommu;
struct iommu_info;

/* By a descriptor and the number of the IOAS (0: a container). `fd` stays its owner's. Returns 0 or -errno. */
int attachments_add(const struct iommu *iommu);
/* The program has set the container's IOMMU anew: whatever was known of that container has ended, seen or not. */
int attachments_renew(const struct iommu *iommu);
/* Whether any is attached. No lock. */
bool attachments_are_there(void);
/* Ends one; or all that the descriptor leads to. Returns 0 or -ENOENT. */
int attachments_end(int fd, uint32_t ioas_id);
int attachments_end_all(int fd);
/* A mapping outside the arena is gone: it may have been the last thing that held a closed device. */
void attachments_mapping_left(void);
/* A thread has descriptors of its own now, which end with it, unseen: no lookup is answered without asking from here on. */
void attachments_part(void);
/* Releases what is registered so that an attach can be tried again, and puts back what fits. `fd` -1: in the address space of
 * that number (0: the one that plays a container), of whatever iommufd; in all of them, where none has it. Returns whether there
 * was anything. */
#define ALL_SPACES UINT32_MAX
bool attachments_make_way(int fd, uint32_t ioas_id);
void attachments_restore(int fd, uint32_t ioas_id);

/* What follows is for those who have the lock. One that is known, or becomes so, and gets a device where its IOMMU says that there
 * is one. */
int attachments_note(const struct iommu *iommu);
/* Everything that the file leads to ends. */
void attachments_end_file(struct container_file *file);
/* A device comes to an address space that is known, or the last one goes. */
void attachments_bring_in(struct container *container, const struct iommu_info *info);
void attachments_take_out(struct container *container);
/* A device or a group was closed: a container may end unseen. */
void attachments_doubt(void);
/* Where one may have ended unseen: looks. */
void attachments_look(void);
/* Detaches those that have ended. */
void attachments_reap(void);
/* In a forked child. */
void attachments_reset(void);

#endif
