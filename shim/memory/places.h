/* SPDX-License-Identifier: MIT */
/* Where the program's mappings go in the arena's map zones. */
#ifndef MEMORY_PLACES_H
#define MEMORY_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "memory/pages.h"

/* Makes a mapping of anonymous memory, whole pages, of `kind` (places_kind), where there is room for it. Returns where;
 * -ENOSPC: nowhere; or the kernel's -errno. */
intptr_t places_map(size_t len, int prot, int map_flags, unsigned flags);
/* A place, claimed (PAGE_BUSY) and mapped PROT_NONE, for a call that puts something there. 0: none. */
uintptr_t places_take(size_t len);
/* It is not needed. */
void places_give(uintptr_t addr, size_t len);

/* What a mapping of `len` bytes is. `flags`: enum page_flag. */
struct page_kind places_kind(size_t len, int prot, unsigned flags);

#endif
