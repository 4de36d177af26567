/* SPDX-License-Identifier: MIT */
/*
 * Takes call stacks with libunwind's unw_backtrace. The library is opened only when stacks are wanted, and outside the
 * scope in which the program's names are looked up: it exports an unwinder (_Unwind_*) and a backtrace of its own, to
 * which the program's C++ libraries and its C library's cancellation would otherwise be bound. Why unwinding can't
 * deadlock, wherever a door was called:
 *
 * The loader's lock is never taken. While stack_is_unwinding, dl_iterate_phdr, through which libunwind finds
 * a frame's unwind table, is answered by interpose/unwind.c from _dl_find_object, which takes none.
 *
 * libunwind's cache of frames is set to one per thread, which has no lock. The locks of its memory pools are
 * leaves: what it maps under them passes our door by (stack_is_unwinder).
 *
 * A library that is opened late gets its variables of a thread (libunwind has one) by malloc, at the thread's first use: not in
 * a signal handler, which may have interrupted malloc, but when the thread first allocates (stack_thread_begins).
 *
 * No lock of ours is held. A signal handler that comes to a door meanwhile takes no stack: what it pins is
 * told of without one (blocking signals instead would cost two system calls a stack).
 *
 * A fork waits until nobody unwinds (though not for ever), so that a child inherits free locks.
 */
#include "profile/stack.h"

#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>
#include <stdatomic.h>
#include <string.h>

#include "base/config.h"
#include "base/handlers.h"
#include "base/log.h"
#include "base/os.h"
#include "profile/profile.h"

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

#define STRING_OF(name) #name
#define NAME_OF(name) STRING_OF(name) /* libunwind's names are macros */
static const char libunwind[] = "libunwind.so.8";

#define PAUSE_NS UINT64_C(20000000) /* a handler may have left an unwinding by longjmp: it never ends */

struct range {
    uintptr_t start, end;
};

_Thread_local bool stack_is_unwinding;
static _Thread_local struct {
    void *frames[CAPTURE_MAX_FRAMES];
    unsigned depth;
    unsigned kept; /* the depth of the stack that `noted` is of, which stays in `frames` */
    uint64_t noted;
    const char *labels[STACK_MAX_LABELS];
    unsigned nr_labels;
} current __attribute__((tls_model("initial-exec")));

static struct range shim, unwinder;
typedef int take_backtrace(void **frames, int max);
static _Atomic(take_backtrace *) unwind; /* NULL: stacks are not taken (yet) */
static _Thread_local bool is_prepared;   /* the thread has the unwinder's variables */
static _Atomic int nr_unwinding;
static _Atomic bool is_paused;

static struct range object_of(const void *address)
{
    struct dl_find_object object;
    if (!_dl_find_object || _dl_find_object((void *)address, &object) != 0)
        return (struct range){0, 0};
    return (struct range){(uintptr_t)object.dlfo_map_start, (uintptr_t)object.dlfo_map_end};
}

static bool contains(const struct range *range, const void *address)
{
    return (uintptr_t)address - range->start < range->end - range->start;
}

bool stack_is_unwinder(const void *return_address)
{
    return contains(&unwinder, return_address);
}

static bool begin(void)
{
    atomic_fetch_add_explicit(&nr_unwinding, 1, memory_order_seq_cst);
    if (!stack_is_unwinding && !atomic_load_explicit(&is_paused, memory_order_seq_cst))
        return true;
    atomic_fetch_sub_explicit(&nr_unwinding, 1, memory_order_release);
    return false;
}

/* The shim's own frames, which come first, say nothing. */
static unsigned strip(void **frames, unsigned depth)
{
    unsigned own = 0;
    while (own < depth && contains(&shim, frames[own]))
        own++;
    if (own == depth)
        own = 0; /* the shim is linked into the program: a unit test */
    memmove(frames, frames + own, (depth - own) * sizeof(*frames));
    return depth - own;
}

static int take(void **frames, unsigned max)
{
    take_backtrace *take_it = atomic_load_explicit(&unwind, memory_order_acquire);
    if (!take_it || !begin())
        return 0;
    stack_is_unwinding = true;
    int depth = take_it(frames, (int)max);
    stack_is_unwinding = false;
    is_prepared = true;
    atomic_fetch_sub_explicit(&nr_unwinding, 1, memory_order_release);
    return depth;
}

void stack_thread_begins(void)
{
    void *frame;
    if (!is_prepared)
        take(&frame, 1);
}

/* Whether this may be the thread's first: check mode's heap keeps handlers out, and else there must be no handlers. */
static bool may_allocate(void)
{
    return config.check || !handlers_exist();
}

void profile_take_stack(void)
{
    enum { OWN_FRAMES = 8 };
    void *frames[CAPTURE_MAX_FRAMES + OWN_FRAMES];
    if (!is_prepared && !may_allocate())
        return;
    int depth = take(frames, config.depth + OWN_FRAMES);
    unsigned left = depth > 0 ? strip(frames, (unsigned)depth) : 0;
    current.depth = left < config.depth ? left : config.depth;
    if (current.depth == current.kept && memcmp(current.frames, frames, current.depth * sizeof(*frames)) == 0)
        return;
    current.kept = current.depth;
    current.noted = 0;
    memcpy(current.frames, frames, current.depth * sizeof(*frames));
}

/* What calls handlers before a fork is the C library, which called for it, too. */
void profile_take_fork_stack(void)
{
    profile_take_stack();
    struct range libc = current.depth ? object_of(current.frames[0]) : (struct range){0, 0};
    unsigned inside = 0;
    while (inside + 1 < current.depth && contains(&libc, current.frames[inside]))
        inside++;
    current.depth -= inside;
    current.kept = current.depth;
    current.noted = 0;
    memmove(current.frames, current.frames + inside, current.depth * sizeof(*current.frames));
}

uint64_t stack_noted(void)
{
    return current.depth ? current.noted : 0;
}

void stack_note(uint64_t number)
{
    if (current.depth)
        current.noted = number;
}

void profile_drop_stack(void)
{
    current.depth = 0;
}

unsigned profile_copy_stack(void **frames, unsigned max)
{
    unsigned depth = current.depth < max ? current.depth : max;
    memcpy(frames, current.frames, depth * sizeof(*frames));
    return depth;
}

void profile_label_push(const char *label)
{
    current.noted = 0;
    if (current.nr_labels < STACK_MAX_LABELS)
        current.labels[current.nr_labels] = label;
    current.nr_labels++;
}

void profile_label_pop(void)
{
    current.noted = 0;
    if (current.nr_labels)
        current.nr_labels--;
}

unsigned stack_current(struct stack *stack)
{
    size_t len = 0;
    memset(stack->label, 0, sizeof(stack->label));
    for (unsigned i = 0; current.depth && i < current.nr_labels && i < STACK_MAX_LABELS; i++) {
        const char *label = current.labels[i] ? current.labels[i] : "";
        if (i && len < sizeof(stack->label) - 1)
            stack->label[len++] = '/';
        while (*label && len < sizeof(stack->label) - 1)
            stack->label[len++] = *label++;
    }
    memcpy(stack->frames, current.frames, current.depth * sizeof(stack->frames[0]));
    return current.depth;
}

static bool open_library(void)
{
    void *library = dlopen(libunwind, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        log_write(LOG_WARNING,
                  "%s can't be opened (%s): the capture will not say who pins; install libunwind8", libunwind,
                  dlerror());
        return false;
    }
    __typeof__(unw_set_caching_policy) *set_policy =
        (__typeof__(set_policy))dlsym(library, NAME_OF(unw_set_caching_policy));
    unw_addr_space_t *space = dlsym(library, NAME_OF(unw_local_addr_space));
    take_backtrace *backtrace = (take_backtrace *)dlsym(library, NAME_OF(unw_backtrace));
    if (!set_policy || !space || !backtrace)
        return false;
    unwinder = object_of((const void *)backtrace);
    set_policy(*space, UNW_CACHE_PER_THREAD);
    atomic_store_explicit(&unwind, backtrace, memory_order_release);
    return true;
}

void stack_open(void)
{
    void *frames[4];
    shim = object_of((const void *)stack_open);
    if (open_library() && take(frames, 4) <= 0)
        log_write(LOG_WARNING, "call stacks can't be taken here: the capture will not say who pins");
}

void stack_pause(void)
{
    atomic_store_explicit(&is_paused, true, memory_order_seq_cst);
    uint64_t since = os_monotonic_ns();
    while (atomic_load_explicit(&nr_unwinding, memory_order_seq_cst) != 0 &&
           os_monotonic_ns() - since < PAUSE_NS)
        __builtin_ia32_pause();
}

void stack_resume(void)
{
    atomic_store_explicit(&is_paused, false, memory_order_seq_cst);
}

void stack_reset(void)
{
    atomic_store_explicit(&nr_unwinding, 0, memory_order_relaxed);
    atomic_store_explicit(&is_paused, false, memory_order_relaxed);
    stack_is_unwinding = false;
    current.depth = 0;
    current.noted = 0;
}
