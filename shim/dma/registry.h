/* SPDX-License-Identifier: MIT */
/*
 * What is registered with the IOMMU: the one writer of IOMMU state. Every change takes the registry's lock
 * (LOCK_REGISTRY), held over the backend's calls.
 *
 * A registration is a range of addresses mapped at a range of IOVAs in every attached container. It is undone whole,
 * as it was made, and only when nothing alive lies in it. Before a container is attached it is owed: a promise of
 * IOVA == address, kept at attach.
 */
#ifndef DMA_REGISTRY_H
#define DMA_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iommu/iommu.h"

struct anydma_stats;

/* Memory that was made at once, and mostly ends at once: a large allocation, a large mapping. */
struct memory_lump {
    uintptr_t start, end; /* what is alike, and can be registered in whole blocks with nothing beside it */
    size_t most;          /* that is to be registered by one call: a power of two */
};

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
    /* Before a range is pinned, after it was marked so: waits for purges that began before the mark; makes huge pages,
     * if wanted. */
    void (*prepare)(uintptr_t start, size_t len);
    /* What is held back of a range, and inaccessible, can be pinned from here on (or no longer): for a container that is
     * attached while another one still holds what was there. Holds nothing but zeroes. True: another thread is unmapping
     * or replacing a part just now, which it can't finish before the lock is let go. */
    bool (*expose)(uintptr_t start, size_t len, bool exposed);
    /* True when nothing alive is in the range; nobody is given any of it until release. */
    bool (*retire)(uintptr_t start, size_t len);
    /* The range is no longer registered. */
    void (*release)(uintptr_t start, size_t len);
};

/* Before any other call. */
void registry_init(const struct memory_ops *memory);
/* In a forked child: no container, nothing registered. */
void registry_reset(void);

/* The cold lookup: finds or makes the registration of `va`. *iova gets its IOVA, *run_len how many bytes from `va` on
 * follow in the same registration. `want_len` is what the caller is after: the least that is registered when the whole
 * unit can't be. Returns 0 or -errno as <anydma.h> lists them. */
int registry_lookup(uintptr_t va, size_t want_len, uint64_t *iova, size_t *run_len);
/* The way back. Returns 0 when nothing of ours is at `iova`. */
uintptr_t registry_address(uint64_t iova);
int registry_pin(uintptr_t va, size_t len);
int registry_unpin(uintptr_t va, size_t len);

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
/* Tells `piece` of each part of the range whether a registration covers it, with nothing changing meanwhile. */
void registry_divide(uintptr_t start, size_t len,
                     void (*piece)(uintptr_t start, size_t len, bool is_covered));
/* Whether a registration in an IOMMU reaches into the range. */
bool registry_covers(uintptr_t start, size_t len);
/* Whether a registration reaches into it that was looked up, or that is held. */
bool registry_has_promised(uintptr_t start, size_t len);
/* Memory is about to be handed out: registers it in eager mode. Returns 0, or -ENOMEM when it can't be registered and is
 * therefore not to be handed out (ANYDMA_ON_LIMIT=refuse). */
int registry_offer(uintptr_t start, size_t len);
/* The same for what is alive in the range. */
int registry_offer_alive(uintptr_t start, size_t len);
/* Before a call that can't be taken back: whether the range (`start` 0: a place not known yet) would pass. Returns as
 * registry_offer. */
int registry_admit(uintptr_t start, size_t len);

enum memory_change {
    MEMORY_REGISTERED, /* became registered, or no longer is: see registry_has_identity */
    MEMORY_LEFT_OUT,   /* is handed out, and eager mode could not register it */
    MEMORY_PASSED_OVER, /* is handed out, and eager mode is not for it: inaccessible, read-only, or a reserve */
};
/* For who must know without asking what a device finds at its own address. While eager mode is on, `changed` is told so,
 * from what is registered already on, and of what is handed out before anyone has it. It is called with the registry's lock
 * held: it takes none that comes before, and allocates nothing. Returns false when eager mode is off. There is one
 * follower. */
bool registry_follow(void (*changed)(uintptr_t start, size_t len, enum memory_change what));
/* For `changed`: whether a device finds all of the range, or any of it, at IOVA == address, by ours or by the program's own
 * mappings. */
bool registry_is_identity(uintptr_t start, size_t len);
bool registry_has_identity(uintptr_t start, size_t len);
/* Memory is handed out that eager mode is not offered. */
void registry_pass_over(uintptr_t start, size_t len);

/* Containers, by a descriptor and the number of the IOAS (0: a container). `fd` stays its owner's. */
int registry_attach(const struct iommu *iommu);
/* The program has set the container's IOMMU anew: whatever was known of that container has ended, seen or not. */
int registry_iommu_was_set(const struct iommu *iommu);
/* Whether any is attached. No lock. */
bool registry_is_attached(void);
int registry_detach(int fd, uint32_t ioas_id);
/* All that the descriptor leads to. */
int registry_detach_fd(int fd);
/* A mapping outside the arena is gone: it may have been the last thing that held a closed device. */
void registry_mapping_left(void);
/* Releases what is registered so that an attach can be tried again, and puts back what fits. `fd` -1: in all address spaces of
 * iommufds. Returns whether there was anything. */
bool registry_make_way(int fd, uint32_t ioas_id);
void registry_restore(int fd, uint32_t ioas_id);

/* The program's own call that maps or unmaps, as the door reads it. */
struct dma_request {
    int fd;
    uint32_t ioas_id;   /* the address space of the iommufd `fd`; 0: what VFIO's calls on `fd` mean */
    unsigned long call; /* handed on as the program made it, */
    void *arg;          /* with its structure */
    bool is_plain;      /* the rest is all that it asks for; else it is handed on, and no more */
    bool is_all;        /* unmaps everything, whatever the range */
    bool is_divisible;  /* unmaps, and the same could be asked for one mapping after the other */
    bool is_accessible; /* maps for reading, writing, or both */
    uint64_t iova, va, len;
    uint64_t *
        chosen; /* maps: in the structure, where the kernel tells the IOVA that it has chosen; NULL: `iova` */
    uint64_t *undone; /* unmaps: in the structure, where the bytes that were undone are told */
    enum {
        FROM_MEMORY,
        FROM_FILE,
        FROM_SPACE
    } source;              /* maps: not what is at `va`, but of a file, or of another */
    uint32_t from_ioas_id; /* address space: whatever is mapped there */
    uint64_t from_iova;
};
/* Returns as the ioctl, -errno on failure. */
int registry_app_map(const struct dma_request *request);
int registry_app_unmap(const struct dma_request *request);
/* How many bytes from `va` on a device finds at `iova` and behind it, by a mapping of the program's or ours; 0: not even
 * one. For a library that ignores that its MAP failed. */
size_t registry_reaches(uintptr_t va, uint64_t iova);
/* Whether the program itself has mapped something at `iova`. */
bool registry_is_application(uint64_t iova);

/* Runs `change` under the registry's lock, for state that it guards in the memory layer. */
void registry_locked(void (*change)(void *arg), void *arg);

/* A lookup through the public interface was made: the program manages itself. */
void registry_note_lookup(void);
void registry_fill_stats(struct anydma_stats *stats);
/* Whose pinned pages the limit on locked memory is held against, by the container attached last; NULL: none was. */
const char *registry_counter(void);
void registry_count_lookup(bool refused);
/* A line for each registration, `fd` being written with no lock held: as they are when their turn comes. Returns 0 or -errno. */
int registry_snapshot(int fd);
struct registry_range {
    uintptr_t start;
    size_t len;
    bool is_handed; /* something in it was looked up, or is the application's own mapping, too */
};
/* The next up to `max` ranges that are mapped, from *cursor on. Returns how many; moves *cursor behind them. */
size_t registry_ranges(uintptr_t *cursor, struct registry_range *ranges, size_t max);
/* Whether [start, start + len) is such a range; *range gets it. */
bool registry_range_at(uintptr_t start, size_t len, struct registry_range *range);
bool registry_is_sim(void);

/* Bytes that are pinned, at some moment. */
uint64_t registry_pinned(void);

#endif
