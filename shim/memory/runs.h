/* SPDX-License-Identifier: MIT */
/*
 * A zone of address space as runs of pages, each in one state, kept whole: runs touch, never overlap, and neighbours
 * that are alike are merged. No lock: the arena's guards it.
 */
#ifndef MEMORY_RUNS_H
#define MEMORY_RUNS_H

#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

enum run_state {
    RUN_NONE, /* nobody's, nothing is mapped */
    RUN_READY, /* committed readable and writable, nobody's; zero but for pages in the dirty map (heap zones) */
    RUN_USED,     /* handed out */
    RUN_PENDING,  /* between two steps of a door: neither to be handed out nor to be registered */
    RUN_HELD,     /* unmapped by the program; its address is given to nobody while a registration covers it */
    RUN_DETACHED, /* handed out, but over a live registration of what was there before */
    RUN_CLOSED,   /* never to be handed out: a page of ours, or what somebody else has mapped there */
};

enum run_flag {
    RUN_ORDINARY = 1, /* private anonymous memory of base pages: may be registered */
    RUN_SPARSE = 2,   /* NORESERVE: never registered without being asked for */
};

/* What distinguishes two runs that are in use. */
struct run_kind {
    uint8_t state;
    uint8_t prot;       /* PROT_* as last set through a door */
    uint8_t unit_shift; /* log2 of the unit of registration */
    uint8_t flags;
};

struct run {
    RB_ENTRY(run) by_addr;
    RB_ENTRY(run) by_len;
    uintptr_t start;
    size_t len;
    struct run_kind kind;
};

RB_HEAD(runs_by_addr, run);
RB_HEAD(runs_by_len, run);

struct runs {
    struct runs_by_addr by_addr;
    struct runs_by_len free_by_len[2]; /* RUN_NONE, RUN_READY */
    struct pool pool;
    unsigned nr_spare; /* nodes put aside, so that freeing memory never needs any */
    struct run *spare;
};

/* Starts with one RUN_NONE over [start, start + len). Returns 0 or -ENOMEM. */
int runs_init(struct runs *runs, uintptr_t start, size_t len);
/* Adds [start, start + len) behind what there is, as RUN_NONE. Returns 0 or -ENOMEM. */
int runs_extend(struct runs *runs, uintptr_t start, size_t len);

/* The run that holds `addr`; NULL outside the zone. */
struct run *runs_at(struct runs *runs, uintptr_t addr);
struct run *runs_next(struct run *run);

/* The best-fitting free run in `state` that holds `len` bytes at a multiple of `align` (a power of two); *start gets
 * where. NULL: none. */
struct run *runs_fit(struct runs *runs, enum run_state state, size_t len, size_t align, uintptr_t *start);

/* Puts [start, start + len), which lies within the zone, into `kind`. Returns 0, or -ENOMEM with nothing changed. */
int runs_set(struct runs *runs, uintptr_t start, size_t len, struct run_kind kind);

#endif
