/* SPDX-License-Identifier: MIT */
/* Whether the program filters its own system calls. */
#ifndef INTERPOSE_FILTERS_H
#define INTERPOSE_FILTERS_H

#include <stdbool.h>

/* Whether a filter was installed since the start: a system call that the program does not make itself may be its death. */
bool filters_are_set(void);

int door_seccomp(unsigned operation, unsigned flags, void *args);

#endif
