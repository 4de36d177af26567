/* SPDX-License-Identifier: MIT */
/* One pointer. */
#include "dma/changes.h"

#include <stdatomic.h>

static _Atomic(changes_follower *) follower;

void changes_follow(changes_follower *follows)
{
    atomic_store_explicit(&follower, follows, memory_order_relaxed);
}

bool changes_are_followed(void)
{
    return atomic_load_explicit(&follower, memory_order_relaxed) != NULL;
}

void changes_tell(uintptr_t start, size_t len, enum memory_change what)
{
    changes_follower *changed = atomic_load_explicit(&follower, memory_order_relaxed);
    if (__builtin_expect(changed != NULL, 0))
        changed(start, len, what);
}
