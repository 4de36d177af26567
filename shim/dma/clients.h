/* SPDX-License-Identifier: MIT */
/*
 * What the registry offers to those above it in dma/, who work under its lock: a registration made, completed, undone, let go.
 * And what it asks of them, which it knows by these three questions only.
 */
#ifndef DMA_CLIENTS_H
#define DMA_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/changes.h"
#include "dma/registrations.h"
#include "dma/registry.h"

struct registry_clients {
    /* A lookup is about to be answered: whatever may have ended unseen is looked at. */
    void (*looking)(void);
    /* [start, start + len) is not registered any more. */
    void (*released)(uintptr_t start, size_t len);
    /* The lock is let go after a change: what is left over of it is settled. */
    void (*leaving)(void);
};

/* Before any other call. */
void registry_init(const struct memory_ops *memory, const struct registry_clients *clients);
/* In a forked child: no container, nothing registered, nothing held. */
void registry_reset(void);

/* Takes LOCK_REGISTRY, and releases it: after a change by registry_leave, which settles what is left over of it. */
void registry_enter(void);
void registry_exit(void);
void registry_leave(void);
/* After a failure, with the lock held: whether to try again, having let others in meanwhile: for -EINPROGRESS, which becomes
 * -EFAULT when it does not end (the other thread may be the caller, in a signal handler). */
bool registry_try_again(int *error, unsigned *tries);

/* One is attached to a container: IOVAs lead to this process's pages. */
void registry_has_device(void);

/* What a registration is made for. FOR_EAGER: at IOVA == address or not at all, and it gives way to the application. */
enum purpose { FOR_LOOKUP, FOR_EAGER };
/* Registers the unit around `va`, and, of a lump, what is wanted or near. Returns 0 and *made, or -errno. */
int registry_make(uintptr_t va, size_t want_len, enum purpose purpose, struct registration **made);
/* Registers all of [start, start + len), as lookups of each page would. Returns 0 or the first failure. */
int registry_fill(uintptr_t start, size_t len);
/* Maps what was made before in every attached container that lacks it; where something in it was unmapped since, its address is
 * held back. Returns 0 or -errno; -EINPROGRESS: another thread is about to do that; try again. */
int registry_complete(struct registration *reg);
/* After -EFAULT, where another container has it whole: maps each stretch that still is what was registered. Returns 0 or the first
 * failure; -EFAULT: there is none. */
int registry_complete_intact(struct registration *reg);
/* Before it is completed, where it is owed: takes in what follows of the same lump, so that one call pays for both. */
void registry_gather(struct registration *reg);
/* After -EFAULT, where nothing has it yet: it may reach over memory that was protected or unmapped since. Puts in its place what
 * can still be registered, part by part: what was promised does not depend on a neighbour. False: it stays. */
bool registry_plan_again(struct registration *reg);
/* Whether what is at `va` is still what was registered, at the IOVA of the same number, in every container; where it lacks one it
 * gets it. Returns 0 and *end, up to where that is so, or -errno. */
int registry_confirm(struct registration *reg, uintptr_t va, uintptr_t *end);
/* Undoes it everywhere and frees the record. False: a backend refused, the record is stuck. */
bool registry_undo(struct registration *reg);
/* What was undone whole: the memory layer may use the range again. */
void registry_released(uintptr_t start, size_t len);
/* Undoes it if nothing alive is in it and nobody holds it. */
void registry_let_go(struct registration *reg);
/* Releases those that were never handed out and overlap [iova, iova + len). */
void registry_release_unused(uint64_t iova, uint64_t len);
/* Adds `change` to the holds of every registration that reaches into the range. */
void registry_hold(uintptr_t start, size_t len, int change);
/* Whether anydma did not place the memory at `va`. */
bool registry_is_foreign(uintptr_t va);
/* For memory that anydma did not place, which may be gone with nobody having asked since: whether it is. The registration has ended
 * then. */
bool registry_has_ended(struct registration *reg);
/* The next stretch in [*cursor, end) that is alive; moves *cursor behind it. */
bool registry_next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len);

#endif
