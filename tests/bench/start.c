/* SPDX-License-Identifier: MIT */
/*
 * What the shim costs a program that does next to nothing: start-up and end of small programs, their resident
 * size, and the end of one that holds memory in eager mode. BENCH_SHIM names the shim. Differences are put
 * beside what is allowed: a ratio of 1 uses all of it up.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ROUNDS = 151, MEMORY_ROUNDS = 15, EXIT_ROUNDS = 21, EXIT_MIB = 256 };
#define ALLOWED_MS 1.0
#define ALLOWED_MIB 3.0

/* One kind of environment to start a program in. */
struct way {
    const char *name;
    int has_shim;
    const char *settings[3];
};
static const struct way plain = {.name = "plain"};
static const struct way shim = {.name = "shim", .has_shim = 1};
static const struct way lazy = {"lazy", 1, {"ANYDMA_IOMMU=sim", "ANYDMA_MODE=lazy"}};
static const struct way eager = {"eager", 1, {"ANYDMA_IOMMU=sim", "ANYDMA_MODE=eager"}};

static char *const run_true[] = {"true", NULL};
static char *const run_python[] = {"python3", "-c", "pass", NULL};
static char *const show_grep[] = {"grep", "^VmRSS", "/proc/self/status", NULL};
static char *const show_python[] = {"python3", "-c", "print(open('/proc/self/status').read())", NULL};

/* The child of a fork: `out` becomes its standard output. */
static void become(const struct way *way, char *const *words, int out)
{
    dup2(out, 1);
    if (way->has_shim)
        setenv("LD_PRELOAD", getenv("BENCH_SHIM"), 1);
    for (unsigned i = 0; i < 3 && way->settings[i]; i++)
        putenv((char *)way->settings[i]);
    execvp(words[0], words);
    _exit(127);
}

static pid_t begin(const struct way *way, char *const *words, int out)
{
    pid_t pid = fork();
    if (pid == 0)
        become(way, words, out);
    bench_require(pid > 0, "fork");
    return pid;
}

static void finish(pid_t pid)
{
    int status;
    bench_require(waitpid(pid, &status, 0) == pid && status == 0, "a program failed");
}

/* Milliseconds from before its fork to after its end. */
static double time_run(const struct way *way, char *const *words)
{
    static int null = -1;
    if (null < 0)
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    uint64_t began = bench_now_ns();
    finish(begin(way, words, null));
    return (double)(bench_now_ns() - began) / 1e6;
}

/* All that it writes, as text. */
static void read_output(const struct way *way, char *const *words, char *text, size_t size)
{
    int ends[2];
    size_t len = 0;
    ssize_t n;
    bench_require(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    pid_t pid = begin(way, words, ends[1]);
    close(ends[1]);
    while (len < size - 1 && (n = read(ends[0], text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(ends[0]);
    finish(pid);
}

/* MiB resident, as a program finds in its own status. */
static double resident(const struct way *way, char *const *words)
{
    char text[8192];
    read_output(way, words, text, sizeof(text));
    const char *line = strstr(text, "VmRSS:");
    bench_require(line != NULL, "no VmRSS");
    return atof(line + 6) / 1024;
}

/* Milliseconds from the last statement of main() to the end of the process, with memory held. */
static double time_exit(const struct way *way, char *const *words)
{
    char text[64];
    read_output(way, words, text, sizeof(text));
    return (double)(bench_now_ns() - strtoull(text, NULL, 10)) / 1e6;
}

static int hold_and_end(void)
{
    for (unsigned i = 0; i < EXIT_MIB; i++) {
        char *block = malloc(1 << 20);
        bench_require(block != NULL, "malloc");
        memset(block, 1, 1 << 20);
    }
    printf("%llu", (unsigned long long)bench_now_ns());
    fflush(stdout);
    return 0;
}

static void emit(const char *name, const char *unit, const struct samples *value, const struct samples *ref,
                 double goal)
{
    bench_emit(&(struct figure){.bench = name,
                                .value = bench_median(value),
                                .unit = unit,
                                .ref = ref->name,
                                .ref_value = bench_median(ref),
                                .goal = goal,
                                .spread = bench_spread(value)});
}

static void compare(const char *what, const char *unit, char *const *words, unsigned rounds,
                    const struct way *const pair[2], double (*measure)(const struct way *, char *const *),
                    double allowed)
{
    struct samples value = {0}, ref = {.name = pair[1]->name}, more = {0};
    char name[64];
    for (unsigned i = 0; i < rounds; i++) {
        bench_add(&value, measure(pair[0], words));
        bench_add(&ref, measure(pair[1], words));
        bench_add(&more, value.value[i] - ref.value[i]);
    }
    snprintf(name, sizeof(name), "start_%s", what);
    emit(name, unit, &value, &ref, 0);
    if (!allowed)
        return;
    struct samples limit = {.name = "allowed"};
    bench_add(&limit, allowed);
    snprintf(name, sizeof(name), "start_%s_more", what);
    emit(name, unit, &more, &limit, 1);
}

int main(int argc, char **argv)
{
    const struct way *const with_shim[] = {&shim, &plain}, *const with_eager[] = {&eager, &lazy};
    char *hold[] = {argv[0], "hold", NULL};
    if (argc > 1)
        return hold_and_end();
    bench_require(getenv("BENCH_SHIM") != NULL, "BENCH_SHIM is not set");
    bench_pin(0);
    compare("true", "ms", run_true, ROUNDS, with_shim, time_run, ALLOWED_MS);
    compare("python", "ms", run_python, ROUNDS, with_shim, time_run, ALLOWED_MS);
    compare("grep_resident", "MiB", show_grep, MEMORY_ROUNDS, with_shim, resident, ALLOWED_MIB);
    compare("python_resident", "MiB", show_python, MEMORY_ROUNDS, with_shim, resident, 0);
    compare("python_eager", "ms", run_python, MEMORY_ROUNDS, with_eager, time_run, 0);
    compare("exit_256m_eager", "ms", hold, EXIT_ROUNDS, with_eager, time_exit, 0);
    return 0;
}
