/* SPDX-License-Identifier: MIT */
/* What the doors of address space share: ranges split where the arena begins and ends, and libc's convention for results.
 * Callers: interpose/mmap.c, interpose/remap.c. */
#ifndef INTERPOSE_RANGES_H
#define INTERPOSE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's answer as libc gives it: errno set, MAP_FAILED or -1. */
void *to_libc_ptr(intptr_t result);
int to_libc(intptr_t result);

/* What the kernel refuses outright, before it changes anything. */
bool is_bad_range(uintptr_t addr, size_t len);
/* So do munmap, mmap and mremap what reaches over the end of the address space. (What lies beyond it all, where a kernel
 * with five levels has more, is not the arena's.) */
bool is_beyond_end(uintptr_t addr, size_t len);
bool overlaps_arena(uintptr_t addr, size_t len);

/* Calls `inside` or `outside` for each part of the range; stops at the first error and returns it. */
int for_each_part(uintptr_t addr, size_t len, int (*inside)(uintptr_t addr, size_t len, int arg),
                  int (*outside)(uintptr_t addr, size_t len, int arg), int arg);

/* How what is mapped in a range is replaced by something else. */
struct replacement {
    int prot;
    unsigned flags; /* enum run_flag */
    bool failed;
};

/* Around the kernel's call: what was there is given up before, what is there now is known afterwards. */
void begin_replace(uintptr_t addr, size_t len);
void end_replace(uintptr_t addr, size_t len, struct replacement how);

#endif
