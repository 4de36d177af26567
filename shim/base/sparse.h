/* SPDX-License-Identifier: MIT */
/* Stretches of the shim's own memory of which little is ever touched: tables, and records of the allocator. mlockall, which
 * would fill them, leaves them out. Takes no lock. */
#ifndef BASE_SPARSE_H
#define BASE_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For good: what is noted is never given back. Those that there is no room for are not noted. */
void sparse_note(const void *start, size_t len);

struct sparse {
    uintptr_t start, end;
};

/* The lowest stretch that ends above `addr`; {UINTPTR_MAX, UINTPTR_MAX} if there is none. */
struct sparse sparse_above(uintptr_t addr);

#endif
