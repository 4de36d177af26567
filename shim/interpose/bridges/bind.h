/* SPDX-License-Identifier: MIT */
/*
 * Leads the callers of another library's function to one of ours, without exporting its name: nothing is there that
 * would not be there plainly, for dlsym, for weak references, or for a program with a function of its own by that name.
 * The slots of the objects that call it are written over, and so is the address in the library's own symbol table, for
 * what is bound later.
 */
#ifndef INTERPOSE_BRIDGES_BIND_H
#define INTERPOSE_BRIDGES_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One function of the library's. */
struct bound_name {
    const char *name;
    void *ours;
    _Atomic(void *) next; /* the library's own; NULL: it has none by that name, or is not there */
};

struct bound_library {
    const char *witness; /* another name that the object defines, which makes it that library */
    struct bound_name *names;
    size_t nr_names;
    /* Objects that define one of these keep calling the library's own, unless they define the other as well. NULL: none. */
    const char *spared[2], *not_spared;
    _Atomic uintptr_t start, end; /* where it lies; 0: not found */
};

/* Looks for the library among the loaded objects, and leads its callers to ours. Names that are led already stay so.
 * Returns whether it is there. One caller at a time. Allocates nothing, and takes the loader's lock of its list only,
 * which is never held while a program's code runs. */
bool bind_library(struct bound_library *library);

/* Whether the program itself imports a name that begins so. */
bool bind_program_imports(const char *begins);

/* Where `name` is defined, in any loaded object; NULL. */
void *bind_find(const char *name);

/* Where `name` is defined in the object that `address` lies in; NULL. */
void *bind_find_beside(const void *address, const char *name);

/* How many objects were loaded so far, since the start: when it has not changed, there is nothing new to find. */
uint64_t bind_nr_loaded(void);

static inline bool bind_contains(struct bound_library *library, const void *address)
{
    return (uintptr_t)address >= library->start && (uintptr_t)address < library->end;
}

#endif
