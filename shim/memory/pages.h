/* SPDX-License-Identifier: MIT */
/*
 * The life of a page of the arena: the states, the events, and one table (pages.c) of what each event makes of each state.
 * Nothing else changes a state. What the kernel is asked to do with pages goes through pages_ops, which a test may replace:
 * its functions are called between two steps, with what they are about to change known.
 */
#ifndef MEMORY_PAGES_H
#define MEMORY_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum page_state {
    PAGE_NONE,  /* nobody's, nothing is mapped */
    PAGE_READY, /* the heap's: mapped, and nobody's; zero but for what the dirty map says */
    PAGE_USED,  /* somebody's: a mapping of the program's, an allocation of the heap */
    PAGE_BUSY, /* between two steps of a door: given to nobody, registered by nobody; `was` says what it is */
    PAGE_HELD_BACK, /* unmapped by the program; its address is given to nobody while a registration covers it */
    PAGE_DETACHED, /* somebody's, but over a live registration of what was there before */
    PAGE_RETIRED,  /* the heap's, as READY, until the registration that is being undone has gone */
    PAGE_CLOSED,   /* never given out: a page of ours, or what somebody else has mapped there */
    NR_PAGE_STATES
};

enum page_event {
    PAGE_PLACED,    /* it is the place of a mapping that is now made */
    PAGE_UNPLACED,  /* which could not be made */
    PAGE_TAKEN,     /* somebody else has mapped something there, past the doors */
    PAGE_CLAIMED,   /* what is free of it is to be mapped by the program's call */
    PAGE_LEAVING,   /* what is mapped of it is to be unmapped, or moved away, by the program's call */
    PAGE_REPLACING, /* all of it is to be mapped by the program's call, whatever is there */
    PAGE_FAILED,    /* that call changed nothing */
    PAGE_LEFT,      /* nothing is mapped there now; a registration may cover it */
    PAGE_REPLACED,  /* something else is mapped there now; a registration of what was there may cover it */
    PAGE_ARRIVING,  /* pages from elsewhere, of `kind`, have been moved there */
    PAGE_RENEWED,   /* its pages are others now, the mapping is as it is */
    PAGE_GUARDED,   /* so it is, with guards in it */
    PAGE_UNMAPPED,  /* nothing is mapped there now, and no registration covers it */
    PAGE_RELEASED,  /* no registration covers it any more */
    PAGE_RETIRING,  /* a registration in which nothing is alive is about to be undone */
    PAGE_COMMITTED, /* mapped for the heap */
    PAGE_ALLOCATED, /* handed to the heap */
    PAGE_FREED,     /* given back by it; its pages are dropped */
    PAGE_KEPT,      /* given back by it; its pages stay, for they may be pinned */
    PAGE_PROTECTED, /* its protection is set */
    PAGE_ADVISED, /* the kernel is told something of it, or forgets what it can: what of PAGE_NOTED holds now, or 0 */
    NR_PAGE_EVENTS
};

enum page_flag {
    PAGE_ORDINARY = 1, /* private anonymous memory of base pages: may be registered */
    PAGE_SPARSE = 2,   /* NORESERVE: never registered without being asked for */
    PAGE_TOLD = 4,     /* the kernel was told something of it: advice, a policy, a name, a key */
    PAGE_SIZED = 8,    /* and whether its pages are to be huge, which it forgets with the mapping only */
    PAGE_LENT = 16,    /* it was given to a pipe or the network by reference, which may hold it still */
    PAGE_NOTED = PAGE_TOLD | PAGE_SIZED | PAGE_LENT,
};

/* What distinguishes two stretches of pages. */
struct page_kind {
    uint8_t state;
    uint8_t was;        /* of a busy page: its state before */
    uint8_t prot;       /* PROT_* as last set through a door */
    uint8_t unit_shift; /* log2 of the unit of registration */
    uint8_t lump_shift; /* log2 of how much of it is registered at once; 0: the unit, for it is no lump */
    uint8_t flags;      /* enum page_flag */
};

/* Whether it is registered without being asked for, once it can be read and written. */
static inline bool page_is_plain(struct page_kind kind)
{
    return (kind.flags & ~PAGE_NOTED) == PAGE_ORDINARY;
}

static inline bool page_is_mapped(struct page_kind kind)
{
    return kind.state != PAGE_NONE && kind.state != PAGE_HELD_BACK;
}

/* What an event makes of a state. */
struct page_rule {
    bool is_told;           /* it stands in the table */
    uint8_t next;           /* the state, or one of enum page_next */
    uint8_t action;         /* enum page_action */
    const char *impossible; /* why the two never meet; NULL: they may */
};
enum page_next { PAGE_STAYS = NR_PAGE_STATES, PAGE_WAS };
enum page_action {
    PAGE_NO_ACTION,
    PAGE_DROP,     /* its contents go; a large stretch is unmapped, and nobody's then */
    PAGE_MARK,     /* it goes on the dirty map */
    PAGE_UNEXPOSE, /* what may have been mapped there for a container is unmapped */
};
extern const struct page_rule page_rules[NR_PAGE_EVENTS][NR_PAGE_STATES];

/* The calls that change what is mapped; as those of base/os.h. */
struct pages_ops {
    intptr_t (*map)(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset);
    int (*unmap)(uintptr_t addr, size_t len);
    intptr_t (*move)(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t to);
    int (*protect)(uintptr_t addr, size_t len, int prot, int key); /* key -1: mprotect */
    int (*advise)(uintptr_t addr, size_t len, int advice);         /* purges, and makes huge pages */
};
extern const struct pages_ops *pages_ops;

/* Pairs of state and event met that the table calls impossible: each is an error of ours. */
extern _Atomic unsigned long pages_impossible;

/* Whether a page was ever busy, held back or detached. */
extern bool pages_were_odd;
/* Bytes in PAGE_HELD_BACK. */
extern uint64_t pages_held_back_bytes;
/* From how many bytes on what the heap gives back is unmapped; less stays mapped, without pages. */
extern size_t pages_unmap_least;
/* The heap gives no page back: who watches pages go would not hear of it. */
extern _Atomic bool pages_are_kept;

struct zone;
/* Lets the event happen to [start, end) of the zone. `kind` is what is there from now on (PLACED, REPLACED, ARRIVING),
 * or has the protection or flag that is set, or (ALLOCATED) the lump. Under LOCK_ARENA. Returns 0, or -ENOMEM: a part could not be recorded, and is never used again. */
int pages_apply(struct zone *zone, uintptr_t start, uintptr_t end, enum page_event event,
                const struct page_kind *kind);
/* The same, taking LOCK_ARENA. */
int pages_change(uintptr_t start, size_t len, enum page_event event, const struct page_kind *kind);

/* kind.lump_shift of what is made at once, of that length: a quarter of it, up to 64 MiB. */
uint8_t pages_lump_shift(size_t len);

#endif
