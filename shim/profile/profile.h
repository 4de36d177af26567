/* SPDX-License-Identifier: MIT */
/*
 * Who pins how much: the events that dma/ and interpose/ tell the capture. With no capture asked for, each
 * call is one predictable branch. Calls only base/. Owns LOCK_CAPTURE, which it takes last and for moments.
 *
 * An event's call stack is taken by the door that led to it, before any lock (profile_enter), and kept for
 * the thread until profile_leave; see profile/stack.c for why that can't deadlock.
 */
#ifndef PROFILE_PROFILE_H
#define PROFILE_PROFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/os.h"
#include "profile/format.h"

extern bool profile_is_on; /* constant after the start */

/* Opens the capture if ANYDMA_OUTPUT asks for one; stacks are also taken for ANYDMA_CHECK. Once, before any
 * other thread. */
void profile_start(void);
/* Call stacks are taken from here on, if any are wanted. From a constructor: see stack_open. */
void profile_open_stacks(void);
/* The last records, from `stats` (struct anydma_stats, `nr` numbers); closes the file. */
void profile_stop(const uint64_t *stats, size_t nr);
/* Around a fork; no lock is held before it. The child's own capture begins with its first event. */
void profile_before_fork(uint64_t pinned);
/* Before that, where memory is pinned: whose fork it is. Ended by profile_leave. */
void profile_take_fork_stack(void);
void profile_after_fork(void);
void profile_become_child(void);

/* How much of what is registered is used: recorded at the end of the door that registered it, for all of it at each new
 * peak, once a second, and when a snapshot asks for it. Who records it stands above; set once, at the start. */
struct profile_range {
    uintptr_t start;
    size_t len;
};
extern void (*profile_record_usage)(void);
extern _Atomic bool profile_is_usage_due;
/* What was registered since the last call, at most `max` ranges. *all: everything is due. Returns how many. */
size_t profile_take_fresh(struct profile_range *ranges, size_t max, bool *all);
void profile_end_door(void);

void profile_take_stack(void);
void profile_drop_stack(void);
void profile_label_push(const char *label);
void profile_label_pop(void);

void profile_begin_thread(void);

/* A thread allocates for the first time, and may allocate more. */
static inline void profile_thread_begins(void)
{
    if (__builtin_expect(profile_is_on, 0))
        profile_begin_thread();
}

/* In a door, before any lock. */
static inline void profile_enter(void)
{
    if (__builtin_expect(profile_is_on, 0))
        profile_take_stack();
}

/* At its end: no lock may be held. */
static inline void profile_leave(void)
{
    if (__builtin_expect(profile_is_on, 0))
        profile_end_door();
}

/* The thread's current stack without the capture: return addresses, innermost first. Returns how many. */
unsigned profile_copy_stack(void **frames, unsigned max);

/* When an IOMMU call begins; 0 without a capture. */
static inline uint64_t profile_now(void)
{
    return __builtin_expect(profile_is_on, 0) ? os_monotonic_ns() : 0;
}

struct profile_mapping {
    enum profile_owner owner;
    unsigned container;
    uint32_t site; /* 0: the thread's stack, for a map */
    uintptr_t va;
    size_t len;
    uint64_t iova;
    uint64_t began_ns; /* profile_now() before the call */
    int error;         /* 0 or -errno */
};

/* The site of the thread's stack, 0 if it has none. */
uint32_t profile_record_site(void);
void profile_record_map(const struct profile_mapping *mapping);
void profile_record_unmap(const struct profile_mapping *mapping);
void profile_record_attach(unsigned container, const char *backend, uint64_t entries, uint64_t first,
                           uint64_t last);
void profile_record_detach(unsigned container);
void profile_record_device(const char *name);
void profile_record_owed(uint32_t site, uintptr_t va, size_t len);
void profile_record_unowed(uintptr_t va, size_t len);
void profile_record_refused(uintptr_t va, int error);
void profile_record_hazard(enum profile_hazard kind, uintptr_t va, size_t len, uint32_t holder);
struct profile_usage {
    size_t used, free, untouched;
    unsigned flags; /* enum profile_use */
};
void profile_record_used(uintptr_t va, size_t len, const struct profile_usage *usage);

static inline uint32_t profile_site(void)
{
    return __builtin_expect(profile_is_on, 0) ? profile_record_site() : 0;
}

#endif
