/* SPDX-License-Identifier: MIT */
/* The calling thread's stack and labels, kept from a door's entry to its exit. */
#ifndef PROFILE_STACK_H
#define PROFILE_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/format.h"

enum { STACK_MAX_LABELS = 16, STACK_LABEL_BYTES = 128 };

/* What identifies a call site. Compared as bytes: `label` is padded with zeros. */
struct stack {
    char label[STACK_LABEL_BYTES];
    void *frames[CAPTURE_MAX_FRAMES];
};

/* Opens the unwinder, and has it take its first stack, which takes milliseconds; before that there are none. Allocates, and takes the
 * loader's lock: once, from a constructor. */
void stack_open(void);
/* This thread can take stacks from here on, in its signal handlers too. Allocates. */
void stack_thread_begins(void);
/* Copies the thread's current stack. Returns its depth; 0: none was taken. */
unsigned stack_current(struct stack *stack);
/* What was noted of the thread's current stack, when it was the same as now, labels and all; 0: nothing.
 * Threads come to the sampler from one place again and again. */
uint64_t stack_noted(void);
void stack_note(uint64_t number);
/* Stacks are not taken while paused, which waits until nobody takes one. */
void stack_pause(void);
void stack_resume(void);
void stack_reset(void);

/* Whether this thread is inside libunwind on our behalf; the doors then do the least that works. */
extern _Thread_local bool stack_is_unwinding;
/* Whether a call came out of libunwind's code. */
bool stack_is_unwinder(const void *return_address);

#endif
