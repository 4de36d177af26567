/* SPDX-License-Identifier: MIT */
/* What is in pages, whatever their protection is. Takes no lock. */
#ifndef MEMORY_CONTENTS_H
#define MEMORY_CONTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes zeroes to whole pages of private memory through /proc/self/mem, as a debugger does. False: it can't be had. */
bool contents_zero(uintptr_t start, size_t len);
/* Gives private anonymous memory other pages with the same contents: what else holds the old ones keeps them to itself.
 * False: that can't be had, it is as it was. */
bool contents_renew(uintptr_t start, size_t len);

/* The program has set a filter, which may not know the calls that this takes: nothing can be had from here on. */
void contents_give_up(void);

#endif
