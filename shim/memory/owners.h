/* SPDX-License-Identifier: MIT */
/* Who answers for which memory: the arena for its own (arena.h), foreign.h for the rest. Ranges may lie in both. */
#ifndef MEMORY_OWNERS_H
#define MEMORY_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/registry.h"
#include "memory/pages.h"

/* For all addresses. */
extern const struct memory_ops owners_memory_ops;

bool owners_overlap_arena(uintptr_t start, size_t len);

/* Around a call of the program's that changes what is mapped in a range: as mappings_begin and mappings_end. */
void owners_begin(uintptr_t start, size_t len, enum page_event event);
void owners_end(uintptr_t start, size_t len, enum page_event event, const struct page_kind *kind);

/* munmap, madvise, mprotect (pkey_mprotect, unless `key` is -1) of whole pages. Return 0 or -errno. */
int owners_unmap(uintptr_t start, size_t len);
int owners_advise(uintptr_t start, size_t len, int advice);
int owners_protect(uintptr_t start, size_t len, int prot, int key);
/* The kernel was told something else of mappings that no new one has: a name, a policy. */
void owners_advised(uintptr_t start, size_t len);
/* A pipe or the network is given the pages by reference. */
void owners_lent(uintptr_t start, size_t len);

#endif
