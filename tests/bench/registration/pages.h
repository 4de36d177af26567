/* SPDX-License-Identifier: MIT */
/* Memory for the benchmarks of registration, in a known state, and how much of it is huge pages. */
#ifndef BENCH_REGISTRATION_PAGES_H
#define BENCH_REGISTRATION_PAGES_H

#include <stddef.h>
#include <stdint.h>

enum pages {
    PAGES_FRESH,   /* never touched */
    PAGES_TOUCHED, /* as the kernel gives them when they are written to */
    PAGES_HUGE,    /* touched, and collapsed */
    NR_PAGES_KINDS
};
extern const char *const pages_names[NR_PAGES_KINDS];

/* Brings fresh memory into that state, by calls that the shim does not see. */
void pages_bring(uint64_t va, size_t len, enum pages kind);
/* How many bytes of the range are mapped by huge pages; UINT64_MAX where the kernel (before 6.7) can't say.
 */
uint64_t pages_count_huge(uint64_t va, size_t len);

#endif
