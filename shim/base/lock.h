/* SPDX-License-Identifier: MIT */
/*
 * The shim's mutex: a futex word, taken with every signal blocked, so that a handler may enter the shim. Until the
 * program installs its first handler there is nothing to keep out, and the two system calls are spared.
 * Ranks, lowest first; a thread takes them in rising order only (checked in debug builds):
 *   LOCK_REGISTRY  dma/registry.c: registrations, containers and every backend call
 *   LOCK_ARENA     memory/arena.c: whose pages are where; never held over an ioctl
 *   LOCK_OBJECTS   memory/checked.c: the objects of check mode
 *   LOCK_POLICY    short leaves: capture, call sites
 * jemalloc's own locks come before all of these; a fork takes them in the same order (interpose/lifecycle.c).
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
    bool has_blocked;       /* the holder's signals are blocked by this lock; */
    uint64_t saved_signals; /* its mask before that */
};

/* The program is about to have a signal handler: from here on holders block signals. */
void lock_expect_handlers(void);
bool lock_expects_handlers(void);

void lock_take(struct lock *lock);
void lock_release(struct lock *lock);
/* In a forked child: whatever the parent's threads held is free. */
void lock_reset(struct lock *lock);

#endif
