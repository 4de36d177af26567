/* SPDX-License-Identifier: MIT */
/* Calls that failed, counted by what they were and by errno; with and without a capture. Any caller, no lock. */
#ifndef PROFILE_FAILURES_H
#define PROFILE_FAILURES_H

#include <stddef.h>
#include <stdint.h>

#include "profile/reasons.h"

/* Whose pinned pages count against the limit on locked memory, from now on: a text that stays. */
void failures_set_counter(const char *counter);
/* `error` is positive. The first of a kind that asks for something to be done is told on stderr; one of anydma's own calls,
 * which are tried again in another way, never is. `len`: bytes that were asked for, 0 where unknown. */
void failures_note(enum failed_call call, int error, size_t len);
/* How many of the call failed, with that error; 0 for `error`: with any. */
uint64_t failures_count(enum failed_call call, int error);
/* What such an error says here, of this process's limits, and what to do about it. `error` is positive. */
const char *failures_reason(enum failed_call call, int error);
const char *failures_remedy(enum failed_call call, int error); /* NULL: nothing that helps in general */
/* At exit: how often in all what was told happened, where that is more than once. */
void failures_tell_end(void);
/* In a forked child. */
void failures_forget(void);

#endif
