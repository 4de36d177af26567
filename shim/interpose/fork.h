/* SPDX-License-Identifier: MIT */
/* What fork does to the shim. */
#ifndef INTERPOSE_FORK_H
#define INTERPOSE_FORK_H

#include <stdbool.h>

/* Registers the shim's fork handlers. Called once, at the start, before any other handler of the process is
 * registered. */
void fork_init(void);

/* Makes this process a child that owns nothing of its parent's IOMMU state. `locks_are_lost`: no handler ran (a raw
 * clone, _Fork), so that threads which the child does not have may hold any lock. */
void fork_become_child(bool locks_are_lost);

#endif
