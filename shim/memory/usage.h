/* SPDX-License-Identifier: MIT */
/* What of registered memory is in use: live allocations and mappings. */
#ifndef MEMORY_USAGE_H
#define MEMORY_USAGE_H

#include <stddef.h>
#include <stdint.h>

/* Before any other thread: jemalloc sets its control interface up at the first call, under a lock. */
void usage_init(void);

/* Calls `visit` for the stretches of [start, start + len) that are somebody's, in order: `live` bytes of `part_len` are
 * in live allocations or are a mapping, the others are free inside the heap (what a thread's cache holds counts as live).
 * What is not visited is nobody's; memory outside the arena is live. Takes LOCK_ARENA, not around `visit`; what other threads do meanwhile may be seen or not. */
void usage_visit(uintptr_t start, size_t len,
                 void (*visit)(void *arg, uintptr_t part, size_t part_len, size_t live), void *arg);

#endif
