/* SPDX-License-Identifier: MIT */
/* The program's heap: jemalloc, its names prefixed jem_, over the arena's heap zones. jemalloc's own contract holds for
 * every jem_ function. */
#ifndef MEMORY_HEAP_H
#define MEMORY_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/arena.h"

void *jem_malloc(size_t size);
void *jem_calloc(size_t n, size_t size);
void *jem_realloc(void *ptr, size_t size);
size_t jem_xallocx(void *ptr, size_t size, size_t extra, int flags);
void jem_free(void *ptr);
int jem_posix_memalign(void **out, size_t align, size_t size);
void *jem_memalign(size_t align, size_t size);
size_t jem_malloc_usable_size(void *ptr);
int jem_mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len);
void jem_malloc_stats_print(void (*write)(void *arg, const char *text), void *arg, const char *options);

/* Whether `ptr` came from this heap. One range check in the common case. */
static inline bool heap_owns(const void *ptr)
{
    return (uintptr_t)ptr - arena_first_heap.start < arena_first_heap.len;
}
bool heap_owns_elsewhere(const void *ptr);

/* Sets the arena up, unless the process may have too little memory for a heap there. */
void heap_init(void);
/* The program has a limit on its address space or data, which what is kept for later would count against: from here on
 * everything goes back at once. */
void heap_economize(void);

/* jem_realloc, of blocks that are larger than 2 MiB by then: what can't grow where it is has its pages moved, where it can, not
 * copied. */
enum { HEAP_CARRIES_ABOVE = 2 << 20 };
void *heap_realloc_large(void *ptr, size_t size);

/* Gives back what no allocation uses. True when something was. */
bool heap_trim(void);

struct heap_usage {
    size_t allocated; /* bytes in live allocations */
    size_t active;    /* bytes in pages with live allocations */
    size_t mapped;    /* bytes taken from the arena */
    size_t large;     /* of the first, bytes in allocations with pages of their own */
    size_t nr_large;
};
void heap_usage(struct heap_usage *usage);

#endif
