/* SPDX-License-Identifier: MIT */
/*
 * What a preload may slow down beside the allocator. Each work is done by a process of its own, plain and with the shim in
 * turns; a figure is the processor time, user and system, of the work and of what it starts (not of its own process's start).
 * BENCH_SHIM names the shim, BENCH_PLUGIN a library in C++ that throws. `preload WORK [TIMES]` does one of them, for a profile.
 *
 * What misses its goal, and why, in counts (glibc 2.36, Linux 6.18, virtual machine where a fresh page costs 1.7 us, whether it is
 * brought in by a fault or by MADV_POPULATE_WRITE):
 * - Start (fork_exec, posix_spawn, shell_ls): 140 page faults and 378,000 instructions for `true`, 52 and 128,000 without a
 *   preload, 58 and 138,000 with an empty library, 176 faults with Debian's libjemalloc.so.2. Of the 88 more, 23 are jemalloc's
 *   records of its first arena (every page of it is written), 23 zeroed variables, 16 code and constants, 9 relocated data, of which
 *   jemalloc's table of names is half; 30 system calls are 15 us. Linking jemalloc's objects in another order saved one fault.
 *   1.10 would leave room for 15.
 * - fork: 26 faults each, 20 plain. With no handler of the shim at all it is 1.3 to 1.4 times plain, for the page tables that
 *   the kernel copies: 1.05 is out of reach for any allocator of this size (jemalloc's preload: 1.4 to 2.2). In a program of threads
 *   73 for 32: jemalloc takes and resets the locks of its arena, which lie in 22 pages (Debian's jemalloc: 67); how many arenas there
 *   could be plays no part, since few are ever made.
 * - mremap: 4,400 instructions a call more, no system call: what the pages were has to be known where they arrive.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MIB ((size_t)1 << 20)
extern char **environ;

/* --- works ---------------------------------------------------------------------------------------------------------- */

static void throw_exceptions(unsigned times)
{
    void *plugin = dlopen(getenv("BENCH_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
    int (*throws)(void) = plugin ? (int (*)(void))dlsym(plugin, "unwinds_throw") : NULL;
    bench_require(throws != NULL, "BENCH_PLUGIN can't be opened");
    while (times--)
        bench_require(throws() == 20, "an exception was lost");
}

static void open_libraries(unsigned times)
{
    while (times--) {
        void *plugin = dlopen(getenv("BENCH_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
        bench_require(plugin && dlclose(plugin) == 0, "BENCH_PLUGIN can't be opened");
    }
}

static void wait_for(pid_t pid)
{
    int status;
    bench_require(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child failed");
}

static void fork_children(unsigned times)
{
    while (times--) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        wait_for(pid);
    }
}

static void fork_programs(unsigned times)
{
    while (times--) {
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", NULL);
            _exit(127);
        }
        wait_for(pid);
    }
}

static void spawn_programs(unsigned times)
{
    static char *words[] = {"true", NULL};
    while (times--) {
        pid_t pid = 0;
        bench_require(posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) == 0, "posix_spawn");
        wait_for(pid);
    }
}

static void run_shell(unsigned times)
{
    char command[128];
    snprintf(command, sizeof(command), "i=0; while [ $i -lt %u ]; do ls / >/dev/null; i=$((i + 1)); done",
             times);
    bench_require(system(command) == 0, "the shell failed");
}

static void *return_at_once(void *arg)
{
    return arg;
}

static void run_threads(unsigned times)
{
    while (times--) {
        pthread_t thread;
        bench_require(pthread_create(&thread, NULL, return_at_once, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
}

static void *allocate(void *arg)
{
    free(malloc(100));
    return arg;
}

static void run_threads_that_allocate(unsigned times)
{
    while (times--) {
        pthread_t thread;
        bench_require(pthread_create(&thread, NULL, allocate, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
}

static char *map_touched(size_t len)
{
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_require(memory != MAP_FAILED, "mmap");
    memset(memory, 1, len);
    return memory;
}

static void lock_memory(unsigned times)
{
    const size_t len = 64 << 10;
    char *memory = map_touched(4 * len);
    while (times--)
        bench_require(mlock(memory + len, len) == 0 && munlock(memory + len, len) == 0, "mlock");
}

static void hear(int number)
{
    (void)number;
}

/* Pages are exchanged, as by a compacting collector; and a mapping moves as it grows. */
static void move_memory(unsigned times)
{
    const size_t page = 4096, len = 64 * page;
    signal(SIGUSR1, hear);
    char *pages = map_touched(len), *spare = map_touched(page);
    for (unsigned i = 0; i < times; i++) {
        char *one = pages + i % 63 * page, *other = one + page;
        bench_require(mremap(one, page, page, MREMAP_FIXED | MREMAP_MAYMOVE, spare) == spare &&
                          mremap(other, page, page, MREMAP_FIXED | MREMAP_MAYMOVE, one) == one &&
                          mremap(spare, page, page, MREMAP_FIXED | MREMAP_MAYMOVE, other) == other,
                      "mremap");
    }
}

static void grow_mapping(unsigned times)
{
    const size_t page = 4096;
    signal(SIGUSR1, hear);
    char *memory = map_touched(page);
    while (times--)
        for (size_t len = 1; len < 256; len *= 2) {
            memory = mremap(memory, len * page, 2 * len * page, MREMAP_MAYMOVE);
            bench_require(memory != MAP_FAILED, "mremap");
            if (2 * len == 256) {
                memory = mremap(memory, 256 * page, page, MREMAP_MAYMOVE);
                bench_require(memory != MAP_FAILED, "mremap");
            }
        }
}

static void grow_block(unsigned times)
{
    while (times--) {
        char *block = NULL;
        for (size_t len = 0; len < 1024 * MIB; len += MIB) {
            block = realloc(block, len + MIB);
            bench_require(block != NULL, "realloc");
            memset(block + len, 1, MIB);
        }
        free(block);
    }
}

static void grow_between(unsigned times)
{
    while (times--) {
        char *blocks[4] = {NULL};
        for (size_t len = 0; len < 128 * MIB; len += MIB)
            for (unsigned i = 0; i < 4; i++) {
                blocks[i] = realloc(blocks[i], len + MIB);
                bench_require(blocks[i] != NULL, "realloc");
                memset(blocks[i] + len, 1, MIB);
            }
        for (unsigned i = 0; i < 4; i++)
            free(blocks[i]);
    }
}

static const struct work {
    const char *name;
    void (*run)(unsigned times);
    unsigned times;
    double goal;
} works[] = {
    {"exceptions", throw_exceptions, 2000, 1.05},
    {"dlopen", open_libraries, 100, 1.05},
    {"fork", fork_children, 200, 1.05},
    {"thread", run_threads, 1000, 1.05},
    {"thread_malloc", run_threads_that_allocate, 1000, 1.05},
    {"mlock", lock_memory, 3000, 1.05},
    {"mremap_pages", move_memory, 3000, 1.05},
    {"mremap_grows", grow_mapping, 300, 1.05},
    {"realloc_1g", grow_block, 1, 1.05},
    {"realloc_4_blocks", grow_between, 1, 1.05},
    {"fork_exec", fork_programs, 50, 1.1},
    {"posix_spawn", spawn_programs, 50, 1.1},
    {"shell_ls", run_shell, 50, 1.1},
};
enum { NR_WORKS = sizeof(works) / sizeof(*works), ROUNDS = 11 };

/* --- one process for each ---------------------------------------------------------------------------------------------- */

static double used_ms(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static int do_work(const char *name, const char *times)
{
    for (unsigned i = 0; i < NR_WORKS; i++) {
        if (strcmp(works[i].name, name) != 0)
            continue;
        double began = used_ms(RUSAGE_SELF) + used_ms(RUSAGE_CHILDREN);
        works[i].run(times ? (unsigned)atoi(times) : works[i].times);
        printf("%.6f\n", used_ms(RUSAGE_SELF) + used_ms(RUSAGE_CHILDREN) - began);
        return 0;
    }
    fprintf(stderr, "preload: there is no work %s\n", name);
    return 1;
}

static double run_once(const char *self, const struct work *work, const char *preload)
{
    char command[4096];
    double took = 0;
    snprintf(command, sizeof(command), "exec env LD_PRELOAD=%s %s %s", preload, self, work->name);
    FILE *output = popen(command, "r");
    bench_require(output && fscanf(output, "%lf", &took) == 1 && pclose(output) == 0, work->name);
    return took;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return do_work(argv[1], argv[2]);
    bench_require(getenv("BENCH_SHIM") && getenv("BENCH_PLUGIN"), "BENCH_SHIM or BENCH_PLUGIN is not set");
    for (unsigned i = 0; i < NR_WORKS; i++) {
        struct samples plain = {.name = "plain"}, under = {.name = "shim"};
        char name[64];
        for (unsigned round = 0; round < ROUNDS; round++) {
            bench_add(&plain, run_once(argv[0], &works[i], ""));
            bench_add(&under, run_once(argv[0], &works[i], getenv("BENCH_SHIM")));
        }
        snprintf(name, sizeof(name), "preload_%s", works[i].name);
        bench_emit(&(struct figure){.bench = name,
                                    .value = bench_median(&under),
                                    .unit = "ms cpu",
                                    .ref = "plain",
                                    .ref_value = bench_median(&plain),
                                    .goal = works[i].goal,
                                    .spread = bench_spread(&under)});
    }
    return 0;
}
