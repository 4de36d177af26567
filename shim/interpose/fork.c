/* SPDX-License-Identifier: MIT */
/*
 * A fork's locks, in the order in which they are taken: stdio's list of files, the heap's (jemalloc), the shim's own.
 * glibc's fork takes the list of files before the locks of its own malloc, because getline and fopen allocate while they
 * hold a file's lock and fflush(NULL) takes files' locks under the list's; but it does so after it ran the handlers,
 * where a replaced malloc takes its locks. So the list's lock, which is recursive, is taken here first.
 *
 * A program of one thread may fork in a signal handler that has interrupted malloc or stdio: neither's locks are
 * taken then, as in glibc. The shim's own are: no handler interrupts their holders.
 */
#include "interpose/fork.h"

#include <pthread.h>
#include <stddef.h>

#include "base/lock.h"
#include "base/log.h"
#include "dma/counts.h"
#include "dma/dma.h"
#include "dma/pagemap.h"
#include "interpose/advice.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/strict.h"
#include "memory/arena.h"
#include "memory/foreign.h"
#include "profile/profile.h"

typedef void handler(void);

/* glibc's. */
extern char __libc_single_threaded __attribute__((weak));
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

static struct {
    handler *prepare, *parent, *child;
} heap_handlers;                                   /* jemalloc's, from its own start on */
static _Thread_local bool holds_heap, holds_files; /* this thread is in fork, and holds these */

static bool is_alone(void)
{
    return &__libc_single_threaded && __libc_single_threaded;
}

static void before_fork(void)
{
    bool alone = is_alone();
    if (profile_is_on && counts_pinned())
        profile_take_fork_stack();
    holds_files = !alone && _IO_list_lock;
    holds_heap = !alone && heap_handlers.prepare;
    if (holds_files)
        _IO_list_lock();
    if (holds_heap)
        heap_handlers.prepare();
    profile_before_fork(counts_pinned());
    locks_take_all();
}

static void unlock_own(void)
{
    arena_after_fork();
    locks_release_all();
    profile_after_fork();
}

static void after_fork_in_parent(void)
{
    unlock_own();
    if (holds_heap)
        heap_handlers.parent();
    if (holds_files)
        _IO_list_unlock();
    profile_leave();
}

static void after_fork_in_child(void)
{
    unlock_own();
    fork_become_child(false);
    if (holds_heap)
        heap_handlers.child();
    if (holds_files) /* glibc has done so already, where it knew of the threads */
        _IO_list_resetlock();
}

void fork_become_child(bool locks_are_lost)
{
    lifecycle_own();
    if (locks_are_lost)
        locks_reset_all();
    profile_become_child();
    dma_reset();
    advice_forget();
    log_drop_stderr();
    pagemap_reset();
    arena_reset();
    foreign_reset();
    strict_enter_thread();
}

void fork_init(void)
{
    /* Without an owner: an owner's handlers are dropped when exit() finishes it, and a thread that is inside fork just then
     * would keep every lock for ever. */
    next_libc()->__register_atfork(before_fork, after_fork_in_parent, after_fork_in_child, NULL);
}

/* jemalloc's: in the shim nobody else calls it. */
__attribute__((visibility("hidden"))) int pthread_atfork(handler *prepare, handler *parent, handler *child)
{
    heap_handlers.parent = parent;
    heap_handlers.child = child;
    heap_handlers.prepare = prepare;
    return 0;
}

/* What every pthread_atfork calls. Handlers that are registered later run before earlier ones, and may allocate: the shim's,
 * which take the heap's locks, are to be the first. */
int __register_atfork(handler *prepare, handler *parent, handler *child, void *owner);

int __register_atfork(handler *prepare, handler *parent, handler *child, void *owner)
{
    lifecycle_enter();
    return next_libc()->__register_atfork(prepare, parent, child, owner);
}
