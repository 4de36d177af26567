/* SPDX-License-Identifier: MIT */
/* The records of what anydma_pin holds, counted for each exact range. They outlive a container, and hold what is registered
 * later. Records only. Under LOCK_REGISTRY. */
#ifndef DMA_HOLDS_H
#define DMA_HOLDS_H

#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

struct holder;

struct hold {
    RB_ENTRY(hold) by_range;
    uintptr_t start;
    size_t len;
    uint64_t count;
    struct holder *holder; /* in check mode */
};

/* The one of exactly this range; NULL. */
struct hold *holds_find(uintptr_t start, size_t len);
/* How many reach into the range. */
uint32_t holds_over(uintptr_t start, size_t len);
/* One of them, whichever; NULL. */
struct hold *holds_any_over(uintptr_t start, size_t len);
/* A new record, of one hold. Returns NULL when there is no memory. */
struct hold *holds_insert(uintptr_t start, size_t len);
/* Ends the record. */
void holds_remove(struct hold *hold);
/* In a forked child: there are none. */
void holds_reset(void);

#endif
