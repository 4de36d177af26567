/* SPDX-License-Identifier: MIT */
/* Whether a preload can see into a program, from its file alone. */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

#include <stddef.h>

/* The file that execvp would start for `name`; `path` of PATH_MAX bytes. Returns 0 or -errno. */
int program_find(const char *name, char *path);
/* Why the loader would not preload into the program at `path`, or anydma would not see its memory: one clause that says
 * what it is, and what follows. NULL: nothing is in the way. `reason` of at least 512 bytes, returned. Of a script, its
 * interpreter is looked at. */
const char *program_blind_spot(const char *path, char *reason, size_t size);
/* The library of a sanitizer (gcc's) that the program at `path` needs, and that has to come before any other: its name goes to
 * `library`. Returns it, or NULL. */
const char *program_sanitizer(const char *path, char *library, size_t size);

#endif
