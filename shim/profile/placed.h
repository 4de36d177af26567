/* SPDX-License-Identifier: MIT */
/* Sampled mappings: what the program has from mmap, chosen by the same bytes as allocations (profile/samples.h). */
#ifndef PROFILE_PLACED_H
#define PROFILE_PLACED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Constant after the start: whether mappings are sampled. */
extern bool placed_is_on;
void placed_start(void);
/* The program has a new mapping of `len` bytes: a sample when it is large, or one of its bytes is chosen. */
void placed_add(uintptr_t start, size_t len);
/* What was mapped in the range is gone. Returns whether any of it was a sample. */
bool placed_remove(uintptr_t start, size_t len);

#endif
