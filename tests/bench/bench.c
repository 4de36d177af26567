/* SPDX-License-Identifier: MIT */
/* Samples, medians and the lines of build/bench.jsonl. Linked into every benchmark. */
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bench_pin(unsigned cpu)
{
    cpu_set_t set;
    long nr = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&set);
    CPU_SET(cpu % (unsigned)(nr > 0 ? nr : 1), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s (%s)\n", what, strerror(errno));
    exit(1);
}

void bench_add(struct samples *samples, double value)
{
    if (samples->nr < BENCH_MAX_SAMPLES)
        samples->value[samples->nr++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value that `part` of the samples are below. */
static double quantile(const struct samples *samples, double part)
{
    double sorted[BENCH_MAX_SAMPLES];
    if (!samples->nr)
        return 0;
    memcpy(sorted, samples->value, samples->nr * sizeof(*sorted));
    qsort(sorted, samples->nr, sizeof(*sorted), compare);
    return sorted[(unsigned)(part * (samples->nr - 1) + 0.5)];
}

double bench_median(const struct samples *samples)
{
    return quantile(samples, 0.5);
}

double bench_least(const struct samples *samples)
{
    return quantile(samples, 0);
}

double bench_spread(const struct samples *samples)
{
    double median = bench_median(samples);
    return median > 0 ? (quantile(samples, 0.75) - quantile(samples, 0.25)) / median : 0;
}

static void put_number(FILE *out, const char *key, double value, int is_known)
{
    if (is_known)
        fprintf(out, ",\"%s\":%.6g", key, value);
    else
        fprintf(out, ",\"%s\":null", key);
}

void bench_emit(const struct figure *f)
{
    const char *path = getenv("BENCH_JSONL");
    FILE *out = path ? fopen(path, "a") : stdout;
    bench_require(out != NULL, "can't append to the file that BENCH_JSONL names");
    fprintf(out, "{\"bench\":\"%s\"", f->bench);
    put_number(out, "value", f->value, 1);
    fprintf(out, ",\"unit\":\"%s\"", f->unit);
    if (f->ref)
        fprintf(out, ",\"ref\":\"%s\"", f->ref);
    else
        fprintf(out, ",\"ref\":null");
    put_number(out, "ref_value", f->ref_value, f->ref != NULL);
    put_number(out, "ratio", f->ref_value ? f->value / f->ref_value : 0, f->ref && f->ref_value > 0);
    put_number(out, "goal", f->goal, f->goal > 0);
    put_number(out, "spread", f->spread, 1);
    fprintf(out, "}\n");
    if (out != stdout)
        fclose(out);
}
