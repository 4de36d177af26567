/* SPDX-License-Identifier: MIT */
/*
 * What a container is: a VFIO container, or an address space of an iommufd, with the descriptors that lead to it, what the
 * application has mapped in it, and the calls of its backend, counted. Found by descriptor and IOAS. Knows nothing of who
 * wants what in it, or when. Under LOCK_REGISTRY, but for what says otherwise.
 */
#ifndef DMA_CONTAINERS_H
#define DMA_CONTAINERS_H

#include <stdbool.h>
#include <stdint.h>

#include "dma/app_maps.h"
#include "dma/registrations.h"
#include "iommu/iommu.h"

enum { MAX_CONTAINERS = 32 };

struct container_file;

struct container {
    bool is_known;               /* the record is in use: the program's own mappings in it are kept */
    bool attached;               /* a device is behind it: what is registered is mapped in it */
    bool is_default;             /* what VFIO's calls on the descriptor itself mean */
    bool has_ended;              /* its IOMMU is gone, with every mapping: to be detached */
    struct container_file *file; /* what its descriptors lead to */
    struct iommu iommu;
    struct iommu_info info;
    uint64_t max_entries; /* UINT64_MAX: unlimited */
    struct app_maps app_maps;
    uint64_t nr_app_maps;
    uint64_t nr_entries; /* ours and the application's */
};

/* Which are attached, a bit for each. No lock. */
uint32_t containers_attached(void);
/* The first of `set` (a bit for each) at or after `from`; MAX_CONTAINERS: none. */
static inline unsigned containers_next(uint32_t set, unsigned from)
{
    set = from < MAX_CONTAINERS ? set >> from << from : 0;
    return set ? (unsigned)__builtin_ctz(set) : MAX_CONTAINERS;
}
/* A loop over those of `set`, which is asked for again at each step. */
#define CONTAINERS_EACH(i, set)                                                                              \
    for (unsigned i = containers_next(set, 0); i < MAX_CONTAINERS; i = containers_next(set, i + 1))
/* One by the number of its bit, and the other way round. */
struct container *container_at(unsigned index);
unsigned container_index(const struct container *container);
/* By one of its descriptors; ioas_id 0: the container that the file itself is, or plays. NULL: not known. */
struct container *container_find(int fd, uint32_t ioas_id);
bool container_is_space(const struct container *container);
/* Whether it is the one that `ioas_id` names in a call on its descriptor. */
bool container_is_meant(const struct container *container, uint32_t ioas_id);

/* A record, with no device behind it yet. Returns NULL when there are too many. */
struct container *container_note(const struct iommu *iommu);
/* Ends it, once nothing is mapped in it that anybody keeps. */
void container_forget(struct container *container);
/* What VFIO's calls on its descriptor mean, from now on. */
void container_make_default(const struct container *container);
/* A device is behind it, with what its IOMMU says now. */
void container_attach(struct container *container, const struct iommu_info *info);
/* What is registered is not mapped in it from here on, for no device is behind it any more; and once all has left it. */
void container_withdraw(struct container *container);
void container_detach(struct container *container);
/* What has become of it; its IOMMU may have ended. Returns false when that can't be told. */
bool container_look_at(struct container *container, struct iommu_info *info);
/* Whether its IOMMU is gone. From then on it has_ended. */
bool container_is_gone(struct container *container);
/* What its IOMMU says of IOVAs may have changed. */
void container_look_again(struct container *container);

/* How many files those attached are of: the address spaces of one iommufd share what is pinned. */
unsigned containers_nr_pinning(void);
/* Of the one attached last. */
const struct iommu_info *containers_last_info(void);
/* How many there were, and the most mappings that one of them had. */
void containers_count(uint64_t *seen, uint64_t *most_entries);
/* Something was counted that the live page shows. */
void containers_changed(void);

bool container_can_reach(const struct container *container, uint64_t iova, uint64_t len);
void container_count_entries(struct container *container, int change);
/* Maps `reg` in every attached container that lacks it. Returns 0 or the first failure, after undoing what it did. */
int containers_map(struct registration *reg);
/* Maps what it can of [start, end), which lies in `reg`, in every attached container that has neither this nor all of it. Returns 0,
 * or the first failure: what was mapped by then stays. */
int containers_map_part(struct registration *reg, uintptr_t start, uintptr_t end);
/* Undoes it in one container, piece by piece where it has these. False: the backend refused, the record is stuck from here on. */
bool container_unmap(struct container *container, struct registration *reg);
/* The container's IOMMU is gone, and the mapping with it. */
void container_was_unmapped(struct container *container, struct registration *reg);
/* Undoes it wherever it is mapped. False as above. */
bool containers_unmap(struct registration *reg);
/* Whether something is_deferred that this thread can undo: it is asked to from here on. */
bool containers_take_deferred(void);

/* The file that a descriptor leads to; NULL: none of a container's. One whose descriptor came by a way that nobody saw is
 * recognised, if that is wanted. */
struct container_file *containers_file_of(int fd, bool recognises);
/* The same, noted where it is new: of no container yet. NULL: there are too many. */
struct container_file *containers_note_file(int fd);
void containers_forget_file(struct container_file *file);
/* The next one after `file` (NULL: the first); NULL: none. */
struct container_file *containers_next_file(struct container_file *file);
/* One of its descriptors; -1: none. */
int containers_descriptor(const struct container_file *file);
/* `fd`, one of `first` to `last`, is about to be closed. Returns its file when that was the last one, NULL when another
 * descriptor stands for it from here on. */
struct container_file *containers_file_ends(struct container_file *file, int fd, int first, int last);

/* In a forked child: there are none, and no descriptors. Returns whether one was attached. */
bool containers_reset(void);

#endif
