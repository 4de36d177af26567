/* SPDX-License-Identifier: MIT */
/* The doors by which the program installs signal handlers: only then do the shim's locks have to keep them out. Nothing
 * else is changed. */
#include <signal.h>
#include <stdbool.h>

#include "base/lock.h"
#include "interpose/lifecycle.h"

/* glibc's other names for the same. */
int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
sighandler_t __sysv_signal(int number, sighandler_t handler);
sighandler_t bsd_signal(int number, sighandler_t handler);

static void expect(sighandler_t handler)
{
    if (handler != SIG_DFL && handler != SIG_IGN)
        lock_expect_handlers();
}

int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    static int (*next)(int, const struct sigaction *, struct sigaction *);
    if (action)
        expect(action->sa_handler);
    if (!next)
        next = (__typeof__(next))lifecycle_next("sigaction");
    return next(number, action, old);
}

int __sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    return sigaction(number, action, old);
}

sighandler_t signal(int number, sighandler_t handler)
{
    static sighandler_t (*next)(int, sighandler_t);
    expect(handler);
    if (!next)
        next = (__typeof__(next))lifecycle_next("signal");
    return next(number, handler);
}

sighandler_t bsd_signal(int number, sighandler_t handler)
{
    return signal(number, handler);
}

sighandler_t sysv_signal(int number, sighandler_t handler)
{
    static sighandler_t (*next)(int, sighandler_t);
    expect(handler);
    if (!next)
        next = (__typeof__(next))lifecycle_next("sysv_signal");
    return next(number, handler);
}

sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return sysv_signal(number, handler);
}
