/* SPDX-License-Identifier: MIT */
/* What is in pages, whatever their protection is. Owns nothing, takes no lock. */
#ifndef MEMORY_CONTENTS_H
#define MEMORY_CONTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes zeroes to whole pages of private memory through /proc/self/mem, as a debugger does. False: it can't be had. */
bool contents_zero(uintptr_t start, size_t len);

#endif
