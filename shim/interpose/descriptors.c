/* SPDX-License-Identifier: MIT */
/* The doors by which descriptors end and multiply. Those that are no container's, group's or device's pass at the cost of
 * one test. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/os.h"
#include "dma/attachments.h"
#include "dma/devices.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/ranges.h"
#include "memory/populate.h"
#include "memory/watch.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

/* Whether `fd` may be one of them, in this process. */
static bool is_known(int fd)
{
    return devices_may_know(fd) && lifecycle_enter() && devices_may_know(fd) && lifecycle_is_owner();
}

int close(int fd)
{
    if (!is_known(fd))
        return next_libc()->close(fd); /* a cancellation point */
    devices_closing(fd, fd);
    int result = next_libc()->close(fd);
    int saved = errno;
    devices_closed();
    errno = saved;
    return result;
}

static int duplicated(int old_fd, intptr_t result)
{
    if (!os_is_error(result) && is_known(old_fd))
        devices_duplicated(old_fd, (int)result);
    return to_libc(result);
}

/* new_fd is closed, if it is open and the call is going to succeed. */
static intptr_t replace(int old_fd, int new_fd, long number, int flags)
{
    bool is_closing =
        old_fd != new_fd && is_known(new_fd) && os_call(SYS_fcntl, old_fd, F_GETFD, 0, 0, 0, 0) >= 0;
    if (is_closing)
        devices_closing(new_fd, new_fd);
    intptr_t result = os_call(number, old_fd, new_fd, flags, 0, 0, 0);
    if (is_closing)
        devices_closed();
    return result;
}

int dup(int fd)
{
    return duplicated(fd, os_call(SYS_dup, fd, 0, 0, 0, 0, 0));
}

int dup2(int old_fd, int new_fd)
{
    return duplicated(old_fd, replace(old_fd, new_fd, SYS_dup2, 0));
}

int dup3(int old_fd, int new_fd, int flags)
{
    return duplicated(old_fd, replace(old_fd, new_fd, SYS_dup3, flags));
}

static int fcntl_with(int fd, int command, void *arg)
{
    int result = next_libc()->fcntl64(fd, command, arg); /* a cancellation point for locks */
    if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC) && is_known(fd))
        devices_duplicated(fd, result);
    return result;
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return fcntl_with(fd, command, arg);
}

int fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return fcntl_with(fd, command, arg);
}

/* Whether this one is over but for its end, or the kernel's, for io_uring. `name`: its folder in /proc/self/task. Source: proc_pid_stat(5). */
static bool is_no_thread(int tasks, const char *name)
{
    enum { FLAGS = 7, PF_EXITING = 4, PF_IO_WORKER = 0x10 };
    char path[32], text[512];
    size_t len = strlen(name);
    memcpy(path, name, len);
    memcpy(path + len, "/stat", 6);
    int fd = (int)os_call(SYS_openat, tasks, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    ssize_t n = fd < 0 ? 0 : os_read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        os_close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *p = strrchr(text, ')');
    for (int field = 0; p && field < FLAGS; field++)
        p = strchr(p + 1, ' ');
    unsigned long flags = 0;
    for (p = p ? p + 1 : ""; *p >= '0' && *p <= '9'; p++)
        flags = flags * 10 + (unsigned long)(*p - '0');
    return flags & (PF_EXITING | PF_IO_WORKER);
}

static void count_thread(int tasks, const char *name, void *nr)
{
    *(int *)nr += *name >= '0' && *name <= '9' && strlen(name) < 12 && !is_no_thread(tasks, name);
}

/* Whether the program has other threads, which go on with the descriptors as they are when this one is given a table of
 * its own. */
static bool has_threads(void)
{
    int nr = 0;
    populate_end();
    return os_each_name("/proc/self/task", count_thread, &nr) != 0 || nr - watch_has_reader() > 1;
}

/* Before [first, last] is closed. Returns whether this process may have had something there that is known. */
static bool closing_range(unsigned first, unsigned last)
{
    if (first > last || first > INT32_MAX || !lifecycle_enter() || !lifecycle_is_owner())
        return false;
    devices_closing((int)first, last > INT32_MAX ? INT32_MAX : (int)last);
    return true;
}

/* CLOSE_RANGE_UNSHARE in the program's only thread closes them: the thread of ours that shares the table is not to keep
 * them open. In one of several it leaves the others theirs. */
int close_range(unsigned first, unsigned last, int flags)
{
    const int unshare = CLOSE_RANGE_UNSHARE;
    if (flags == unshare && lifecycle_enter() && !has_threads())
        flags = 0;
    bool is_closing = !flags && closing_range(first, last);
    intptr_t result = os_call(SYS_close_range, first, last, flags, 0, 0, 0);
    if (is_closing)
        devices_closed();
    if (result == 0 && flags & unshare && lifecycle_enter() && lifecycle_is_owner())
        attachments_part();
    return to_libc(result);
}

void closefrom(int first)
{
    bool is_closing = closing_range(first < 0 ? 0 : (unsigned)first, UINT32_MAX);
    next_libc()->closefrom(first);
    if (is_closing)
        devices_closed();
}
