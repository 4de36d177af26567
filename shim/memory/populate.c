/* SPDX-License-Identifier: MIT */
/* Slices of a range, and the threads that take them. One range at a time, under LOCK_REGISTRY. */
#include "memory/populate.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/config.h"
#include "base/os.h"
#include "base/pool.h"
#include "dma/counts.h"
#include "dma/registry.h"

enum {
    SLICE = 2 << 20,
    LEAST = 8 * SLICE,
    MOST_HELPERS = 63,
    STACK_BYTES = 16 << 10,
    ADVICE_POPULATE_WRITE = 23,
};

typedef intptr_t call_function(long number, long a, long b, long c, long d, long e, long f);

static _Atomic bool is_given_up;
static _Atomic uintptr_t next = UINTPTR_MAX / 2; /* slice that nobody has taken; no address: there is none */
static _Atomic uintptr_t end;
static _Atomic uint32_t nr_busy;               /* helpers that may have a slice */
static _Atomic unsigned node;                  /* of the thread that registers */
static _Atomic uint32_t helpers[MOST_HELPERS]; /* their numbers, cleared by the kernel when they have gone */
static int last[MOST_HELPERS];                 /* their numbers, or those of the last ones in their places */
static char *stacks;

void populate_give_up(void)
{
    is_given_up = true;
}

/* --- slices ----------------------------------------------------------------------------------------------------------- */

static intptr_t bring_in(call_function *call, uintptr_t at, size_t len)
{
    return call(SYS_madvise, (long)at, (long)len, ADVICE_POPULATE_WRITE, 0, 0, 0);
}

/* `end` is set before `next`: who finds a slice there knows where the range ends. */
static void take_slices(call_function *call)
{
    for (uintptr_t at, stop; (at = atomic_fetch_add(&next, SLICE)) < (stop = atomic_load(&end));)
        if (bring_in(call, at, stop - at < SLICE ? stop - at : SLICE) != 0)
            break;
}

static long faults_now(void)
{
    struct rusage usage;
    return os_call(SYS_getrusage, RUSAGE_THREAD, (long)&usage, 0, 0, 0, 0) ? 0 : usage.ru_minflt;
}

/* Whether a page of the slice at `at` had to be brought in; all of it is, then. */
static bool was_untouched(uintptr_t at)
{
    long before = faults_now();
    return bring_in(os_call, at, SLICE) == 0 && faults_now() != before;
}

/* --- helpers ---------------------------------------------------------------------------------------------------------- */

/* Pages come from where the thread that registers is, unless the program has said where from. */
static void stay_on_node(void)
{
    int mode = 0;
    unsigned of = atomic_load(&node);
    unsigned long mask = 1ul << of % 64;
    if (of < 64 && os_enter(SYS_get_mempolicy, (long)&mode, 0, 0, 0, 0, 0) == 0 && mode == MPOL_DEFAULT)
        os_enter(SYS_set_mempolicy, MPOL_PREFERRED, (long)&mask, 65, 0, 0, 0);
}

/* Runs on its own small stack and thread pointer; calls os_enter only: it has no thread-local variables. */
__attribute__((noreturn)) static void help(void)
{
    os_enter(SYS_prctl, PR_SET_NAME, (long)"anydma-populate", 0, 0, 0, 0);
    stay_on_node();
    atomic_fetch_add(&nr_busy, 1);
    take_slices(os_enter);
    if (atomic_fetch_sub(&nr_busy, 1) == 1)
        os_enter(SYS_futex, (long)&nr_busy, 1 /* FUTEX_WAKE */, INT32_MAX, 0, 0, 0);
    for (;;)
        os_enter(SYS_exit, 0, 0, 0, 0, 0, 0);
}

/* The thread pointer's first words are what compiled code expects: itself, and the stack protector's value. */
static bool begin(unsigned helper)
{
    if (atomic_load(&helpers[helper])) /* one of an earlier range, which comes to this one, too */
        return true;
    char *stack = stacks + (size_t)helper * STACK_BYTES;
    uintptr_t *block = (uintptr_t *)(stack + STACK_BYTES - 4096);
    block[0] = block[2] = (uintptr_t)block;
    last[helper] = (int)os_clone(
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
            CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
        (uintptr_t)(stack + STACK_BYTES / 2), (uint32_t *)&helpers[helper], (uintptr_t)block, help);
    return last[helper] > 0;
}

/* Both as the kernel itself wakes them, which does not know that only one process waits. */
static void await_zero(_Atomic uint32_t *word)
{
    for (uint32_t value; (value = atomic_load(word)) != 0;)
        os_call(SYS_futex, (long)word, 0 /* FUTEX_WAIT */, value, 0, 0, 0);
}

/* How many may help: one for each further processor that this thread may use. */
static unsigned helpers_wanted(size_t len)
{
    unsigned long processors[1024 / 64] = {0};
    unsigned nr = config.threads, most = (unsigned)(len / SLICE);
    if (!nr) {
        long bytes = os_call(SYS_sched_getaffinity, 0, sizeof(processors), (long)processors, 0, 0, 0);
        for (long i = 0; i < bytes / (long)sizeof(*processors); i++)
            nr += (unsigned)__builtin_popcountl(processors[i]);
    }
    nr = nr < most ? nr : most;
    nr = nr < MOST_HELPERS + 1 ? nr : MOST_HELPERS + 1;
    return nr ? nr - 1 : 0;
}

static void share(uintptr_t start, size_t len, unsigned wanted)
{
    unsigned nr = 0;
    uint64_t saved;
    unsigned own_node = 0;
    os_call(SYS_getcpu, 0, (long)&own_node, 0, 0, 0, 0);
    atomic_store(&node, own_node);
    atomic_store(&end, start + len);
    atomic_store(&next, start);
    os_signals_block(&saved);
    while (nr < wanted && begin(nr))
        nr++;
    os_signals_restore(&saved);
    take_slices(os_call);
    atomic_store(&next, UINTPTR_MAX / 2); /* what comes now finds nothing, and what came before is counted */
}

void populate_await(void)
{
    if (atomic_load(&nr_busy))
        await_zero(&nr_busy);
}

static void end_all(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < MOST_HELPERS; i++) {
        await_zero(&helpers[i]);
        while (last[i] > 0 &&
               os_call(SYS_tgkill, os_getpid(), last[i], 0, 0, 0, 0) == 0) /* on its last way out */
            os_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        last[i] = 0;
    }
}

void populate_end(void)
{
    if (stacks)
        registry_locked(end_all, NULL);
}

void populate_reset(void)
{
    if (!stacks) /* there were none, and no page is written */
        return;
    atomic_store(&nr_busy, 0);
    for (unsigned i = 0; i < MOST_HELPERS; i++) {
        atomic_store(&helpers[i], 0);
        last[i] = 0;
    }
}

/* --- a range ------------------------------------------------------------------------------------------------------------ */

bool populate_may_be_pinned(size_t len)
{
    return counts_pinned() + len <= os_limit(RLIMIT_MEMLOCK) || os_can_lock_all();
}

void populate(uintptr_t start, size_t len)
{
    if (len < LEAST || config.threads == 1 || is_given_up)
        return;
    unsigned wanted = helpers_wanted(len);
    if (!wanted || !populate_may_be_pinned(len) ||
        (!stacks && !(stacks = pool_map(MOST_HELPERS * STACK_BYTES))))
        return;
    if (was_untouched(start + len - SLICE) || was_untouched(start + (len / 2 & ~(size_t)(SLICE - 1))))
        share(start, len, wanted);
}
