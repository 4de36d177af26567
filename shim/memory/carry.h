/* SPDX-License-Identifier: MIT */
/* What is in a block of the heap goes to another place by moving its pages, as glibc's realloc does. */
#ifndef MEMORY_CARRY_H
#define MEMORY_CARRY_H

#include <stddef.h>
#include <stdint.h>

/* Whole pages of the heap, both somebody's, that do not overlap. What may be pinned, was changed in any way, or may be locked is copied.
 * What is in the source afterwards is not said. Returns how much is there now: `len`, or less: there is no memory behind that. */
size_t carry(uintptr_t from, uintptr_t to, size_t len);

#endif
