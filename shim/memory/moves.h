/* SPDX-License-Identifier: MIT */
/* mremap. The kernel moves the mappings, so that they stay what they are; where a registration still holds the pages that have
 * moved, for a neighbour's sake, the moved mapping gets others with the same contents: the old IOVA never leads there. */
#ifndef MEMORY_MOVES_H
#define MEMORY_MOVES_H

#include <stddef.h>
#include <stdint.h>

struct move {
    uintptr_t from;
    size_t from_len; /* 0: another mapping of what is shared there */
    uintptr_t to;    /* where it is given: MREMAP_FIXED */
    size_t to_len;
    int flags; /* MREMAP_* */
};

/* Lengths are whole pages, and the ranges lie in the address space; the kernel looks at everything else. Returns where the
 * mapping is, or -errno. */
intptr_t moves_make(struct move move);

#endif
