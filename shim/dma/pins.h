/* SPDX-License-Identifier: MIT */
/* anydma_pin and anydma_unpin: holds, which keep what they reach into registered. Each call takes LOCK_REGISTRY, but for the last. */
#ifndef DMA_PINS_H
#define DMA_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct held_range;

/* Returns 0 or -errno as <anydma.h> lists them. */
int pins_add(uintptr_t va, size_t len);
int pins_remove(uintptr_t va, size_t len);
bool pins_find_held(uintptr_t start, size_t len, struct held_range *held);

#endif
