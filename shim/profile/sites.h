/* SPDX-License-Identifier: MIT */
/* Call sites: each different stack once, by number. Guarded by the capture's lock. */
#ifndef PROFILE_SITES_H
#define PROFILE_SITES_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/stack.h"

struct site {
    uint32_t id;
    uint32_t depth;
    uint32_t written; /* the capture (a child's is another) that describes it; 0: none yet */
    const char *label;
    void *const *frames;
};

/* The site of the first `depth` frames; made if need be. NULL: no memory. */
struct site *sites_find(const struct stack *stack, unsigned depth);

#endif
