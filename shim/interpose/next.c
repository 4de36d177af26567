/* SPDX-License-Identifier: MIT */
/* All names are looked up at once, the first time. Two threads that come together find the same. */
#include "interpose/next.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

static struct next_libc found;
static _Atomic bool is_complete;
__typeof__(found.syscall) next_syscall;

#define FIND(name) found.name = (__typeof__(found.name))dlsym(RTLD_NEXT, #name)

__attribute__((noinline, cold)) static void find_all(void)
{
    FIND(close);
    FIND(closefrom);
    FIND(fcntl64);
    FIND(open);
    FIND(open64);
    FIND(openat);
    FIND(openat64);
    FIND(__open_2);
    FIND(__open64_2);
    FIND(__openat_2);
    FIND(__openat64_2);
    FIND(brk);
    FIND(sbrk);
    FIND(sigaction);
    FIND(signal);
    FIND(sysv_signal);
    FIND(sigset);
    FIND(sigprocmask);
    FIND(pthread_sigmask);
    FIND(pthread_create);
    FIND(thrd_create);
    FIND(vmsplice);
    FIND(sendmsg);
    FIND(sendmmsg);
    FIND(sendto);
    FIND(dl_iterate_phdr);
    FIND(__register_atfork);
    FIND(syscall);
    next_syscall = found.syscall;
    atomic_store_explicit(&is_complete, true, memory_order_release);
}

const struct next_libc *next_libc(void)
{
    if (!atomic_load_explicit(&is_complete, memory_order_acquire))
        find_all();
    return &found;
}
