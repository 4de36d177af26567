/* SPDX-License-Identifier: MIT */
/*
 * Memory that the arena did not place: stacks, globals, shared and file mappings. Registered page-exact on lookup, after
 * attach only, and judged anew at every lookup: never through the pagemap. Private anonymous memory is watched
 * (memory/watch.h); the rest can't be, and is refused unless ANYDMA_FOREIGN=trust.
 *
 * What is known of each page that is or was registered, and what changes it, stands in a table (foreign.c). Lookups say
 * ESTALE for what was unmapped, replaced or purged behind the doors while the registration holds the old page.
 * A registration all of whose pages are gone is undone, and the addresses start afresh.
 */
#ifndef MEMORY_FOREIGN_H
#define MEMORY_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/registry.h"

/* For addresses outside the arena. */
extern const struct memory_ops foreign_memory_ops;

/* Around the program's own call that takes, moves or replaces pages. */
void foreign_begin(uintptr_t start, size_t len);
void foreign_end(uintptr_t start, size_t len, bool has_failed);
/* madvise: in a purge what is registered is zeroed where it is, the rest purged. Returns 0 or -errno. */
int foreign_advise(uintptr_t start, size_t len, int advice);
/* For memory/files.c, under LOCK_REGISTRY. The next registered stretch at or after *cursor; moves *cursor behind it. */
bool foreign_next_registered(uintptr_t *cursor, uintptr_t *start, uintptr_t *end);
/* What is registered of the range is no longer what is mapped. */
void foreign_emptied(uintptr_t start, uintptr_t end);
/* The program watches this range by a userfaultfd of its own: ours lets go, lookups are refused. */
void foreign_withdraw(uintptr_t start, size_t len);
/* Before unshare(2) of a user namespace: the watch ends, and what was registered by it. */
void foreign_withdraw_all(void);
/* In a forked child. */
void foreign_reset(void);

#endif
