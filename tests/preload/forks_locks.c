/* SPDX-License-Identifier: MIT */
/*
 * fork takes the C library's locks, the heap's and the shim's. The order is the one that a program without the
 * shim sees: the locks of stdio, under which getline and fopen allocate, before the heap's; and in a program of one
 * thread, which may fork in a signal handler that has interrupted malloc, none of the heap's.
 */
#include "expect.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR_ROUNDS = 20, NR_SIGNALS = 200, MIB = 1 << 20 };

/* The lock of stdio's list of open files. */
extern void _IO_list_lock(void);
extern void _IO_list_unlock(void);

static _Atomic int forker; /* the thread that forks; 0: it has not begun */

/* Whether the forking thread waits for a lock: its system call is futex. */
static bool forker_waits(void)
{
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", forker);
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    return len > 0 && atol(text) == SYS_futex;
}

/* As getline does, or fopen, while another thread is inside fork: allocates under stdio's lock. */
static void *allocate_under_stdio_lock(void *gate)
{
    _IO_list_lock();
    pthread_barrier_wait(gate);
    while (!forker || !forker_waits())
        sched_yield();
    for (size_t size = 16; size <= 8 * MIB; size *= 2)
        free(malloc(size));
    _IO_list_unlock();
    return NULL;
}

static int fork_and_wait(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        free(malloc(MIB));
        _exit(7);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_thread_in_stdio_may_allocate_while_another_forks(void)
{
    for (int i = 0; i < NR_ROUNDS; i++) {
        pthread_t thread;
        pthread_barrier_t gate;
        forker = 0;
        pthread_barrier_init(&gate, NULL, 2);
        EXPECT(pthread_create(&thread, NULL, allocate_under_stdio_lock, &gate) == 0);
        pthread_barrier_wait(&gate);
        forker = (int)syscall(SYS_gettid);
        EXPECT(fork_and_wait() == 7);
        pthread_join(thread, NULL);
    }
}

/* What a child inherits is free: it can use every file, and so can its own children. */
static void a_child_has_the_use_of_stdio(void)
{
    pid_t child = fork();
    if (child == 0) {
        FILE *file = tmpfile();
        _exit(file && fputs("written", file) >= 0 && fflush(NULL) == 0 && fork_and_wait() == 7 ? 8 : 1);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 8);
}

static atomic_int nr_forked, nr_wrong;

static void fork_in_handler(int number)
{
    int saved = errno, status;
    pid_t child = fork();
    if (child == 0)
        _exit(9);
    bool is_right = waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 9;
    nr_wrong += !is_right;
    nr_forked++;
    errno = saved;
}

/* Allocates, and is interrupted somewhere, again and again; alone in a process that never had a second thread. */
static void fork_from_handlers(void)
{
    struct sigaction action = {.sa_handler = fork_in_handler};
    sigaction(SIGALRM, &action, NULL);
    for (int round = 0; round < NR_SIGNALS; round++) {
        struct itimerval soon = {{0, 0}, {0, 50 + round * 7 % 500}};
        setitimer(ITIMER_REAL, &soon, NULL);
        while (nr_forked == round) {
            void *kept[64];
            for (int i = 0; i < 64; i++)
                kept[i] = malloc((size_t)14336 << (i % 8));
            for (int i = 0; i < 64; i++)
                free(kept[i]);
        }
    }
    EXPECT(nr_wrong == 0);
}

int main(void)
{
    shim_must_be_there();
    behaviour("a handler that has interrupted malloc may fork", fork_from_handlers);
    behaviour("a thread in stdio may allocate while another forks",
              a_thread_in_stdio_may_allocate_while_another_forks);
    behaviour("a child has the use of stdio", a_child_has_the_use_of_stdio);
    return behaviours_end();
}
