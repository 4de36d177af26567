/* SPDX-License-Identifier: MIT */
/*
 * The live page: one file a process with a device, $XDG_RUNTIME_DIR/anydma/PID (0600), that `anydma top` maps
 * read-only. There from the first attach, gone at exit; top sweeps those of the dead. Written under the
 * registry's lock; readers take what they see between two equal, even values of `sequence`.
 *
 * It names the process's capture, which `anydma snapshot` reads; that adds to `asked`, and the process sets
 * `answered` to it once it has recorded afresh how much of each registration is used.
 */
#ifndef PROFILE_LIVE_H
#define PROFILE_LIVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define LIVE_MAGIC UINT64_C(0x3445564c41444e41) /* "ANDALVE4" */

enum { LIVE_BYTES = 4096, LIVE_PATH_BYTES = 3072 };

struct live_numbers {
    uint64_t pinned, pinned_peak, app_pinned, app_pinned_peak, registrations, owed;
    uint64_t maps, unmaps, map_failures, unmap_failures, app_maps, app_unmaps;
    uint64_t app_failures, refused;
    uint64_t containers, entries_used, entries_limit; /* of the fullest container */
    uint64_t is_per_user; /* 1: the limit is on what all of the user's processes have pinned */
};

struct live_page {
    uint64_t magic;
    uint64_t pid;
    uint64_t memlock_limit; /* UINT64_MAX: none */
    uint64_t start_ns;      /* monotonic */
    char command[64];
    _Atomic uint64_t sequence;
    struct live_numbers numbers;
    _Atomic uint64_t asked, answered;
    uint64_t capture_device, capture_inode;
    char capture[LIVE_PATH_BYTES]; /* absolute; empty: none yet */
};

_Static_assert(sizeof(struct live_page) <= LIVE_BYTES, "the page is one page");

extern struct live_page *live_page; /* NULL: none */

/* Makes the page, if it can; anything that is in the way means none. */
void live_open(void);
/* At exit. The page itself stays mapped: other threads may be looking at it. */
void live_close(void);
/* In a forked child: the page is the parent's. */
void live_forget(void);
void live_write(const struct live_numbers *numbers);
/* Whether a snapshot was asked for that nobody has taken on. */
bool live_is_asked(void);
/* Takes it on: the caller records, then answers. */
bool live_take_request(void);
void live_answer(void);

/* The pages are in the folder "anydma" of this: $XDG_RUNTIME_DIR, or /run for root without one; NULL:
 * nowhere. */
static inline const char *live_parent(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    return runtime && runtime[0] == '/' ? runtime : geteuid() == 0 ? "/run" : NULL;
}

#endif
