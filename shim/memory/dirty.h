/* SPDX-License-Identifier: MIT */
/* The dirty map of a heap zone: a bit for each page that was kept instead of purged, to be zeroed before its next use. It
 * means something where pages are the heap's and nobody's; whoever sets them to something else holds LOCK_ARENA, or has
 * them to himself. */
#ifndef MEMORY_DIRTY_H
#define MEMORY_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zone;
void dirty_set(struct zone *zone, uintptr_t start, size_t len, bool dirty);
/* Takes the pages of the range off the map. Returns how many were on it. */
size_t dirty_take(struct zone *zone, uintptr_t start, size_t len);
/* Zeroes those of them that are on it, and takes them off. */
void dirty_zero(struct zone *zone, uintptr_t start, size_t len);

#endif
