/* SPDX-License-Identifier: MIT */
/* anydma_pin and anydma_unpin: holds on registrations, counted for each exact range. Under LOCK_REGISTRY. */
#include <errno.h>

#include "base/os.h"
#include "dma/descriptors.h"
#include "dma/registration.h"

struct pin {
    RB_ENTRY(pin) by_range;
    uintptr_t start;
    size_t len;
    uint64_t count;
    struct holder *holder;
};

RB_HEAD(pins, pin);

static struct pins pins;
static size_t longest; /* of the ranges that were ever held */
static struct pool pin_pool = POOL_OF(struct pin);

static int compare_range(const struct pin *a, const struct pin *b)
{
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return a->len < b->len ? -1 : a->len > b->len;
}

RB_GENERATE_INTERNAL(pins, pin, by_range, compare_range, __attribute__((unused)) static)

void pins_reset(void)
{
    RB_INIT(&pins);
}

void registration_hold_range(uintptr_t start, size_t len, int change)
{
    struct registration *reg = registration_from(start), *next;
    for (; reg && reg->start < start + len; reg = next) {
        next = registration_next(reg);
        reg->pins += (uint32_t)change;
        if (!reg->pins)
            registration_settle(reg);
    }
}

uint32_t pins_over(uintptr_t start, size_t len)
{
    struct pin key = {.start = start > longest ? start - longest : 0};
    uint32_t n = 0;
    for (struct pin *pin = RB_NFIND(pins, &pins, &key); pin && pin->start < start + len;
         pin = RB_NEXT(pins, , pin))
        n += pin->start + pin->len > start;
    return n;
}

static struct pin *find_pin(uintptr_t start, size_t len)
{
    struct pin key = {.start = start, .len = len};
    return RB_FIND(pins, &pins, &key);
}

bool pins_find_held(uintptr_t start, size_t len, struct held_range *held)
{
    struct pin *pin;
    RB_FOREACH(pin, pins, &pins)
    {
        if (pin->start >= start + len || start >= pin->start + pin->len)
            continue;
        *held = (struct held_range){pin->start, pin->len, false, pin->holder};
        return true;
    }
    return false;
}

static int pin_locked(uintptr_t start, size_t len)
{
    int error =
        descriptors_count(DESCRIPTOR_UNSERVED)
            ? -ENODEV
            : registration_fill(start, len); /* also of what is held already: part of it may be gone */
    if (error)
        return error;
    struct pin *pin = find_pin(start, len);
    if (pin) {
        pin->count++;
        return 0;
    }
    pin = pool_take(&pin_pool);
    if (!pin)
        return -ENOMEM;
    pin->start = start;
    pin->len = len;
    pin->count = 1;
    pin->holder = hazards_note_holder();
    RB_INSERT(pins, &pins, pin);
    longest = len > longest ? len : longest;
    registration_hold_range(start, len, 1);
    return 0;
}

int registry_pin(uintptr_t va, size_t len)
{
    if (!len || va + len < va)
        return -EINVAL;
    unsigned tries = 0;
    int error;
    registry_enter();
    do
        error = pin_locked(va, len);
    while (registration_try_again(&error, &tries));
    registry_leave();
    return error;
}

int registry_unpin(uintptr_t va, size_t len)
{
    int error = 0;
    registry_enter();
    struct pin *pin = find_pin(va, len);
    if (!pin) {
        error = -ENOENT;
    } else if (--pin->count == 0) {
        RB_REMOVE(pins, &pins, pin);
        pool_give(&pin_pool, pin);
        registration_hold_range(va, len, -1);
    }
    registry_leave();
    return error;
}
