/* SPDX-License-Identifier: MIT */
/* The doors by which a program filters its system calls: prctl, which names mappings, too, and seccomp, which has no function in
 * the C library. They only take note. */
#include "interpose/filters.h"

#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/ranges.h"
#include "interpose/strict.h"
#include "memory/contents.h"
#include "memory/huge.h"
#include "memory/mappings.h"
#include "memory/owners.h"
#include "memory/populate.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH /* 5.11 */
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

static _Atomic bool are_set;
static const char filtered[] = "the program filters its system calls";

bool filters_are_set(void)
{
    return atomic_load_explicit(&are_set, memory_order_relaxed);
}

static int noted(bool sets, intptr_t result)
{
    if (sets && !os_is_error(result)) {
        atomic_store_explicit(&are_set, true, memory_order_relaxed);
        contents_give_up();
        populate_give_up();
        mappings_give_up_asking();
        huge_give_up();
    }
    return to_libc(result);
}

/* Syscall User Dispatch allows this thread's calls where one range of code makes them: mostly the C library's, which makes ours,
 * too, then. */
static void dispatched(bool is_on, uintptr_t start, uintptr_t len)
{
    bool is_allowed = is_on && (uintptr_t)next_libc()->syscall - start < len;
    os_call_by(is_allowed ? next_libc()->syscall : NULL);
}

int prctl(int option, ...)
{
    va_list args;
    va_start(args, option);
    long a = va_arg(args, long), b = va_arg(args, long), c = va_arg(args, long), d = va_arg(args, long);
    va_end(args);
    if (option == PR_SET_SECCOMP)
        strict_end(filtered);
    if (option == PR_SET_SYSCALL_USER_DISPATCH)
        strict_end("the program dispatches its system calls itself");
    intptr_t result = os_call(SYS_prctl, option, a, b, c, d, 0);
    if (option == PR_SET_SYSCALL_USER_DISPATCH && result == 0)
        dispatched(a == PR_SYS_DISPATCH_ON, (uintptr_t)b, (uintptr_t)c);
    if (option == PR_SET_VMA && !result && !is_bad_range((uintptr_t)b, (size_t)c) && lifecycle_enter())
        owners_advised((uintptr_t)b, os_page_up((size_t)c));
    return noted(option == PR_SET_SECCOMP, result);
}

int door_seccomp(unsigned operation, unsigned flags, void *args)
{
    bool sets = operation == SECCOMP_SET_MODE_STRICT || operation == SECCOMP_SET_MODE_FILTER;
    if (sets)
        strict_end(filtered);
    return noted(sets, os_call(SYS_seccomp, operation, flags, (long)args, 0, 0, 0));
}
