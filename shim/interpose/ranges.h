/* SPDX-License-Identifier: MIT */
/* What the doors of address space share: which ranges the kernel refuses, and libc's convention for results. */
#ifndef INTERPOSE_RANGES_H
#define INTERPOSE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's answer as libc gives it: errno set, MAP_FAILED or -1. */
void *to_libc_ptr(intptr_t result);
intptr_t to_libc(intptr_t result);

/* What the kernel refuses outright, before it changes anything. */
bool is_bad_range(uintptr_t addr, size_t len);
/* So do munmap, mmap and mremap what reaches over the end of the address space. (What lies beyond it all, where a kernel
 * with five levels has more, is not the arena's.) */
bool is_beyond_end(uintptr_t addr, size_t len);

#endif
