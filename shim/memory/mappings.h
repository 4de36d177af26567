/* SPDX-License-Identifier: MIT */
/*
 * The program's mappings in the arena. A call of the program's that changes what is mapped in a range is made between
 * mappings_begin and mappings_end, which keep everybody else away: until it has succeeded nothing is given up but the
 * answers of the pagemap, which lookups put back. Ranges are whole pages in one zone; `flags` are of enum page_flag.
 */
#ifndef MEMORY_MAPPINGS_H
#define MEMORY_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/pages.h"

/* `event`: PAGE_LEAVING or PAGE_REPLACING. */
void mappings_begin(uintptr_t start, size_t len, enum page_event event);
/* The same where nothing is mapped. False: something is, or another thread is at work there. */
bool mappings_claim(uintptr_t start, size_t len);
/* `event`: PAGE_FAILED, PAGE_LEFT, PAGE_REPLACED (by `kind`), PAGE_RENEWED, PAGE_GUARDED. What is registered there and no
 * longer alive is unregistered; what is new there is offered: returns as mappings_offer. */
int mappings_end(uintptr_t start, size_t len, enum page_event event, const struct page_kind *kind);
/* Memory is handed out: eager mode registers it, if it may be. Returns as eager_offer. */
int mappings_offer(uintptr_t start, size_t len, const struct page_kind *kind);
/* Before a call that can't be taken back: whether that would pass. Returns as eager_admit. */
int mappings_admit(uintptr_t start, size_t len, const struct page_kind *kind);

/* munmap. Returns 0 or -errno. */
int mappings_unmap(uintptr_t start, size_t len);
/* mmap with MAP_FIXED of new anonymous memory over the like, zeroed where it is, so that the IOVAs that were handed out
 * stay good. `is_locked`: as new mappings are (mlockall), or this one is to be. False: that can't be, the kernel's call
 * is to be made. */
bool mappings_renew(uintptr_t start, size_t len, int prot, bool is_locked);
/* The kernel was told something of the mappings: it ends with them, and goes along when they move. */
void mappings_advised(uintptr_t start, size_t len);
/* Somebody may hold the pages from now on: they are never zeroed where they are. */
void mappings_lent(uintptr_t start, size_t len);
/* madvise. What may be pinned is zeroed where it is, what is not is purged. Returns 0 or -errno. */
int mappings_advise(uintptr_t start, size_t len, int advice);
/* Whether the page is locked, or a filter keeps that from being asked. */
bool mappings_may_be_locked(uintptr_t page);
/* The program has set a filter: no call of ours asks the kernel whether memory is locked from here on. */
void mappings_give_up_asking(void);
/* mprotect; key -1: pkey_mprotect is not meant. Returns 0 or -errno. */
int mappings_protect(uintptr_t start, size_t len, int prot, int key);

/* Whether all of it is the program's, with all of `flags`. */
bool mappings_are_used(uintptr_t start, size_t len, unsigned flags);
/* What is at `addr`, and how far that goes; nothing outside the arena. */
struct page_kind mappings_at(uintptr_t addr, size_t *run_len);

#endif
