/* SPDX-License-Identifier: MIT */
/* Starts anydma-report on behalf of this process: for the line at its end, and to name the addresses of a hazard. The program
 * does not notice: the child sends no signal, and no wait of its own finds it. */
#ifndef PROFILE_HELPER_H
#define PROFILE_HELPER_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `anydma run` said where it is, this being the very process that it became if `only_first`, and whether this process may
 * start others: where its system calls are filtered it may be killed for that. */
bool helper_is_there(bool only_first);
/* Runs it with the `nr` arguments, its output on stderr, and waits for it. Returns whether it ended with status 0. One at a time;
 * false while another thread is at it. */
bool helper_run(char *const *arguments, size_t nr);

#endif
