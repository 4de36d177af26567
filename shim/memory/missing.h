/* SPDX-License-Identifier: MIT */
/* Memory of the arena whose missing pages the program fills itself, by a userfaultfd of its own. */
#ifndef MEMORY_MISSING_H
#define MEMORY_MISSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins the program's watch of the range by `watch`, which can end it, too. If that succeeds, the memory is not registered for
 * devices from then on, and what the program has not written is missing; but what was looked up stays as it is. Returns what
 * `watch` does: 0 or -errno. */
int missing_watch(uintptr_t start, size_t len, int (*watch)(void *arg, bool begins), void *arg);

#endif
