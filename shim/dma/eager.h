/* SPDX-License-Identifier: MIT */
/*
 * Eager mode: what the program has, and what it is handed, is registered at once at IOVA == address, for programs that
 * rely on that without asking. What can't be is told on stderr, at once and at exit; or its allocation fails
 * (ANYDMA_ON_LIMIT=refuse). Under LOCK_REGISTRY but for what says otherwise.
 */
#ifndef DMA_EAGER_H
#define DMA_EAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers everything that is alive now; from here on what is handed out. Does nothing when it is on already. */
void eager_start(void);
/* The last container is gone, or this is a forked child. */
void eager_end(void);
/* A lookup through the public interface was made: the program manages itself. No lock. */
void eager_note_lookup(void);
/* Whether the program chose IOVAs of its own, or asks by lookups: auto mode leaves it alone then. No lock. */
bool eager_is_left_to_program(void);
/* In a forked child. */
void eager_reset(void);
/* Whether what is handed out is registered. No lock. */
bool eager_is_on(void);

/* [start, start + len) is not registered any more, or an IOVA there is free again: eager_refill then registers what is
 * alive there: what gave way to a mapping of the application's own, or had replaced what was registered before. */
void eager_released(uintptr_t start, size_t len);
void eager_refill(void);
/* Everything that nobody was told of was released, so that a mapping of the application's finds room: it ends here. */
void eager_gave_way(void);

/* The program has mapped shared memory, which is not registered: it is told once, `why` and what to do. Takes LOCK_REGISTRY. */
void eager_pass_shared(uintptr_t start, size_t len, const char *why);

/* Memory is about to be handed out: registers it in eager mode. Returns 0, or -ENOMEM when it can't be registered and is
 * therefore not to be handed out (ANYDMA_ON_LIMIT=refuse). Takes LOCK_REGISTRY. */
int eager_offer(uintptr_t start, size_t len);
/* The same for what is alive in the range. */
int eager_offer_alive(uintptr_t start, size_t len);
/* Before a call that can't be taken back: whether the range (`start` 0: a place not known yet) would pass. Returns as
 * eager_offer. Takes LOCK_REGISTRY. */
int eager_admit(uintptr_t start, size_t len);

/* At exit: what was handed out unregistered. Takes no lock. */
void eager_tell_end(void);

#endif
