/* SPDX-License-Identifier: MIT */
/* What becomes registered, no longer is, or is handed out unregistered, is told to one who must know it as it happens. Under
 * LOCK_REGISTRY, but for what says otherwise. */
#ifndef DMA_CHANGES_H
#define DMA_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memory_change {
    MEMORY_REGISTERED, /* became registered, or no longer is: see follow_has_identity */
    MEMORY_LEFT_OUT,   /* is handed out, and eager mode could not register it */
    MEMORY_PASSED_OVER, /* is handed out, and eager mode is not for it: inaccessible, read-only, or a reserve */
};

typedef void changes_follower(uintptr_t start, size_t len, enum memory_change what);

/* There is one follower; NULL: none. */
void changes_follow(changes_follower *follower);
/* No lock. */
bool changes_are_followed(void);
void changes_tell(uintptr_t start, size_t len, enum memory_change what);

#endif
