/* SPDX-License-Identifier: MIT */
/*
 * A program that ends while its threads go on: main returns, the shim's destructor runs, and what they map
 * and unmap is still registered and unregistered.
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 */
#include "expect.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR_THREADS = 4, NR_RUNS = 200, MAP_BYTES = 64 << 10 };

extern char **environ;
static _Atomic int nr_at_work;

static void *go_on(void *arg)
{
    for (unsigned i = 0;; i++) {
        char *memory = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED)
            munmap(memory, MAP_BYTES);
        if (i == 1)
            nr_at_work++;
    }
    return arg;
}

static int end_at_work(void)
{
    pthread_t thread;
    for (int i = 0; i < NR_THREADS; i++)
        pthread_create(&thread, NULL, go_on, NULL);
    while (nr_at_work < NR_THREADS)
        sched_yield();
    return 0;
}

static void threads_may_go_on_while_the_program_ends(void)
{
    char *words[] = {"/proc/self/exe", "work", NULL};
    for (int i = 0; i < NR_RUNS && !expect_failed; i++) {
        pid_t pid;
        int status = -1;
        EXPECT(posix_spawn(&pid, words[0], NULL, NULL, words, environ) == 0);
        waitpid(pid, &status, 0);
        EXPECT(status == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return end_at_work();
    shim_must_be_there();
    behaviour("threads_may_go_on_while_the_program_ends", threads_may_go_on_while_the_program_ends);
    return behaviours_end();
}
