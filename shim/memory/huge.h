/* SPDX-License-Identifier: MIT */
/*
 * Huge pages for what is pinned. A pin of one huge page costs a fraction of 512 small ones, and so does the IOMMU's table; but a
 * pinned page can no more be made huge. So, unless ANYDMA_THP=never: from the moment on at which the program is known to be a
 * device's (by what it links, by its first call to anydma, when it opens a device, or at its first pin) the heap asks for huge
 * pages as it is committed, all of it alike, that its mapping is not split. Not before that: a small program has no use for them.
 * What was there before, or is no longer whole, or is a mapping, is collapsed before it is pinned where that comes free: where at
 * most half of a block is touched, a huge page takes less than bringing in the rest would. What is touched is pinned as it lies: to
 * copy it takes ten times as long as pinning it, and nobody has to wait for that but with ANYDMA_THP=always.
 *
 * A zone's bit for a block says that it is whole: since it was committed for huge pages, or collapsed, no
 * part of it has been taken away. Only the price of the next pin hangs on it.
 */
#ifndef MEMORY_HUGE_H
#define MEMORY_HUGE_H

#include "memory/zones.h"

/* [start, start + len) of a heap zone was committed anew. Under LOCK_ARENA. */
void huge_committed(struct zone *zone, uintptr_t start, size_t len);
/* Its pages were dropped: blocks of which some remain are no longer whole. */
void huge_dropped(struct zone *zone, uintptr_t start, size_t len);
/* Its pages are others now, or none. */
void huge_moved(struct zone *zone, uintptr_t start, size_t len);
/* The program is a device's, or has opened one: memory is going to be pinned. Takes LOCK_ARENA. */
void huge_expect_device(void);
/* Before a range of a zone is pinned. Takes LOCK_ARENA. */
void huge_prepare(struct zone *zone, uintptr_t start, size_t len);
/* The program has set a filter: no call of ours asks which pages are touched, or collapses them, from here on. */
void huge_give_up(void);
/* After a fork: what is written to next becomes small pages, for they are copied one by one. Under
 * LOCK_ARENA. */
void huge_forget(void);

#endif
