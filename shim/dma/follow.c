/* SPDX-License-Identifier: MIT */
/* Tells one follower, as it happens, what memory a device finds at its own address, and what it does not. Under
 * LOCK_REGISTRY but for what says otherwise. */
#include <stdatomic.h>

#include "dma/eager.h"
#include "dma/registration.h"

typedef void follower_fn(uintptr_t start, size_t len, enum memory_change what);
static _Atomic(follower_fn *) follower;

void registration_changed(uintptr_t start, size_t len, enum memory_change what)
{
    follower_fn *changed = atomic_load_explicit(&follower, memory_order_relaxed);
    if (__builtin_expect(changed != NULL, 0))
        changed(start, len, what);
}

void registration_unfollow(void)
{
    atomic_store_explicit(&follower, NULL, memory_order_relaxed);
}

bool registry_follow(follower_fn *changed)
{
    registry_enter();
    bool is_followed = eager_is_on() && containers_attached();
    if (is_followed) {
        atomic_store_explicit(&follower, changed, memory_order_relaxed);
        for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg))
            changed(reg->start, reg->len, MEMORY_REGISTERED);
    }
    registry_exit();
    return is_followed;
}

/* No lock is held. */
void registry_pass_over(uintptr_t start, size_t len)
{
    if (!atomic_load_explicit(&follower, memory_order_relaxed))
        return;
    registry_enter();
    registration_changed(start, len, MEMORY_PASSED_OVER);
    registry_exit();
}

static bool is_identity(const struct registration *reg)
{
    return reg->iova == reg->start && containers_attached() && reg->mapped == containers_attached();
}

bool registry_is_identity(uintptr_t start, size_t len)
{
    for (uintptr_t va = start, end = start + len; va < end;) {
        struct registration *reg = registration_from(va);
        bool is_ours = reg && reg->start <= va && is_identity(reg);
        size_t there = is_ours ? reg->start + reg->len - va : application_identity(va);
        if (!there)
            return false;
        va += there;
    }
    return true;
}

bool registry_has_identity(uintptr_t start, size_t len)
{
    struct registration *reg = registration_from(start);
    while (reg && reg->start < start + len && !is_identity(reg))
        reg = registration_next(reg);
    return (reg && reg->start < start + len) || application_has_identity(start, len);
}
