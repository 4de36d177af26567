/* SPDX-License-Identifier: MIT */
/*
 * Untouched memory, brought in by every core before it is pinned: the call that pins does it by one, zeroing page after page. What one
 * call registers of a large range (16 MiB and more, at most 64: dma/lumps.h) is cut into slices of 2 MiB, which the calling thread and
 * some helpers take in turns. The longest call is that for one slice, so that nobody who changes mappings waits longer.
 *
 * The program can't notice the helpers: they are made by clone(2) behind the C library's back, with every signal blocked, for the one
 * range, and end as soon as they find no slice left. One that a busy machine does not let run is not waited for, not even with a slice
 * in its hands: the call that pins brings that in itself. Only who takes memory away waits, before something else comes to its place;
 * and who asks whether the program has threads. They keep to the processors and the memory node of the thread that registers. Where
 * none may begin (RLIMIT_NPROC, a sandbox, one processor), that thread does it all.
 */
#ifndef MEMORY_POPULATE_H
#define MEMORY_POPULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writable private memory that is about to be pinned. Does nothing where some of it was touched, as far as a look at two of its slices
 * shows; and where it can't be pinned for the memlock limit. What fails is left to the call that pins. Under LOCK_REGISTRY. */
void populate(uintptr_t start, size_t len);

/* Whether the memlock limit leaves room for so much more. type1 stops there: what can't be pinned is not brought in before. */
bool populate_may_be_pinned(size_t len);

/* Nothing more is done here: the program has set a filter, which may not know a thread that begins; or its device pins nothing. */
void populate_give_up(void);

/* Waits until no helper has a slice: before a mapping goes. No lock. */
void populate_await(void);
/* Waits until no helper is there: before what a second thread forbids. Takes LOCK_REGISTRY. */
void populate_end(void);
/* In a forked child, where there is none. */
void populate_reset(void);

#endif
