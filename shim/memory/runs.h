/* SPDX-License-Identifier: MIT */
/*
 * A stretch of address space as runs of pages, each of one kind, kept whole: runs touch, never overlap, and neighbours
 * that are alike are merged. States 0 and 1 can be searched by length. No lock: its owner's guards it.
 */
#ifndef MEMORY_RUNS_H
#define MEMORY_RUNS_H

#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "memory/pages.h"

struct run {
    RB_ENTRY(run) by_addr;
    RB_ENTRY(run) by_len;
    uintptr_t start;
    size_t len;
    struct page_kind kind;
};

RB_HEAD(runs_by_addr, run);
RB_HEAD(runs_by_len, run);

struct runs {
    struct runs_by_addr by_addr;
    struct runs_by_len free_by_len[2]; /* for states 0 and 1 */
    struct pool pool;
    unsigned nr_spare; /* nodes put aside, so that freeing memory never needs any */
    struct run *spare;
};

/* Starts with one run of state 0 over [start, start + len). Returns 0 or -ENOMEM. */
int runs_init(struct runs *runs, uintptr_t start, size_t len);

/* The run that holds `addr`; NULL outside the zone. */
struct run *runs_at(struct runs *runs, uintptr_t addr);
struct run *runs_next(struct run *run);

/* The best-fitting run in `state` (0 or 1) that holds `len` bytes at a multiple of `align` (a power of two); *start gets
 * where. NULL: none. */
struct run *runs_fit(struct runs *runs, uint8_t state, size_t len, size_t align, uintptr_t *start);

/* Makes [start, start + len), which lies in `run`, `kind`. Returns 0, or -ENOMEM with nothing changed. */
int runs_change(struct runs *runs, struct run *run, uintptr_t start, size_t len, struct page_kind kind);
/* The same for a range that may lie in several. Returns 0, or -ENOMEM: only a part was changed. */
int runs_set(struct runs *runs, uintptr_t start, size_t len, struct page_kind kind);

#endif
