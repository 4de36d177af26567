/* SPDX-License-Identifier: MIT */
/*
 * What is registered with the IOMMU: the one writer of IOMMU state. Every change takes the registry's lock
 * (LOCK_REGISTRY), held over the backend's calls.
 *
 * A registration is a range of addresses mapped at a range of IOVAs in every attached container. It is undone whole,
 * as it was made, and only when nothing alive lies in it. A container that is attached later, when a part of it can't be
 * pinned, has it in pieces: what is intact at the attach, and what is looked up from then on. Before a container is attached it is owed: a promise of
 * IOVA == address, kept at attach.
 */
#ifndef DMA_REGISTRY_H
#define DMA_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma/lumps.h"

/* What the registry asks of the layer that knows whose pages they are. Called with the registry's lock held. */
struct memory_ops {
    /* The range around `va` that is to be registered at once, where nothing is, for a caller that is after `want_len` bytes.
     * Returns 0; -EFAULT: nothing readable and writable is there; -ESTALE: its pages may be going away just now;
     * -EOPNOTSUPP: can't be watched. */
    int (*plan)(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len);
    /* The lump that `va` lies in. False: in none. */
    bool (*lump)(uintptr_t va, struct memory_lump *lump);
    /* Of the registration around `va`: the stretch, around `va`, that still is what was registered. Returns 0; -EFAULT: it is
     * not readable and writable now; -ESTALE: replaced or purged since. */
    int (*intact)(uintptr_t va, uintptr_t *start, size_t *len);
    /* Whether lookups of it may be answered from the pagemap: pages leave through our doors only. */
    bool (*is_owned)(uintptr_t va);
    /* A registration of the range was made. */
    void (*registered)(uintptr_t start, size_t len);
    /* The next stretch in [*cursor, end) that eager mode registers; moves *cursor behind it. */
    bool (*next_alive)(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len);
    /* Before a range is pinned that was pinned nowhere, after it was marked so: waits for purges that began before the mark; makes huge pages,
     * if wanted. */
    void (*prepare)(uintptr_t start, size_t len);
    /* Makes the pages of the range that are held back accessible, so that a further container can pin them, or inaccessible
     * again. They hold zeroes only. Returns true when another thread is unmapping or replacing a part just now, which it can't
     * finish before the lock is let go. */
    bool (*expose)(uintptr_t start, size_t len, bool exposed);
    /* True when nothing alive is in the range; nobody is given any of it until release. */
    bool (*retire)(uintptr_t start, size_t len);
    /* The range is no longer registered. */
    void (*release)(uintptr_t start, size_t len);
};

/* The cold lookup: finds or makes the registration of `va`. *iova gets its IOVA, *run_len how many bytes from `va` on
 * follow in the same registration. `want_len` is what the caller is after: the least that is registered when the whole
 * unit can't be. Returns 0 or -errno as <anydma.h> lists them. */
int registry_lookup(uintptr_t va, size_t want_len, uint64_t *iova, size_t *run_len);
/* The way back. Returns 0 when nothing of ours is at `iova`. */
uintptr_t registry_address(uint64_t iova);

/* Pages of the range are about to leave their addresses, if the program's call succeeds: no lookup answers for them without
 * asking from here on. */
void registry_hide(uintptr_t start, size_t len);
/* They have left: what has nothing alive left is unregistered. */
void registry_forget(uintptr_t start, size_t len);
/* Whether anything is registered, or about to be. No lock. */
bool registry_has_any(void);
/* Whether anything is registered in no IOMMU yet, which the pagemap does not show. No lock. */
bool registry_owes_any(void);
/* Something in the range was given back: unregisters what has nothing alive left. */
void registry_settle(uintptr_t start, size_t len);
/* Calls `tell` with each part of the range, and whether a registration covers it. Nothing changes meanwhile. */
void registry_divide(uintptr_t start, size_t len, void (*tell)(uintptr_t start, size_t len, bool is_covered));
/* Whether a registration in an IOMMU reaches into the range. */
bool registry_covers(uintptr_t start, size_t len);
/* Whether a registration reaches into it that was looked up, or that is held. */
bool registry_has_promised(uintptr_t start, size_t len);
/* Runs `change` under the registry's lock, for state that it guards in the memory layer. */
void registry_locked(void (*change)(void *arg), void *arg);

/* Whether every container is a simulated one. No lock. */
bool registry_is_sim(void);

#endif
