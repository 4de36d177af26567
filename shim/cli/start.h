/* SPDX-License-Identifier: MIT */
/* What `anydma run` makes sure of before the program starts: that a preload can see into it, and that its capture can be
 * written. Each returns 0, or the exit status after a message. */
#ifndef CLI_START_H
#define CLI_START_H

#include <stdbool.h>

/* `anyway`: a program that anydma can't see into is only told of. */
int start_check_program(const char *name, bool anyway);
/* The file that ANYDMA_OUTPUT names for `program`, if any. `report`: the path of anydma-report, which the shim starts at the
 * program's end for one line about the capture; NULL: none. */
int start_check_output(const char *program, const char *report);

/* Names the capture where no name was given: PROGRAM.PID.capture. The number is this process's, which the program's will be:
 * other processes then write only when there is something to tell. */
int start_pick_output(const char *program);

#endif
