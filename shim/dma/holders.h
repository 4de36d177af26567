/* SPDX-License-Identifier: MIT */
/* Who made a hold or a mapping, kept with it where hazards are looked for (ANYDMA_CHECK=1). Under LOCK_REGISTRY. */
#ifndef DMA_HOLDERS_H
#define DMA_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOLDER_FRAMES = 24 };

struct holder {
    uint32_t site; /* in the capture; 0: none */
    unsigned depth;
    void *frames[HOLDER_FRAMES];
};

/* What a device is meant to reach. */
struct held_range {
    uintptr_t start;
    size_t len;
    bool by_application;
    const struct holder *holder; /* NULL: not known */
};

/* The calling thread's stack, to be kept with what it makes; NULL when hazards are not looked for. */
struct holder *holders_note(void);

#endif
