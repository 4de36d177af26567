/* SPDX-License-Identifier: MIT */
/*
 * The shim's mutex: a futex word. While a thread holds one, the program's signal handlers are kept out of it (base/handlers.h), so that
 * a handler may enter the shim.
 * Ranks, lowest first; a thread takes them in rising order only (checked in debug builds):
 *   LOCK_REGISTRY  dma/registry.c: registrations, containers and every backend call
 *   LOCK_ARENA     memory/zones.c: whose pages are where; never held over an ioctl
 *   LOCK_OBJECTS   memory/checked.c: the objects of check mode
 *   LOCK_BRIDGES   interpose/bridges/dpdk.c: what stands for memory that DPDK does not know
 *   LOCK_CAPTURE   profile/capture.c: the capture, call sites
 * jemalloc's own locks come before all of these. Each is on one list, by LOCK_ON_LIST beside its definition: a fork takes and gives
 * all that are there, and a child whose fork ran no handler frees them.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank { LOCK_REGISTRY = 1, LOCK_ARENA, LOCK_OBJECTS, LOCK_BRIDGES, LOCK_CAPTURE, LOCK_NR_RANKS };

struct lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held with waiters */
    uint32_t rank;
};

/* Once in a file. No two locks of one rank. */
#define LOCK_ON_LIST(which)                                                                                  \
    static struct lock *const lock_on_list __attribute__((section("anydma_locks"), used)) = &(which)

void lock_take(struct lock *lock);
void lock_release(struct lock *lock);

/* All that are on the list, in the order of their ranks, and backwards. */
void locks_take_all(void);
void locks_release_all(void);
/* In a forked child: whatever the parent's threads held is free. */
void locks_reset_all(void);

#endif
