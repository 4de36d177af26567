/* SPDX-License-Identifier: MIT */
/*
 * The arena: address space that is ours to place, from 256 GiB to just under 512 GiB (reachable by a 39-bit IOMMU), and
 * whose pages come and go only through here. Two kinds of zones: heap zones serve jemalloc (memory/heap.c), map zones
 * the program's anonymous private mappings (interpose/mmap.c). Owns LOCK_ARENA, never held over an ioctl; calls into
 * dma/registry.c with no lock held.
 *
 *   256 GiB                           416 GiB                512 GiB
 *   | heap zone, granules of 2 to 64 MiB | map zone              |  further zones from 1 TiB, granules of 256 MiB and 1 GiB
 *
 * Nothing is reserved: what is mapped there is what is used (memory/zones.h).
 * While a page may be pinned (dma/pagemap.c says so) it stays where it is: a heap page given back is zeroed when it is
 * handed out again, the address of a page that the program unmaps is held back, until nothing alive is left in the
 * registration and the registry releases it.
 */
#ifndef MEMORY_ARENA_H
#define MEMORY_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/registry.h"
#include "memory/runs.h"

/* Without it arena_contains is always false, and everything else refuses. */
void arena_init(void);
extern const struct memory_ops arena_memory_ops;

/* The first heap zone, for free()'s first test. */
extern struct arena_bounds {
    uintptr_t start;
    size_t len;
} arena_first_heap;

/* Whether the address lies in a zone: no lock. */
bool arena_contains(uintptr_t addr);
bool arena_is_heap(uintptr_t addr);
/* The next part at or after `addr` and before `end` that lies in one zone (*inside), or outside all of them; returns
 * where it ends. */
uintptr_t arena_split(uintptr_t addr, uintptr_t end, bool *inside);

/* `len` bytes (whole pages) for the heap at a multiple of `align`; 0 when there are none. *is_zero: whether they have to be
 * zeroed, and then whether they are. */
uintptr_t arena_heap_take(size_t len, size_t align, bool *is_zero);
void arena_heap_give(uintptr_t addr, size_t len);
/* The program has a limit on its address space or data: nothing stays committed for later, but what may be pinned. */
void arena_economize(void);
/* From here on the heap gives no page back: somebody who watches pages go (interpose/patched.h) would not hear of it. */
void arena_keep_pages(void);

/* A place for a mapping of the program's, PROT_NONE and kept from everyone else until arena_map_done. 0: none. */
uintptr_t arena_map_place(size_t len);
/* The place is not needed: it is unmapped and free again. */
void arena_map_give(uintptr_t addr, size_t len);
/* A place for a new mapping, where nothing is mapped, already counted as the program's: until it is made, registering it
 * fails in the kernel. */
uintptr_t arena_map_place_for(size_t len, int prot, unsigned flags);
/* Makes one: mmap of anonymous memory. `flags`: enum run_flag. Returns where, -ENOSPC when there is no place, or -errno. */
intptr_t arena_map(size_t len, int prot, int map_flags, unsigned flags);
/* It was made. Returns as registry_offer. */
int arena_map_made(uintptr_t addr, size_t len, int prot, unsigned flags);
/* The mapping was made at a place from arena_map_place. `flags`: enum run_flag. Returns as registry_offer. */
int arena_map_done(uintptr_t addr, size_t len, int prot, unsigned flags);
/* It could not be made. */
void arena_map_undo(uintptr_t addr, size_t len);
/* Somebody else has mapped something there, not through the doors: the place is never handed out again. */
void arena_map_taken(uintptr_t addr, size_t len);
/* The program unmaps part of a zone. Returns 0 or -errno. */
int arena_unmap(uintptr_t addr, size_t len);
/* Before a call that replaces what is mapped there with something of another kind (MAP_FIXED, MREMAP_FIXED). */
void arena_replace_begin(uintptr_t addr, size_t len);
void arena_replace_end(uintptr_t addr, size_t len, int prot, unsigned flags, bool failed);
/* Begins a replacement, which arena_replace_end finishes, of a range in one zone where nothing is mapped. False: something
 * is, or another thread is at work there. */
bool arena_claim(uintptr_t addr, size_t len);
/* Whether nothing is mapped in the range, which lies in one zone. */
bool arena_is_free(uintptr_t addr, size_t len);
/* Whether all of it is the program's, with all of `flags` (enum run_flag). */
bool arena_is_used(uintptr_t addr, size_t len, unsigned flags);
/* Whether all of it is the program's ordinary memory, also where that lies over a registration of something older. */
bool arena_is_ordinary(uintptr_t addr, size_t len);
/* As memory_ops' expose. */
bool arena_expose(uintptr_t addr, size_t len, bool exposed);
void arena_protected(uintptr_t addr, size_t len, int prot);
/* The protection that [addr, ...) was given; *run_len how far it goes. -1: nothing is mapped there. */
int arena_protection(uintptr_t addr, size_t *run_len);
/* Zeroes what may be pinned of the range in place and purges the rest. Returns 0 or -errno. */
int arena_purge(uintptr_t addr, size_t len, int advice);

uint64_t arena_held_bytes(void);

void arena_lock_for_fork(void);
void arena_unlock_after_fork(void);
/* In a forked child: nothing is pinned any more. `locks_are_lost`: no fork handler ran, another thread may have held
 * the lock. */
void arena_reset(bool locks_are_lost);

#endif
