/* SPDX-License-Identifier: MIT */
/*
 * 1 GiB of untouched heap, registered by one lookup over all of it: by every core beside by one, with huge pages and without; and what
 * the memory allows: as many processes that fill it as there are cores, beside one that does. populate ROUNDS, with BENCH_SHIM.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "anydma.h"
#include "bench.h"

#define LEN ((size_t)1 << 30)
#define BLOCK ((size_t)2 << 20)

/* --- what runs preloaded ------------------------------------------------------------------------------------------------ */

static int register_it(void)
{
    uint64_t iova, began;
    bench_require(anydma_active(), "the shim is not preloaded");
    bench_require(anydma_iova(malloc(100)) != ANYDMA_BAD_IOVA,
                  "the first pin"); /* the heap is huge pages from here on */
    void *memory = aligned_alloc(BLOCK, LEN);
    began = bench_now_ns();
    bench_require(anydma_iova_range(memory, LEN, &iova) == 0, "the lookup");
    printf("%lu\n", (unsigned long)(bench_now_ns() - began));
    return 0;
}

/* --- who runs it -------------------------------------------------------------------------------------------------------- */

static double run_ms(const char *threads, const char *thp)
{
    char command[256];
    unsigned long ns = 0;
    snprintf(command, sizeof(command),
             "LD_PRELOAD=$BENCH_SHIM ANYDMA_IOMMU=sim ANYDMA_THREADS=%s ANYDMA_THP=%s /proc/%d/exe", threads,
             thp, (int)getpid());
    FILE *out = popen(command, "r");
    bench_require(out && fscanf(out, "%lu", &ns) == 1 && pclose(out) == 0, "a run");
    return (double)ns / 1e6;
}

/* In turns, and after one that does not count: a host may have taken memory back that lay idle, which costs whoever comes first. */
static void run_both(int round, const char *thp, struct samples *all, struct samples *one)
{
    run_ms("1", thp);
    for (int i = 0; i < 2; i++)
        if ((round + i) % 2)
            bench_add(all, run_ms("auto", thp));
        else
            bench_add(one, run_ms("1", thp));
}

static void emit(const char *what, const struct samples *own, const char *ref, const struct samples *other,
                 double goal)
{
    bench_emit(&(struct figure){what, bench_median(own), "ms/GiB", ref, bench_median(other), goal,
                                bench_spread(own)});
}

/* All of it, divided among so many processes that all have their part already. */
static double fill_ms(char *memory, unsigned nr)
{
    uint64_t began = bench_now_ns();
    for (unsigned i = 0; i < nr; i++)
        if (fork() == 0) {
            memset(memory + LEN / nr * i, 1, LEN / nr);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    return (double)(bench_now_ns() - began) / 1e6;
}

int main(int argc, char **argv)
{
    static struct samples all, one, all_small, one_small, filled, filled_by_one;
    if (argc < 2)
        return register_it();
    unsigned cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    char *shared = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    bench_require(shared != MAP_FAILED, "memory to fill");
    for (int round = 0; round < atoi(argv[1]); round++) {
        run_both(round, "auto", &all, &one);
        run_both(round, "never", &all_small, &one_small);
        bench_add(&filled, fill_ms(shared, cores));
        bench_add(&filled_by_one, fill_ms(shared, 1));
    }
    double allowed = bench_median(&filled) / bench_median(&filled_by_one), goal = 1 / (0.8 * cores);
    goal = goal > allowed ? goal : allowed;
    goal = goal < 1 ? goal : 1;
    emit("populate_huge_pages", &all, "one_thread", &one, goal);
    emit("populate_base_pages", &all_small, "one_thread", &one_small, goal);
    emit("populate_memset_by_processes", &filled, "one_process", &filled_by_one, 0);
    return 0;
}
