/* SPDX-License-Identifier: MIT */
/* When the shim is there: its start, which may come before its constructor, and whose it is. */
#ifndef INTERPOSE_LIFECYCLE_H
#define INTERPOSE_LIFECYCLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum lifecycle_state { STATE_NEW, STATE_STARTING, STATE_ACTIVE, STATE_OFF };

extern _Atomic int lifecycle_state;

/* Starts the shim if nobody has; true once it is there and not disabled. A call from inside the start itself, or from
 * another thread during it, gets false. */
bool lifecycle_start(void);

/* Whether the doors work for this process: started, and not a child made behind fork's handlers; such a child is
 * first given a state of its own. */
bool lifecycle_enter(void);

/* False in a vfork child, which shares this memory but neither its descriptors nor its IOMMU state. */
bool lifecycle_is_owner(void);

/* The calling process owns the IOMMU state from here on. */
void lifecycle_own(void);

struct iommu;
/* A simulated container with the program's device behind it, if it has one; `fd` stands for it, or -1. Returns 0 or
 * -ENOMEM. */
int lifecycle_init_sim(struct iommu *iommu, int fd, uint32_t ioas_id);
void lifecycle_close_sim(struct iommu *iommu);

/* Finds the allocator behind ours; before a second thread could come by while it is being looked for. */
void malloc_find_next(void);

/* The next definition of `name` after the shim's. */
void *lifecycle_next(const char *name);

#endif
