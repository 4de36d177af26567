/* SPDX-License-Identifier: MIT */
/* What every benchmark shares: a clock, a pinned CPU, samples and their median, and one line of JSON a
 * figure. Samples of a figure and of its reference are taken in turns, so that a noisy moment falls on both.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { BENCH_MAX_SAMPLES = 1024 };

struct samples {
    const char *name;
    unsigned nr;
    double value[BENCH_MAX_SAMPLES];
};

static inline uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Keeps the calling thread on that CPU (modulo how many there are). */
void bench_pin(unsigned cpu);
/* Ends the program with a message. */
void bench_fail(const char *what) __attribute__((noreturn, cold));

static inline void bench_require(int is_so, const char *what)
{
    if (!is_so)
        bench_fail(what);
}

void bench_add(struct samples *samples, double value);
double bench_median(const struct samples *samples);
double bench_least(const struct samples *samples);
/* The middle half's width over the median. */
double bench_spread(const struct samples *samples);

/* One figure beside its reference. */
struct figure {
    const char *bench;
    double value;
    const char *unit;
    const char *ref; /* NULL: no reference */
    double ref_value;
    double goal; /* the largest ratio that is good enough; 0: none */
    double spread;
};

/* Appends it to the file that BENCH_JSONL names, or to stdout. */
void bench_emit(const struct figure *figure);

#endif
