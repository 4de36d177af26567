/* SPDX-License-Identifier: MIT */
/* mlockall's door. The kernel's would fill, and count, the shim's own tables (base/sparse.h): what is mapped is locked mapping
 * by mapping instead, the tables left out. */
#include "interpose/locked.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "base/procmaps.h"
#include "base/sparse.h"
#include "interpose/lifecycle.h"
#include "interpose/ranges.h"

static _Atomic bool locks_future; /* MCL_FUTURE is in effect, as far as is known */

enum what { ADD_UP, LOCK };

struct walk {
    enum what what;
    int flags; /* mlock2's */
    uint64_t total;
};

static void visit(struct walk *walk, uintptr_t start, uintptr_t end)
{
    walk->total += end - start;
    if (walk->what == LOCK)
        os_mlock2(start, end - start, walk->flags); /* what can't be locked is left, as there */
}

/* All of a mapping that is not the shim's tables'. */
static void visit_all_but_tables(struct walk *walk, uintptr_t start, uintptr_t end)
{
    while (start < end) {
        struct sparse table = sparse_above(start);
        uintptr_t until = table.start < start ? start : table.start < end ? table.start : end;
        if (start < until)
            visit(walk, start, until);
        start = table.end < end ? table.end : end;
        if (walk->what == LOCK && until < start)
            os_munlock(until, start - until); /* MCL_FUTURE, or end_future, has locked it */
    }
}

static int walk_mappings(struct walk *walk)
{
    struct procmaps maps;
    struct procmaps_entry entry;
    int error = procmaps_open(&maps);
    if (error)
        return error;
    while (procmaps_next(&maps, &entry))
        visit_all_but_tables(walk, entry.start, entry.end);
    procmaps_close(&maps);
    return 0;
}

static void end_future(void)
{
    /* With the flag nothing is filled, and nothing is unlocked meanwhile; but all is counted. */
    if (os_call(SYS_mlockall, MCL_CURRENT | MCL_ONFAULT, 0, 0, 0, 0, 0) != 0)
        os_call(SYS_munlockall, 0, 0, 0, 0, 0, 0);
}

static int lock_current(int mlock2_flags)
{
    uint64_t limit = os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK);
    struct walk sum = {.what = ADD_UP}, lock = {.what = LOCK, .flags = mlock2_flags};
    if (!limit)
        return -EPERM;
    int error = walk_mappings(&sum);
    if (!error && sum.total > limit)
        error = -ENOMEM;
    if (!error && atomic_exchange(&locks_future, false))
        end_future();
    return error ? error : walk_mappings(&lock);
}

int mlockall(int flags)
{
    const int known = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT;
    bool is_ours = lifecycle_enter() && !(flags & ~known) && flags & (MCL_CURRENT | MCL_FUTURE);
    intptr_t error =
        is_ours && flags & MCL_CURRENT ? lock_current(flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0) : 0;
    if (!error && (!is_ours || flags & MCL_FUTURE))
        error = os_call(SYS_mlockall, is_ours ? flags & ~MCL_CURRENT : flags, 0, 0, 0, 0, 0);
    if (!error && is_ours && flags & MCL_FUTURE)
        atomic_store(&locks_future, true);
    return to_libc(error);
}

int munlockall(void)
{
    atomic_store(&locks_future, false);
    return to_libc(os_call(SYS_munlockall, 0, 0, 0, 0, 0, 0));
}

bool locked_is_future(void)
{
    return atomic_load_explicit(&locks_future, memory_order_relaxed);
}
