/* SPDX-License-Identifier: MIT */
/* Finds the C library's functions, and tries those that were patched. Takes no lock. */
#include "interpose/patched.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/os.h"
#include "interpose/bridges/bind.h"
#include "interpose/lifecycle.h"
#include "memory/extents.h"

static const unsigned char nothing_yet[2]; /* no jump */
_Atomic(const unsigned char *) patched_code[NR_PATCHED_CALLS] = {nothing_yet, nothing_yet, nothing_yet,
                                                                 nothing_yet, nothing_yet, nothing_yet};

static const char *const names[NR_PATCHED_CALLS] = {"mmap", "munmap", "madvise", "mremap", "shmat", "shmdt"};
enum verdict { UNTRIED, IN_TRIAL, COMES_BACK, IS_LOST };
static _Atomic enum verdict verdicts[NR_PATCHED_CALLS];
static _Thread_local unsigned nr_came_back;

void patched_came_back(void)
{
    nr_came_back++;
}

void patched_find(void)
{
    extern void *__libc_malloc(size_t size);
    for (unsigned i = 0; i < NR_PATCHED_CALLS; i++) {
        void *function = bind_find_beside((const void *)__libc_malloc, names[i]);
        if (function)
            atomic_store_explicit(&patched_code[i], function, memory_order_release);
    }
}

/* Calls it with what can't succeed, or changes nothing: whoever counts its events hears of no other kind than the program's
 * own call will be. */
static void call_in_vain(enum patched_call call, void *function)
{
    void *nothing = (void *)OS_PAGE_SIZE;
    switch (call) {
    case PATCHED_MMAP:
        ((__typeof__(mmap) *)function)(NULL, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        break;
    case PATCHED_MUNMAP:
        ((__typeof__(munmap) *)function)(nothing, OS_PAGE_SIZE);
        break;
    case PATCHED_MADVISE:
        ((__typeof__(madvise) *)function)(nothing, OS_PAGE_SIZE, MADV_NORMAL);
        break;
    case PATCHED_MREMAP:
        ((void *(*)(void *, size_t, size_t, int))function)(nothing, OS_PAGE_SIZE, OS_PAGE_SIZE, 0);
        break;
    case PATCHED_SHMAT:
        ((void *(*)(int, const void *, int))function)(-1, NULL, 0);
        break;
    case PATCHED_SHMDT:
        ((int (*)(const void *))function)(nothing);
        break;
    default:
        break;
    }
}

/* Where the program's break is glibc learns when its malloc first runs, which here it never does; a peer asks it. */
static void tell_break(void)
{
    extern void *__curbrk;
    if (!__curbrk)
        __curbrk = (void *)os_call(SYS_brk, 0, 0, 0, 0, 0, 0);
}

static void try_it(enum patched_call call, void *function)
{
    enum verdict untried = UNTRIED;
    if (!atomic_compare_exchange_strong(&verdicts[call], &untried, IN_TRIAL))
        return;
    int saved = errno;
    unsigned before = nr_came_back;
    if (call == PATCHED_MUNMAP || call == PATCHED_MADVISE)
        extents_keep_pages();
    tell_break();
    call_in_vain(call, function);
    bool comes_back = nr_came_back != before;
    atomic_store(&verdicts[call], comes_back ? COMES_BACK : IS_LOST);
    log_write(
        comes_back ? LOG_INFO : LOG_WARNING,
        comes_back
            ? "the C library's %s leads to somebody else (a registration cache?): it is called, and the "
              "heap keeps its pages from now on"
            : "the C library's %s was patched by somebody who can't be called together with anydma: it is "
              "not told of this program's calls",
        names[call]);
    errno = saved;
}

void *patched_look(enum patched_call call)
{
    void *function = (void *)atomic_load_explicit(&patched_code[call], memory_order_acquire);
    if (atomic_load_explicit(&lifecycle_state, memory_order_acquire) != STATE_ACTIVE)
        return NULL;
    if (atomic_load(&verdicts[call]) == UNTRIED)
        try_it(call, function);
    return atomic_load(&verdicts[call]) == COMES_BACK ? function : NULL;
}
