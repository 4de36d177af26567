/* SPDX-License-Identifier: MIT */
/*
 * Times whole programs under one allocator after the other, round by round: versus ROUNDS < list
 * Each line of the list: a name, whether it obeys BENCH_LOOKUP (1 or 0), and the command. BENCH_SHIM names
 * the shim. A figure is processor time, user and system, of the command and its children, the median of the
 * rounds.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ANYDMA, GLIBC, JEMALLOC, MIMALLOC, TCMALLOC, EAGER, LAZY, NR_WAYS, MAX_WORDS = 64 };

static struct way {
    const char *name;
    const char *preload; /* NULL: the shim */
    const char *settings[4];
    double goal;      /* of anydma beside it; of it beside anydma, for the last two */
    double mean_goal; /* of all workloads' geometric mean */
    double log_sum;
    unsigned nr;
} ways[NR_WAYS] = {
    [ANYDMA] = {.name = "anydma"},
    /* Named: Debian's redis-server is linked with jemalloc, and binds its malloc to the C library when that is preloaded. */
    [GLIBC] = {.name = "glibc", .preload = "libc.so.6", .goal = 1.05, .mean_goal = 0.8},
    [JEMALLOC] = {.name = "jemalloc", .preload = "libjemalloc.so.2", .goal = 1.05, .mean_goal = 1},
    [MIMALLOC] = {.name = "mimalloc", .preload = "libmimalloc.so.2", .mean_goal = 1.15},
    [TCMALLOC] = {.name = "tcmalloc", .preload = "libtcmalloc_minimal.so.4", .mean_goal = 1.15},
    [EAGER] = {.name = "eager",
               .settings = {"ANYDMA_IOMMU=sim", "ANYDMA_MODE=eager"},
               .goal = 1.05,
               .mean_goal = 1.05},
    [LAZY] = {.name = "lazy",
              .settings = {"ANYDMA_IOMMU=sim", "ANYDMA_MODE=lazy", "BENCH_LOOKUP=1"},
              .goal = 1.1,
              .mean_goal = 1.1},
};

static void become(const struct way *way, char *command)
{
    char *words[MAX_WORDS] = {0}, *rest = command;
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    for (unsigned i = 0; i < MAX_WORDS - 1 && (words[i] = strtok_r(rest, " ", &rest)); i++)
        ;
    const char *preload = way->preload ? way->preload : getenv("BENCH_SHIM");
    if (*preload)
        setenv("LD_PRELOAD", preload, 1);
    for (unsigned i = 0; i < 4 && way->settings[i]; i++)
        putenv((char *)way->settings[i]);
    execvp(words[0], words);
    _exit(127);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double run_once(const struct way *way, const char *command)
{
    char copy[1024];
    struct rusage usage;
    int status;
    snprintf(copy, sizeof(copy), "%s", command);
    pid_t pid = fork();
    if (pid == 0)
        become(way, copy);
    bench_require(pid > 0 && wait4(pid, &status, 0, &usage) == pid, "fork");
    if (status != 0)
        fprintf(stderr, "versus: under %s, status %d: %s\n", way->name, status, command);
    bench_require(status == 0, "a workload failed");
    return (seconds(usage.ru_utime) + seconds(usage.ru_stime)) * 1000;
}

static void emit(const char *bench, const struct samples *value, const char *ref, double ref_value,
                 double goal)
{
    char name[128];
    snprintf(name, sizeof(name), "malloc_%s", bench);
    bench_emit(&(struct figure){.bench = name,
                                .value = bench_median(value),
                                .unit = "ms cpu",
                                .ref = ref,
                                .ref_value = ref_value,
                                .goal = goal,
                                .spread = bench_spread(value)});
}

static void run_workload(const char *name, int obeys, const char *command, unsigned rounds)
{
    static struct samples samples[NR_WAYS];
    memset(samples, 0, sizeof(samples));
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < NR_WAYS; i++)
            if (i != LAZY || obeys)
                bench_add(&samples[i], run_once(&ways[i], command));
    double own = bench_median(&samples[ANYDMA]);
    for (unsigned i = GLIBC; i < NR_WAYS; i++) {
        char bench[96];
        double other = bench_median(&samples[i]);
        if (!samples[i].nr)
            continue;
        snprintf(bench, sizeof(bench), "%s_%s", name, ways[i].name);
        if (i >= EAGER)
            emit(bench, &samples[i], "no_container", own, ways[i].goal);
        else
            emit(name, &samples[ANYDMA], ways[i].name, other, i == GLIBC ? ways[i].goal : 0);
        ways[i].log_sum += i >= EAGER ? log(other / own) : log(own / other);
        ways[i].nr++;
    }
}

static void emit_means(void)
{
    for (unsigned i = GLIBC; i < NR_WAYS; i++) {
        char name[64];
        snprintf(name, sizeof(name), "malloc_geomean%s%s", i >= EAGER ? "_" : "",
                 i >= EAGER ? ways[i].name : "");
        bench_emit(&(struct figure){.bench = name,
                                    .value = exp(ways[i].log_sum / (ways[i].nr ? ways[i].nr : 1)),
                                    .unit = "ratio",
                                    .ref = i >= EAGER ? "no_container" : ways[i].name,
                                    .ref_value = 1,
                                    .goal = ways[i].mean_goal});
    }
}

int main(int argc, char **argv)
{
    char line[1024], name[64];
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    int obeys, at;
    bench_require(getenv("BENCH_SHIM") != NULL, "BENCH_SHIM is not set");
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%63s %d %n", name, &obeys, &at) == 2)
            run_workload(name, obeys, line + at, rounds);
    }
    emit_means();
    return 0;
}
