/* SPDX-License-Identifier: MIT */
/* Which IOVA a range gets, by what is registered and what the application has mapped in the attached containers. Under
 * LOCK_REGISTRY. */
#ifndef DMA_IOVA_H
#define DMA_IOVA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The IOVA for [va, va + len): identity where possible, else a window. Returns 0 or -EADDRNOTAVAIL. */
int iova_choose(uintptr_t va, size_t len, uint64_t *iova);
/* Cuts [*start, *end) back to the part around `va` whose addresses can be its IOVAs. Returns 0 or -EADDRNOTAVAIL. */
int iova_clip_to_identity(uintptr_t va, uintptr_t *start, uintptr_t *end);
/* Another process has mapped something where we would, or none has any more. */
void iova_go_apart(void);
void iova_come_together(void);
/* Whether a mapping of the application's reaches into [iova, iova + len); *start gets where one does. */
bool iova_is_applications(uint64_t iova, uint64_t len, uint64_t *start);
/* How many bytes from `va` on the application itself has mapped from `iova` on. */
size_t iova_reach(uintptr_t va, uint64_t iova);

#endif
