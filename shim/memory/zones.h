/* SPDX-License-Identifier: MIT */
/* The stretches of address space that the arena hands out from. Under LOCK_ARENA but for the lock-free membership tests: a
 * zone is published once and stays as it is. */
#ifndef MEMORY_ZONES_H
#define MEMORY_ZONES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "memory/runs.h"

/*
 * Where nobody's address space is (PAGE_NONE, PAGE_HELD_BACK) nothing is mapped: a reservation would count against the limits
 * that a program sets itself (RLIMIT_AS), against mlockall, and against the number of mappings. The kernel itself places
 * nothing so low; whoever else asks for an address in a zone gets it, which is noticed when a place turns out to be taken.
 */
enum zone_kind { ZONE_HEAP, ZONE_MAP };
enum { MAX_ZONES = 64 };

#define BLOCK_SHIFT 21
#define BLOCK_SIZE ((size_t)1 << BLOCK_SHIFT)

struct zone {
    enum zone_kind kind;
    uintptr_t start;
    uintptr_t end;
    bool has_anchor; /* map zones: memory/places.c has put its page there */
    struct runs runs;
    _Atomic uint64_t *dirty; /* heap zones: memory/dirty.h's */
    _Atomic uint64_t *whole; /* heap zones: memory/huge.h's */
};

extern struct zone zones[MAX_ZONES];
extern _Atomic unsigned nr_zones;
extern struct lock zones_lock; /* LOCK_ARENA */

/* The first zones. */
void zones_init(void);
/* A further zone of that kind, with room for `len` bytes. False: there is none to be had. */
bool zones_grow(enum zone_kind kind, size_t len);
struct zone *zone_of(uintptr_t addr);
/* mmap of anonymous memory at `addr` unless something is mapped there, with no flag but the caller's: a sandbox may kill
 * for MAP_FIXED_NOREPLACE. Returns `addr`, -EEXIST, or -errno. */
intptr_t zone_map_free(uintptr_t addr, size_t len, int prot, int flags);
/* That said -EEXIST: what somebody else has mapped in [start, start + len) is closed, all of it. */
void zone_close_taken(struct zone *zone, uintptr_t start, size_t len);

#endif
