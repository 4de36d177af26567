/* SPDX-License-Identifier: MIT */
/*
 * Keeps the program's signal handlers out of a thread that holds a lock of the shim: they may enter the shim. No system call is
 * made for that. Every handler that the program installs is called by way of interpose/signals.c, which looks at
 * handlers_kept_out: the signal of a handler that comes while it is not 0 is sent once more, with all signals blocked from
 * the interrupted code on, and is delivered when the last lock is released.
 */
#ifndef BASE_HANDLERS_H
#define BASE_HANDLERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

extern _Thread_local uint32_t handlers_kept_out
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Whether the program has installed a handler. */
bool handlers_exist(void);
void handlers_note(void);
/* A handler that calls without looking has been installed: from here on signals are blocked by system calls. */
void handlers_note_unseen(void);

/* No handler runs in this thread until as many calls of handlers_let_in. */
void handlers_keep_out(void);
void handlers_let_in(void);

/* For a handler that was called while it should be kept out, once it has blocked all signals: `mask`, which the kernel restores
 * when it returns, blocks every signal until handlers_let_in puts back what it was. */
void handlers_put_off(uint64_t *mask);

#endif
