/* SPDX-License-Identifier: MIT */
/* The doors of open: a device node that does not open is told, and one that leads to devices of iommufd is noted.
 * Everything else passes. What is called is the next function, not the system call: it is a cancellation point, and another
 * preload may have its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "interpose/advice.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/vfio.h"
#include "memory/huge.h"

/* By other names it is known at its first call (interpose/vfio.c, iommufd.c). */
static void note(const char *path, int fd)
{
    if (strcmp(path, "/dev/iommu") == 0)
        iommufd_opened(fd);
    else if (strncmp(path, "/dev/vfio/devices/", 18) == 0)
        iommufd_device_opened(fd);
}

/* A path that the kernel could not read is not read here either. */
static int opened(const char *path, int result)
{
    int saved = errno;
    if ((result < 0 && saved == EFAULT) || !advice_is_about(path) || !lifecycle_enter() ||
        !lifecycle_is_owner())
        return result;
    if (result < 0)
        advice_open_failed(path, saved);
    else {
        huge_expect_device();
        note(path, result);
    }
    errno = saved;
    return result;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return opened(path, next_libc()->open(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return opened(path, next_libc()->open64(path, flags, mode));
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return opened(path, next_libc()->openat(dir, path, flags, mode));
}

int openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return opened(path, next_libc()->openat64(dir, path, flags, mode));
}

/* What _FORTIFY_SOURCE makes of calls without a mode. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return opened(path, next_libc()->__open_2(path, flags));
}

int __open64_2(const char *path, int flags)
{
    return opened(path, next_libc()->__open64_2(path, flags));
}

int __openat_2(int dir, const char *path, int flags)
{
    return opened(path, next_libc()->__openat_2(dir, path, flags));
}

int __openat64_2(int dir, const char *path, int flags)
{
    return opened(path, next_libc()->__openat64_2(dir, path, flags));
}
