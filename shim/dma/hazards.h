/* SPDX-License-Identifier: MIT */
/* Hazard reports (ANYDMA_CHECK=1): memory that is freed or unmapped while a hold of anydma_pin, or a mapping that the
 * application made itself, still lets a device reach it. Each is told with both call stacks. */
#ifndef DMA_HAZARDS_H
#define DMA_HAZARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In a door, before the memory goes, with no lock held. `is_freed`: by free(), else by an unmap. */
void hazards_look(uintptr_t start, size_t len, bool is_freed);
/* How many there were. No lock. */
uint64_t hazards_seen(void);

#endif
