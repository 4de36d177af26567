/* SPDX-License-Identifier: MIT */
/* How much of what is registered is inside live allocations and mappings: for the profile. */
#ifndef MEMORY_USAGE_H
#define MEMORY_USAGE_H

#include <stddef.h>
#include <stdint.h>

/* Before any other thread: jemalloc sets its control interface up at the first call, under a lock. */
void usage_init(void);
/* Of a range inside the arena; `len` for any other. To the allocation for small ones, to the page for the
 * rest; what a thread's cache or jemalloc's decay still holds counts as live. Takes LOCK_ARENA. */
size_t usage_of(uintptr_t start, size_t len);

#endif
