/* SPDX-License-Identifier: MIT */
/* Large allocations and mappings, which are registered by few calls. Under LOCK_REGISTRY. */
#ifndef DMA_LUMPS_H
#define DMA_LUMPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct registration;

/* Memory that was made at once, and mostly ends at once: a large allocation, a large mapping. */
struct memory_lump {
    uintptr_t start, end; /* what is alike, and can be registered in whole blocks with nothing beside it */
    size_t most;          /* that is to be registered by one call: a power of two */
};

/* Makes the unit [*start, *end) wider, where all of it lies in the lump: up to `wanted_end`, and, if it `grows`, by
 * what is registered around it. Returns whether it did. */
bool lump_widen(const struct memory_lump *lump, uintptr_t wanted_end, bool grows, uintptr_t *start,
                uintptr_t *end);
/* For what is owed: joins to `reg`, which lies in the lump, what follows, as far as one call goes; and cuts it in two when that
 * call has no room. False: it stays as it is. */
void lump_join(const struct memory_lump *lump, struct registration *reg);
bool lump_halve(struct registration *reg);

#endif
