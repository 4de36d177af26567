/* SPDX-License-Identifier: MIT */
/*
 * For who must know without asking what a device finds at its own address. While eager mode is on, one follower is told so, from
 * what is registered already on, and of what is handed out before anyone has it. It is called with LOCK_REGISTRY held: it takes
 * none that comes before, and allocates nothing.
 */
#ifndef DMA_FOLLOW_H
#define DMA_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/changes.h"

/* Takes the lock. Returns false when eager mode is off. */
bool follow_start(changes_follower *changed);
/* For the follower: whether a device finds all of the range, or any of it, at IOVA == address, by ours or by the program's own
 * mappings. */
bool follow_is_identity(uintptr_t start, size_t len);
bool follow_has_identity(uintptr_t start, size_t len);
/* Memory is handed out that eager mode is not offered. Takes the lock. */
void follow_pass_over(uintptr_t start, size_t len);

#endif
