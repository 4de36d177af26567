/* SPDX-License-Identifier: MIT */
/*
 * How long the ways to start a child keep a program that has 1 GiB pinned: beside the same program without the shim, which has 1 GiB
 * touched. Wall time of the call and of the child's end, and page faults of both, which no neighbour of the machine's changes.
 * children ROUNDS, with BENCH_SHIM.
 */
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "anydma.h"
#include "bench.h"
#include "registration/pinner.h"

#define LEN ((size_t)1 << 30)

extern char **environ;
static char *const words[] = {"true", NULL};

/* --- ways ----------------------------------------------------------------------------------------------------------- */

static void by_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        execv("/bin/true", words);
    bench_require(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
}

static void by_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execv("/bin/true", words);
        _exit(1);
    }
    bench_require(pid > 0 && waitpid(pid, NULL, 0) == pid, "vfork");
}

static void by_posix_spawn(void)
{
    pid_t pid;
    bench_require(posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) == 0, "posix_spawn");
    waitpid(pid, NULL, 0);
}

static void by_system(void)
{
    bench_require(system("exec true") == 0, "system");
}

static void by_popen(void)
{
    FILE *out = popen("exec true", "r");
    bench_require(out && pclose(out) == 0, "popen");
}

static const struct {
    const char *name;
    void (*start)(void);
    unsigned times;
    double goal;
} ways[] = {{"fork", by_fork, 2, 0},
            {"vfork", by_vfork, 40, 1.1},
            {"posix_spawn", by_posix_spawn, 40, 1.1},
            {"system", by_system, 40, 1.1},
            {"popen", by_popen, 40, 1.1}};

enum { NR_WAYS = sizeof(ways) / sizeof(ways[0]) };

/* --- the program ---------------------------------------------------------------------------------------------------- */

static long faults(void)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return own.ru_minflt + children.ru_minflt;
}

/* Two numbers for each way: nanoseconds and page faults, the least of some. What it starts is the same with the shim and without: no
 * preload. */
static int be_the_program(bool pins)
{
    char *memory = aligned_alloc((size_t)2 << 20, LEN);
    uint64_t iova;
    madvise(memory, LEN, MADV_HUGEPAGE);
    memset(memory, 1, LEN);
    unsetenv("LD_PRELOAD");
    if (pins)
        pinner_open(NULL); /* or the simulated device pins nothing */
    bench_require(!pins || anydma_iova_range(memory, LEN, &iova) == 0, "the lookup");
    for (unsigned way = 0; way < NR_WAYS; way++) {
        uint64_t least = UINT64_MAX;
        long fewest = LONG_MAX;
        for (unsigned i = 0; i < ways[way].times; i++) {
            long before = faults(), nr;
            uint64_t began = bench_now_ns(), took;
            ways[way].start();
            took = bench_now_ns() - began;
            nr = faults() - before;
            least = took < least ? took : least;
            fewest = nr < fewest ? nr : fewest;
        }
        printf("%lu %ld\n", (unsigned long)least, fewest);
    }
    return 0;
}

struct seen {
    struct samples ms, faults;
};

static void run(bool pins, struct seen *seen)
{
    char command[256];
    snprintf(command, sizeof(command), "%s /proc/%d/exe %s",
             pins ? "LD_PRELOAD=$BENCH_SHIM ANYDMA_IOMMU=sim" : "", (int)getpid(), pins ? "pins" : "plain");
    FILE *out = popen(command, "r");
    for (unsigned way = 0; way < NR_WAYS; way++) {
        unsigned long ns = 0;
        long nr = 0;
        bench_require(out && fscanf(out, "%lu %ld", &ns, &nr) == 2, "a run");
        bench_add(&seen[way].ms, (double)ns / 1e6);
        bench_add(&seen[way].faults, (double)nr);
    }
    bench_require(pclose(out) == 0, "a run");
}

static void emit(const char *name, const char *what, const char *unit, const struct samples *pinned,
                 const struct samples *plain, double goal)
{
    char bench[64];
    snprintf(bench, sizeof(bench), "children_%s%s", name, what);
    bench_emit(&(struct figure){bench, bench_median(pinned), unit, "plain", bench_median(plain), goal,
                                bench_spread(pinned)});
}

int main(int argc, char **argv)
{
    static struct seen pinned[NR_WAYS], plain[NR_WAYS];
    if (argc > 1 && argv[1][0] == 'p')
        return be_the_program(strcmp(argv[1], "pins") == 0);
    for (int round = 0; round < (argc > 1 ? atoi(argv[1]) : 3); round++) {
        run(round % 2, round % 2 ? pinned : plain);
        run(!(round % 2), round % 2 ? plain : pinned);
    }
    for (unsigned way = 0; way < NR_WAYS; way++) {
        emit(ways[way].name, "", "ms", &pinned[way].ms, &plain[way].ms, ways[way].goal);
        emit(ways[way].name, "_faults", "page faults", &pinned[way].faults, &plain[way].faults,
             ways[way].goal);
    }
    return 0;
}
