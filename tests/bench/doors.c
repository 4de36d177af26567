/* SPDX-License-Identifier: MIT */
/*
 * mmap and munmap of one size, as pairs, through whatever doors this process has, beside the raw system
 * calls: doors NAME [GOAL]     with the shim preloaded (NAME anydma), or linked with UCX's hooks (NAME ucx)
 * The memory is touched in every page, or in none.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "raw.h"

#define MIB ((size_t)1 << 20)
enum { FLAGS = MAP_PRIVATE | MAP_ANONYMOUS, RW = PROT_READ | PROT_WRITE };

static void touch(char *memory, size_t len)
{
    for (size_t at = 0; at < len; at += 4096)
        *(volatile char *)(memory + at) = 1;
}

static double time_pairs(bool is_raw, size_t len, bool touched, unsigned nr)
{
    uint64_t began = bench_now_ns();
    for (unsigned i = 0; i < nr; i++) {
        char *memory = is_raw ? (char *)raw(SYS_mmap, 0, (long)len, RW, FLAGS, -1, 0)
                              : mmap(NULL, len, RW, FLAGS, -1, 0);
        bench_require(memory != MAP_FAILED, "mmap");
        if (touched)
            touch(memory, len);
        if (is_raw)
            raw(SYS_munmap, (long)memory, (long)len, 0, 0, 0, 0);
        else
            munmap(memory, len);
    }
    return (double)(bench_now_ns() - began) / nr;
}

static void run(const char *who, const char *label, size_t len, bool touched, double goal)
{
    struct samples doors = {0}, raws = {0};
    unsigned rounds = touched && len >= 1024 * MIB ? 3 : touched && len >= 2 * MIB ? 61 : 201;
    unsigned nr = touched && len >= 2 * MIB ? 1 : touched ? 20 : 100;
    char name[64];
    time_pairs(false, len, touched && len < 1024 * MIB, nr);
    for (unsigned i = 0; i < rounds; i++) {
        bench_add(&doors, time_pairs(false, len, touched, nr));
        bench_add(&raws, time_pairs(true, len, touched, nr));
    }
    snprintf(name, sizeof(name), "doors_%s_%s_%s", who, label, touched ? "touched" : "untouched");
    bench_emit(&(struct figure){.bench = name,
                                .value = bench_median(&doors),
                                .unit = "ns",
                                .ref = "raw_calls",
                                .ref_value = bench_median(&raws),
                                .goal = goal,
                                .spread = bench_spread(&doors)});
}

int main(int argc, char **argv)
{
    const struct {
        const char *label;
        size_t len;
    } sizes[] = {{"4k", 4096}, {"64k", 65536}, {"2m", 2 * MIB}, {"1g", 1024 * MIB}};
    bench_require(argc > 1, "whose doors?");
    bench_pin(0);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        for (int touched = 0; touched < 2; touched++)
            run(argv[1], sizes[i].label, sizes[i].len, touched, argc > 2 ? atof(argv[2]) : 0);
    return 0;
}
