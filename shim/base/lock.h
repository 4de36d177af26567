/* SPDX-License-Identifier: MIT */
/*
 * The shim's mutex: a futex word. While a thread holds one, the program's signal handlers are kept out of it (base/handlers.h), so that
 * a handler may enter the shim.
 * Ranks, lowest first; a thread takes them in rising order only (checked in debug builds):
 *   LOCK_REGISTRY  dma/registry.c: registrations, containers and every backend call
 *   LOCK_ARENA     memory/arena.c: whose pages are where; never held over an ioctl
 *   LOCK_OBJECTS   memory/checked.c: the objects of check mode
 *   LOCK_POLICY    short leaves: capture, call sites
 * jemalloc's own locks come before all of these; a fork takes them in the same order (interpose/fork.c).
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank { LOCK_REGISTRY = 1, LOCK_ARENA, LOCK_OBJECTS, LOCK_POLICY, LOCK_NR_RANKS };

struct lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held with waiters */
    uint32_t rank;
};

void lock_take(struct lock *lock);
void lock_release(struct lock *lock);
/* In a forked child: whatever the parent's threads held is free. */
void lock_reset(struct lock *lock);

#endif
