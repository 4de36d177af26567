/* SPDX-License-Identifier: MIT */
/* What was mapped, unmapped and is pinned, by ours and by the application, as it was counted. Under LOCK_REGISTRY, but for what
 * says otherwise. */
#ifndef DMA_COUNTS_H
#define DMA_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

enum counts_whose { COUNTS_OURS, COUNTS_APPLICATIONS };

struct counts {
    uint64_t maps, unmaps, map_failures, unmap_failures, pinned, pinned_peak;
};

const struct counts *counts_of(enum counts_whose whose);
void counts_map(enum counts_whose whose);
void counts_map_failed(enum counts_whose whose);
void counts_unmap(enum counts_whose whose);
void counts_unmap_failed(enum counts_whose whose);
void counts_pin(enum counts_whose whose, uint64_t len);
void counts_unpin(enum counts_whose whose, uint64_t len);
/* Bytes that are pinned by either, at some moment. No lock. */
uint64_t counts_pinned(void);

/* A lookup that was not answered from the pagemap. No lock. */
void counts_lookup(bool is_refused);
uint64_t counts_lookups(void);
uint64_t counts_refused(void);

/* In a forked child. */
void counts_reset(void);

#endif
