/* SPDX-License-Identifier: MIT */
/* What the program's own file says of itself: functions and variables that were linked into it and that no other object can
 * see. Reads the file; allocates nothing. */
#ifndef INTERPOSE_BRIDGES_SYMTAB_H
#define INTERPOSE_BRIDGES_SYMTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symtab_name {
    const char *name;
    uintptr_t address; /* 0: it is not there */
};

/* Looks the names up in the program's symbol table. Returns 0; -ENOENT when it was stripped of it; or -errno. */
int symtab_find(struct symtab_name *names, size_t nr);

/* Whether the program's constants hold the text, for a program that was stripped. */
bool symtab_has_text(const char *text);

#endif
