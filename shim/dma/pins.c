/* SPDX-License-Identifier: MIT */
/* Holds over what they register. */
#include "dma/pins.h"

#include <errno.h>

#include "dma/clients.h"
#include "dma/descriptors.h"
#include "dma/holders.h"
#include "dma/holds.h"

bool pins_find_held(uintptr_t start, size_t len, struct held_range *held)
{
    const struct hold *hold = holds_any_over(start, len);
    if (hold)
        *held = (struct held_range){hold->start, hold->len, false, hold->holder};
    return hold != NULL;
}

static int pin_locked(uintptr_t start, size_t len)
{
    int error = descriptors_count(DESCRIPTOR_UNSERVED)
                    ? -ENODEV
                    : registry_fill(start, len); /* also of what is held already: part of it may be gone */
    if (error)
        return error;
    struct hold *hold = holds_find(start, len);
    if (hold) {
        hold->count++;
        return 0;
    }
    hold = holds_insert(start, len);
    if (!hold)
        return -ENOMEM;
    hold->holder = holders_note();
    registry_hold(start, len, 1);
    return 0;
}

int pins_add(uintptr_t va, size_t len)
{
    if (!len || va + len < va)
        return -EINVAL;
    unsigned tries = 0;
    int error;
    registry_enter();
    do
        error = pin_locked(va, len);
    while (registry_try_again(&error, &tries));
    registry_leave();
    return error;
}

int pins_remove(uintptr_t va, size_t len)
{
    int error = 0;
    registry_enter();
    struct hold *hold = holds_find(va, len);
    if (!hold) {
        error = -ENOENT;
    } else if (--hold->count == 0) {
        holds_remove(hold);
        registry_hold(va, len, -1);
    }
    registry_leave();
    return error;
}
