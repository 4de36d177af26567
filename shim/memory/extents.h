/* SPDX-License-Identifier: MIT */
/* The heap's pages: jemalloc's extents come from here and go back here. */
#ifndef MEMORY_EXTENTS_H
#define MEMORY_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `len` bytes (whole pages) at a multiple of `align`; 0 when there are none. *is_zero: whether they have to be zeroed, and
 * then whether they are. */
uintptr_t extents_take(size_t len, size_t align, bool *is_zero);
/* The same at `start`; 0 when it is not free: what lies before it grows where it is. */
uintptr_t extents_take_at(uintptr_t start, size_t len, bool *is_zero);
void extents_give(uintptr_t start, size_t len);
/* The program has a limit on its address space or data: nothing stays committed for later, but what may be pinned. */
void extents_economize(void);
/* From here on no page is given back: somebody who watches pages go (interpose/patched.h) would not hear of it. */
void extents_keep_pages(void);

struct zone;
/* The unit of registration around `addr`, a power of two. */
size_t extents_granule(const struct zone *zone, uintptr_t addr);

#endif
