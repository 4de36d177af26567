/* SPDX-License-Identifier: MIT */
/*
 * Takes call stacks with libunwind's unw_backtrace. Why that can't deadlock, wherever a door was called:
 *
 * The loader's lock is never taken. While stack_is_unwinding, dl_iterate_phdr, through which libunwind finds
 * a frame's unwind table, is answered by interpose/unwind.c from _dl_find_object, which takes none.
 *
 * libunwind's cache of frames is set to one per thread, which has no lock. The locks of its memory pools are
 * leaves: what it maps under them passes our door by (stack_is_unwinder).
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
#include "base/log.h"
#include "base/os.h"
#include "profile/profile.h"

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

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

void profile_take_stack(void)
{
    enum { OWN_FRAMES = 8 };
    void *frames[CAPTURE_MAX_FRAMES + OWN_FRAMES];
    if (!begin())
        return;
    stack_is_unwinding = true;
    int depth = unw_backtrace(frames, (int)config.depth + OWN_FRAMES);
    stack_is_unwinding = false;
    atomic_fetch_sub_explicit(&nr_unwinding, 1, memory_order_release);
    unsigned left = depth > 0 ? strip(frames, (unsigned)depth) : 0;
    current.depth = left < config.depth ? left : config.depth;
    if (current.depth == current.kept && memcmp(current.frames, frames, current.depth * sizeof(*frames)) == 0)
        return;
    current.kept = current.depth;
    current.noted = 0;
    memcpy(current.frames, frames, current.depth * sizeof(*frames));
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

void stack_prewarm(void)
{
    shim = object_of((const void *)stack_prewarm);
    unwinder = object_of((const void *)unw_backtrace);
    unw_set_caching_policy(unw_local_addr_space, UNW_CACHE_PER_THREAD);
    if (config.depth < 1)
        config.depth = 1;
    profile_take_stack();
    if (!current.depth)
        log_write(LOG_WARNING, "call stacks can't be taken here: the capture will not say who pins");
    profile_drop_stack();
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
