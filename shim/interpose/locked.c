/* SPDX-License-Identifier: MIT */
/* mlockall's door. The kernel's would charge the arena's whole reservation to the memlock limit and fill the lookup
 * table: what is mapped is locked mapping by mapping instead, the reservation left out. */
#include "interpose/locked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "interpose/lifecycle.h"
#include "memory/arena.h"

struct mapping {
    uintptr_t start, end;
    bool is_accessible;
};

/* Reads /proc/self/maps a character at a time from a small buffer. */
struct maps {
    int fd;
    ssize_t len, at;
    char buf[2048];
};

static int next_char(struct maps *maps)
{
    if (maps->at == maps->len) {
        maps->len = os_read(maps->fd, maps->buf, sizeof(maps->buf));
        maps->at = 0;
        if (maps->len <= 0) {
            maps->len = 0;
            return -1;
        }
    }
    return maps->buf[maps->at++];
}

static uintptr_t next_hex(struct maps *maps, int *c)
{
    uintptr_t value = 0;
    for (*c = next_char(maps); (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'f'); *c = next_char(maps))
        value = value * 16 + (uintptr_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    return value;
}

static bool next_mapping(struct maps *maps, struct mapping *mapping)
{
    int c;
    mapping->start = next_hex(maps, &c);
    if (c < 0)
        return false;
    mapping->end = next_hex(maps, &c);
    mapping->is_accessible = false;
    for (int i = 0; i < 3; i++)
        mapping->is_accessible |= (c = next_char(maps)) != '-';
    while (c >= 0 && c != '\n')
        c = next_char(maps);
    return c >= 0;
}

static bool is_reservation(const struct mapping *mapping)
{
    return !mapping->is_accessible && arena_contains(mapping->start);
}

/* Calls mlock2 for each mapping, or only adds up how much there is. */
static int walk(bool lock, int flags, uint64_t *total)
{
    struct maps maps = {.fd = os_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0)};
    struct mapping mapping;
    if (maps.fd < 0)
        return maps.fd;
    *total = 0;
    while (next_mapping(&maps, &mapping)) {
        if (is_reservation(&mapping))
            continue;
        *total += mapping.end - mapping.start;
        if (lock)
            os_mlock2(mapping.start, mapping.end - mapping.start, flags); /* what can't be locked is left, as there */
    }
    os_close(maps.fd);
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
    if (!result && lifecycle_enter() && flags & MCL_FUTURE) {
        arena_locked_in_future(true);
        result = os_call(SYS_mlockall, flags & ~MCL_CURRENT, 0, 0, 0, 0, 0);
    }
    if (!result)
        return 0;
    errno = (int)-result;
    return -1;
}

int munlockall(void)
{
    intptr_t result = os_call(SYS_munlockall, 0, 0, 0, 0, 0, 0);
    if (lifecycle_enter())
        arena_locked_in_future(false);
    return result ? -1 : 0;
}
