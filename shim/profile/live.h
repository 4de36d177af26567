/* SPDX-License-Identifier: MIT */
/*
 * The live page: one file a process with a device, $XDG_RUNTIME_DIR/anydma/PID (0600), that `anydma top` maps
 * read-only. There from the first attach, gone at exit; top sweeps those of the dead. Written under the
 * registry's lock; readers take what they see between two equal, even values of `sequence`.
 */
#ifndef PROFILE_LIVE_H
#define PROFILE_LIVE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define LIVE_MAGIC UINT64_C(0x3145564c41444e41) /* "ANDALVE1" */

enum { LIVE_BYTES = 4096 };

struct live_numbers {
    uint64_t pinned, pinned_peak, app_pinned, app_pinned_peak, registrations, owed;
    uint64_t maps, unmaps, map_failures, unmap_failures, app_maps, app_unmaps;
    uint64_t containers, entries_used, entries_limit; /* of the fullest container */
};

struct live_page {
    uint64_t magic;
    uint64_t pid;
    uint64_t memlock_limit; /* UINT64_MAX: none */
    uint64_t start_ns;      /* monotonic */
    char command[64];
    _Atomic uint64_t sequence;
    struct live_numbers numbers;
};

extern struct live_page *live_page; /* NULL: none */

/* Makes the page, if it can; anything that is in the way means none. */
void live_open(void);
/* At exit. */
void live_close(void);
/* In a forked child: the page is the parent's. */
void live_forget(void);
void live_write(const struct live_numbers *numbers);

/* The pages are in the folder "anydma" of this: $XDG_RUNTIME_DIR, or /run for root without one; NULL:
 * nowhere. */
static inline const char *live_parent(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    return runtime && runtime[0] == '/' ? runtime : geteuid() == 0 ? "/run" : NULL;
}

#endif
