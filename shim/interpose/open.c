/* SPDX-License-Identifier: MIT */
/* The doors of open: a device node that does not open is told. Everything else passes; nothing but a failure is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>

#include "interpose/advice.h"
#include "interpose/lifecycle.h"
#include "interpose/open.h"

/* Not the system call: these are cancellation points, and another preload may have its own. */
static struct {
    int (*open)(const char *path, int flags, ...);
    int (*open64)(const char *path, int flags, ...);
    int (*openat)(int dir, const char *path, int flags, ...);
    int (*openat64)(int dir, const char *path, int flags, ...);
    int (*open_2)(const char *path, int flags);
    int (*open64_2)(const char *path, int flags);
    int (*openat_2)(int dir, const char *path, int flags);
    int (*openat64_2)(int dir, const char *path, int flags);
} next;

void open_find_next(void)
{
    if (next.openat64_2)
        return;
    next.open = (__typeof__(next.open))lifecycle_next("open");
    next.open64 = (__typeof__(next.open64))lifecycle_next("open64");
    next.openat = (__typeof__(next.openat))lifecycle_next("openat");
    next.openat64 = (__typeof__(next.openat64))lifecycle_next("openat64");
    next.open_2 = (__typeof__(next.open_2))lifecycle_next("__open_2");
    next.open64_2 = (__typeof__(next.open64_2))lifecycle_next("__open64_2");
    next.openat_2 = (__typeof__(next.openat_2))lifecycle_next("__openat_2");
    next.openat64_2 = (__typeof__(next.openat64_2))lifecycle_next("__openat64_2");
}

/* A path that the kernel could not read is not read here either. */
static int opened(const char *path, int result)
{
    if (result < 0 && errno != EFAULT && advice_is_about(path) && lifecycle_enter() && lifecycle_is_owner())
        advice_open_failed(path, errno);
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
    open_find_next();
    return opened(path, next.open(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    open_find_next();
    return opened(path, next.open64(path, flags, mode));
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    open_find_next();
    return opened(path, next.openat(dir, path, flags, mode));
}

int openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    open_find_next();
    return opened(path, next.openat64(dir, path, flags, mode));
}

/* What _FORTIFY_SOURCE makes of calls without a mode. */
int __open_2(const char *path, int flags)
{
    open_find_next();
    return opened(path, next.open_2(path, flags));
}

int __open64_2(const char *path, int flags)
{
    open_find_next();
    return opened(path, next.open64_2(path, flags));
}

int __openat_2(int dir, const char *path, int flags)
{
    open_find_next();
    return opened(path, next.openat_2(dir, path, flags));
}

int __openat64_2(int dir, const char *path, int flags)
{
    open_find_next();
    return opened(path, next.openat64_2(dir, path, flags));
}
