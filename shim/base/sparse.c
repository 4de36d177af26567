/* SPDX-License-Identifier: MIT */
/* A list that only grows. */
#include "base/sparse.h"

#include <stdatomic.h>

#include "base/os.h"

enum { MOST = 256 };

/* `end` is 0 until it is noted. */
static struct {
    uintptr_t start;
    _Atomic uintptr_t end;
} noted[MOST];
static _Atomic unsigned nr_noted;

void sparse_note(const void *start, size_t len)
{
    uintptr_t end = ((uintptr_t)start + len) & ~(OS_PAGE_SIZE - 1);
    if (end <= os_page_up((uintptr_t)start) || atomic_load(&nr_noted) >= MOST)
        return;
    unsigned n = atomic_fetch_add(&nr_noted, 1);
    if (n >= MOST)
        return;
    noted[n].start = os_page_up((uintptr_t)start);
    atomic_store_explicit(&noted[n].end, end, memory_order_release);
}

struct sparse sparse_above(uintptr_t addr)
{
    struct sparse lowest = {UINTPTR_MAX, UINTPTR_MAX};
    for (unsigned i = 0; i < MOST && i < atomic_load(&nr_noted); i++) {
        uintptr_t end = atomic_load_explicit(&noted[i].end, memory_order_acquire);
        if (end > addr && end < lowest.end)
            lowest = (struct sparse){noted[i].start, end};
    }
    return lowest;
}
