/* SPDX-License-Identifier: MIT */
/*
 * The arena: address space that is ours to place, from 256 GiB to just under 512 GiB (reachable by a 39-bit IOMMU), and
 * whose pages come and go only through this folder. Two kinds of zones: heap zones serve jemalloc (heap.c over extents.c),
 * map zones the program's mappings (places.c, mappings.c, moves.c). What lies elsewhere is foreign (foreign.c); owners.c
 * asks the one or the other.
 *
 *   256 GiB                           416 GiB                512 GiB
 *   | heap zone, granules of 2 to 64 MiB | map zone              |  further zones from 1 TiB, granules of 256 MiB and 1 GiB
 *
 * Nothing is reserved: what is mapped there is what is used. While a page may be pinned (dma/pagemap.h says so) it stays where
 * it is: a heap page given back is zeroed when it is handed out again, the address of a page that the program unmaps is
 * held back, until nothing alive is left in the registration and the registry releases it.
 *
 * The way of one address, from the program's munmap to the kernel, where a registration covers it:
 *   1. interpose/mmap.c: munmap, the door, asks owners.c: owners_unmap
 *   2. which finds it in the arena: mappings.c, mappings_unmap. (Where nothing is registered it ends there, in one step.)
 *   3. mappings_begin: the page was USED; PAGE_LEAVING makes it BUSY (pages.c, the table). Lookups say EFAULT from here on,
 *   4. and dma/: registry_hide takes it out of the pagemap, so that they do come here to ask.
 *   5. pages_ops->unmap: the kernel's munmap. If it fails PAGE_FAILED makes the page USED again, and nothing has changed.
 *   6. mappings_end: PAGE_LEFT makes it HELD_BACK: nothing is mapped, and nobody is given the address.
 *   7. dma/: registry_forget asks units.c, retire, whether anything in the registration is still alive;
 *   8. if nothing is, it is unmapped from the IOMMU, and units.c, release: PAGE_RELEASED makes the page NONE, nobody's.
 *   9. If something is, the page stays HELD_BACK until the last neighbour has gone the same way. A new mapping of the program's
 *      right there (MAP_FIXED) would be DETACHED until then: lookups say ESTALE, for the device knows the page from before.
 *
 * Locks: LOCK_ARENA (zones_lock) guards the zones' runs, for one step each, never over an ioctl; dma/ is called with no lock
 * held, and calls back with LOCK_REGISTRY, which comes before.
 */
#ifndef MEMORY_ARENA_H
#define MEMORY_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/registry.h"

/* Without it arena_contains is always false, and everything else refuses. */
void arena_init(void);
/* For addresses that lie in the arena. */
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

/* What is held back. */
uint64_t arena_held_back_bytes(void);

/* After a fork, in both processes; the caller holds LOCK_ARENA. */
void arena_after_fork(void);
/* In a forked child: nothing is pinned any more. */
void arena_reset(void);

#endif
