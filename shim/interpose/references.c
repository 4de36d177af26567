/* SPDX-License-Identifier: MIT */
/*
 * The doors by which pages are given away by reference: to a pipe (vmsplice), to the network (MSG_ZEROCOPY). When the program
 * purges or replaces what it gave, the kernel leaves the old pages to whoever holds them; registered pages stay where they are
 * and are zeroed there, which the reader of the pipe would see. So of registered memory a copy is given away; and what is not registered
 * is noted, for it may be when it is purged.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/os.h"
#include "dma/registry.h"
#include "interpose/doors.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/peek.h"
#include "interpose/ranges.h"
#include "memory/arena.h"
#include "memory/owners.h"

/* One mapping: the parts, and behind them their contents, each at the same place of its page. */
struct copy {
    struct iovec *parts;
    size_t len; /* of the mapping; 0: there is none */
};

enum { MOST_BYTES = 64 << 20 };

static size_t room_for(struct iovec part)
{
    return part.iov_len ? os_page_up(((uintptr_t)part.iov_base & (OS_PAGE_SIZE - 1)) + part.iov_len) : 0;
}

static bool is_registered(struct iovec part)
{
    uintptr_t start = (uintptr_t)part.iov_base & ~(OS_PAGE_SIZE - 1);
    return arena_contains(start) && registry_covers(start, room_for(part));
}

/* How much room a copy takes; 0: none is needed, or the kernel is to say what is wrong. */
static size_t measure(const struct iovec *parts, size_t nr_parts)
{
    size_t len = os_page_up(nr_parts * sizeof(*parts));
    bool is_needed = false;
    struct iovec part;
    for (size_t i = 0; i < nr_parts; i++) {
        if (!peek(&part, &parts[i], sizeof(part)) || part.iov_len > MOST_BYTES)
            return 0;
        len += room_for(part);
        is_needed |= part.iov_len && is_registered(part);
    }
    return is_needed && len <= MOST_BYTES ? len : 0;
}

static bool fill(struct copy *copy, const struct iovec *parts, size_t nr_parts)
{
    char *at = (char *)copy->parts + os_page_up(nr_parts * sizeof(*parts));
    for (size_t i = 0; i < nr_parts; i++) {
        struct iovec part;
        if (!peek(&part, &parts[i], sizeof(part)))
            return false;
        char *to = at + ((uintptr_t)part.iov_base & (OS_PAGE_SIZE - 1));
        size_t room = room_for(part);
        if (room > (size_t)((char *)copy->parts + copy->len - at) ||
            (part.iov_len && !peek(to, part.iov_base, part.iov_len)))
            return false;
        copy->parts[i] = (struct iovec){to, part.iov_len};
        at += room;
    }
    return true;
}

static void drop(const struct copy *copy)
{
    if (copy->len)
        os_munmap((uintptr_t)copy->parts, copy->len);
}

/* What goes by reference itself may be registered later. */
static void note_lent(const struct iovec *parts, size_t nr_parts)
{
    struct iovec part;
    for (size_t i = 0; i < nr_parts && i < IOV_MAX && peek(&part, &parts[i], sizeof(part)); i++) {
        uintptr_t start = (uintptr_t)part.iov_base & ~(OS_PAGE_SIZE - 1);
        if (part.iov_len && !is_bad_range(start, room_for(part)))
            owners_lent(start, room_for(part));
    }
}

/* What is to be given away instead of `parts`; len 0: they themselves. */
static struct copy copy_of(const struct iovec *parts, size_t nr_parts)
{
    struct copy none = {NULL, 0}, copy = none;
    if (!nr_parts || nr_parts > IOV_MAX || !registry_has_any() || !lifecycle_enter())
        return none;
    copy.len = measure(parts, nr_parts);
    intptr_t at =
        copy.len ? os_mmap(0, copy.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : -ENOMEM;
    if (os_is_error(at))
        return none;
    copy.parts = (struct iovec *)at;
    if (fill(&copy, parts, nr_parts))
        return copy;
    drop(&copy);
    return none;
}

static struct copy give_away(const struct iovec *parts, size_t nr_parts)
{
    struct copy copy = copy_of(parts, nr_parts);
    if (!copy.len && lifecycle_enter())
        note_lent(parts, nr_parts);
    return copy;
}

static bool is_for_writing(int fd)
{
    intptr_t flags = os_call(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0);
    return !os_is_error(flags) && (flags & O_ACCMODE) != O_RDONLY;
}

ssize_t vmsplice(int fd, const struct iovec *parts, size_t nr_parts, unsigned flags)
{
    struct copy copy = {NULL, 0};
    if (!registry_has_any() || is_for_writing(fd)) /* a sandbox may not know the question */
        copy = give_away(parts, nr_parts);
    ssize_t result = next_libc()->vmsplice(fd, copy.len ? copy.parts : parts, nr_parts, flags);
    drop(&copy);
    return result;
}

static ssize_t send_message(int fd, const struct msghdr *message, int flags)
{
    struct msghdr other;
    struct copy copy = {NULL, 0};
    if (flags & MSG_ZEROCOPY && peek(&other, message, sizeof(other)))
        copy = give_away(other.msg_iov, other.msg_iovlen);
    if (!copy.len)
        return next_libc()->sendmsg(fd, message, flags);
    other.msg_iov = copy.parts;
    ssize_t result = next_libc()->sendmsg(fd, &other, flags);
    drop(&copy);
    return result;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return send_message(fd, message, flags);
}

/* One after the other: what the kernel does, too. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned nr_messages, int flags)
{
    unsigned nr_sent = 0;
    if (!(flags & MSG_ZEROCOPY))
        return next_libc()->sendmmsg(fd, messages, nr_messages, flags);
    for (; nr_sent < nr_messages && nr_sent < IOV_MAX; nr_sent++) {
        ssize_t result = send_message(fd, &messages[nr_sent].msg_hdr, flags);
        if (result < 0)
            return nr_sent ? (int)nr_sent : -1;
        messages[nr_sent].msg_len = (unsigned)result;
    }
    return (int)nr_sent;
}

static ssize_t send_to(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
                       socklen_t to_len)
{
    struct iovec part = {(void *)(uintptr_t)buf, len};
    struct copy copy = {NULL, 0};
    if (flags & MSG_ZEROCOPY)
        copy = give_away(&part, 1);
    const void *given = copy.len ? copy.parts->iov_base : buf;
    ssize_t result = next_libc()->sendto(fd, given, len, flags, to, to_len);
    drop(&copy);
    return result;
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
    return send_to(fd, buf, len, flags, to, to_len);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    return send_to(fd, buf, len, flags, NULL, 0);
}
