/* SPDX-License-Identifier: MIT */
/* How a door reads what the program hands to the kernel by address: an address that the kernel would refuse is no fault here. */
#ifndef INTERPOSE_PEEK_H
#define INTERPOSE_PEEK_H

#include <stdbool.h>
#include <stddef.h>

/* Copies `len` bytes of the program's. False where they can't be read: the kernel says so then, asked as the program did. */
bool peek(void *to, const void *from, size_t len);

#endif
