/* SPDX-License-Identifier: MIT */
/* The heap of check mode (ANYDMA_CHECK=1): each allocation has pages of its own, a page that nobody has behind them, and
 * a registration of its own, which ends with it: a device that touches freed memory faults in the IOMMU. */
#ifndef MEMORY_CHECKED_H
#define MEMORY_CHECKED_H

#include <stddef.h>

/* `size` zeroed bytes at a multiple of `align` (a power of two), or NULL. */
void *checked_take(size_t size, size_t align);
/* Its usable size, whole pages; 0: it is no allocation of this heap. */
size_t checked_size(const void *ptr);
void checked_give(void *ptr);

#endif
