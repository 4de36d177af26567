/* SPDX-License-Identifier: MIT */
/*
 * The records of what is registered, in order of addresses and of IOVAs, which neither overlap. Records only: nothing here
 * makes an ioctl, takes a lock or calls what lies above. Under LOCK_REGISTRY, but for what says otherwise.
 */
#ifndef DMA_REGISTRATIONS_H
#define DMA_REGISTRATIONS_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a registration, what one mapping in one container covers, where not all of it can be pinned. */
struct piece {
    struct piece *next; /* by address */
    uintptr_t start;
    size_t len;
    unsigned container;
};

struct registration {
    RB_ENTRY(registration) by_va;
    RB_ENTRY(registration) by_iova;
    uintptr_t start;
    size_t len;
    uint64_t iova;
    uint32_t mapped;  /* a bit for each container that has it; 0: owed */
    uint32_t divided; /* those of them that have it in pieces, or some of these */
    struct piece *pieces;
    uint32_t pins; /* holds of anydma_pin, and aliases of the application's, that reach into it */
    uint32_t site; /* the profile's, of who made it */
    bool handed; /* an IOVA inside was given out: it is not released for a mapping of the application's own */
    bool is_stuck;    /* an unmap failed: its pages are never used again */
    bool is_deferred; /* for now: the thread does not have the container's descriptor in its table */
};

/* The first that ends above `va`, by address; NULL. */
struct registration *registration_from(uintptr_t va);
/* The one that `va` lies in; NULL. */
struct registration *registration_at(uintptr_t va);
/* The last one that ends at or below `va`, by address; NULL. */
struct registration *registration_before(uintptr_t va);
struct registration *registration_next(struct registration *reg);
/* Bytes of [start, end) that lie in one; counted no further than `enough`. */
size_t registrations_in(uintptr_t start, uintptr_t end, size_t enough);
/* The first that ends above `iova`, by IOVA; NULL. */
struct registration *registration_from_iova(uint64_t iova);
/* The last one that ends at or below `iova`, by IOVA; NULL. */
struct registration *registration_before_iova(uint64_t iova);
struct registration *registration_next_iova(struct registration *reg);

/* A record of [start, start + len), in no container. Returns NULL when there is no memory. */
struct registration *registration_insert(uintptr_t start, size_t len, uint64_t iova);
/* Two records of one, the second from `at` on: alike, but for their pins. Returns it; NULL: no memory, nothing has changed. In
 * no container. */
struct registration *registration_cut(struct registration *reg, uintptr_t at);
/* The other way round: the next one, which begins where this one ends, becomes a part of it. In no container. */
void registration_join(struct registration *reg);
/* Ends the record. */
void registration_remove(struct registration *reg);
/* Container `index` has it, or no longer does. */
void registration_set_mapped(struct registration *reg, unsigned index, bool is_mapped);
/* The containers that have all of [start, end), which lies in it. */
uint32_t registration_has(const struct registration *reg, uintptr_t start, uintptr_t end);
/* The first piece that container `index` has and that ends above `va`; NULL. */
struct piece *registration_piece(const struct registration *reg, unsigned index, uintptr_t va);
/* Container `index`, which does not have it whole, has this piece, which overlaps no other of its own. Returns NULL when there is
 * no memory. */
struct piece *registration_add_piece(struct registration *reg, unsigned index, uintptr_t start, size_t len);
/* And no longer does. */
void registration_remove_piece(struct registration *reg, struct piece *piece);

/* How many there are; how many of them are owed; how many there were at most. No lock. */
uint64_t registrations_count(void);
uint64_t registrations_owed(void);
uint64_t registrations_peak(void);
/* In a forked child: there are none. */
void registrations_reset(void);

#endif
