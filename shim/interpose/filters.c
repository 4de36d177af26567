/* SPDX-License-Identifier: MIT */
/* The doors by which a program installs seccomp filters: prctl, and seccomp, which has no function in the C library. They only
 * take note. */
#include "interpose/filters.h"

#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "interpose/ranges.h"

static _Atomic bool are_set;

bool filters_are_set(void)
{
    return atomic_load_explicit(&are_set, memory_order_relaxed);
}

static int noted(bool sets, intptr_t result)
{
    if (sets && !os_is_error(result))
        atomic_store_explicit(&are_set, true, memory_order_relaxed);
    return to_libc(result);
}

int prctl(int option, ...)
{
    va_list args;
    va_start(args, option);
    long a = va_arg(args, long), b = va_arg(args, long), c = va_arg(args, long), d = va_arg(args, long);
    va_end(args);
    return noted(option == PR_SET_SECCOMP, os_call(SYS_prctl, option, a, b, c, d, 0));
}

int door_seccomp(unsigned operation, unsigned flags, void *args)
{
    bool sets = operation == SECCOMP_SET_MODE_STRICT || operation == SECCOMP_SET_MODE_FILTER;
    return noted(sets, os_call(SYS_seccomp, operation, flags, (long)args, 0, 0, 0));
}
