/* SPDX-License-Identifier: MIT */
/*
 * ANYDMA_STRICT: system calls that the program makes by instructions of its own come through the doors, as those of libc's
 * syscall() do. The kernel's Syscall User Dispatch lets the C library's code enter the kernel and sends SIGSYS for every other
 * instruction; ours go by way of the C library then (os_call_by). It holds for one thread, and ends with exec; a child, and
 * each thread that the C library begins for the program, sets it anew.
 */
#ifndef INTERPOSE_STRICT_H
#define INTERPOSE_STRICT_H

#include <signal.h>
#include <stdbool.h>

/* Begins it for the process and this thread, if that is asked for. Once, before the program's main. */
void strict_start(void);
/* For this thread, where it is on. */
void strict_enter_thread(void);
bool strict_is_on(void);

/* Ends it in all threads for good, and says why: what the program is about to do itself needs SIGSYS, or forbids our calls. */
void strict_end(const char *because);

/* While it is on: the program's action for SIGSYS is kept here, and is called for what is not ours. As sigaction(2). */
void strict_keep_action(const struct sigaction *action, struct sigaction *old);
/* SIGSYS must not be blocked while it is on: it would end the program. Unblocks it in this thread; called at the begin of each
 * handler, whose mask adds to that of the call that waits (ppoll). */
void strict_unblock(void);

#endif
