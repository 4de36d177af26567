/* SPDX-License-Identifier: MIT */
/* mlockall's door. The kernel's would fill the lookup table: what is mapped is locked mapping by mapping instead, the table
 * left out. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "base/procmaps.h"
#include "dma/pagemap.h"
#include "interpose/lifecycle.h"

/* Calls mlock2 for each mapping, or only adds up how much there is. */
static int walk(bool lock, int flags, uint64_t *total)
{
    struct procmaps maps;
    struct procmaps_entry entry;
    int error = procmaps_open(&maps);
    if (error)
        return error;
    *total = 0;
    while (procmaps_next(&maps, &entry)) {
        if (pagemap_contains(entry.start))
            continue; /* a table of which few pages are ever touched */
        *total += entry.end - entry.start;
        if (lock)
            os_mlock2(entry.start, entry.end - entry.start,
                      flags); /* what can't be locked is left, as there */
    }
    procmaps_close(&maps);
    return 0;
}

static int lock_current(int mlock2_flags)
{
    uint64_t limit = os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK), total;
    if (!limit)
        return -EPERM;
    int error = walk(false, 0, &total);
    if (!error && total > limit)
        error = -ENOMEM;
    return error ? error : walk(true, mlock2_flags, &total);
}

int mlockall(int flags)
{
    const int known = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT;
    intptr_t result = 0;
    if (!lifecycle_enter() || flags & ~known || !(flags & (MCL_CURRENT | MCL_FUTURE)))
        result = os_call(SYS_mlockall, flags, 0, 0, 0, 0, 0);
    else if (flags & MCL_CURRENT)
        result = lock_current(flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0);
    if (!result && lifecycle_enter() && flags & MCL_FUTURE)
        result = os_call(SYS_mlockall, flags & ~MCL_CURRENT, 0, 0, 0, 0, 0);
    if (!result)
        return 0;
    errno = (int)-result;
    return -1;
}

int munlockall(void)
{
    intptr_t result = os_call(SYS_munlockall, 0, 0, 0, 0, 0, 0);
    if (!result)
        return 0;
    errno = (int)-result;
    return -1;
}
