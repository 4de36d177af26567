/* SPDX-License-Identifier: MIT */
/* 1 to 64 threads at once: lookups all over the heap, and registrations of mappings of their own. */
#ifndef BENCH_SCALE_CROWD_H
#define BENCH_SCALE_CROWD_H

#include <stdint.h>

/* chunks[0..nr) of 1 GiB are registered. */
void crowd_run(const uint64_t *chunks, unsigned nr);

#endif
