/* SPDX-License-Identifier: MIT */
/*
 * A signal handler that has interrupted malloc asks for an IOVA, and the capture for the call stack: taking that stack, the
 * thread's first, must not allocate.
 * @env ANYDMA_IOMMU=sim ANYDMA_OUTPUT=/dev/null
 */
#include "expect.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

enum { NR_THREADS = 400 };

static sem_t handled;
static atomic_bool stop;
static atomic_int has_begun, nr_answered;

static void look_up(int number)
{
    int saved = errno;
    nr_answered += anydma_iova((void *)4096) != ANYDMA_BAD_IOVA; /* refused, with a stack in the capture */
    sem_post(&handled);
    errno = saved;
}

static void *allocate(void *unused)
{
    has_begun = 1;
    while (!stop) {
        void *kept[32];
        for (int i = 0; i < 32; i++)
            kept[i] = malloc((size_t)14336 << (i % 4));
        for (int i = 0; i < 32; i++)
            free(kept[i]);
    }
    return NULL;
}

static void a_handlers_first_stack_allocates_nothing(void)
{
    struct sigaction action = {.sa_handler = look_up};
    sem_init(&handled, 0, 0);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < NR_THREADS; i++) {
        pthread_t thread;
        stop = has_begun = 0;
        EXPECT(pthread_create(&thread, NULL, allocate, NULL) == 0);
        while (!has_begun)
            sched_yield();
        for (volatile int spin = i * 97 % 20000; spin > 0; spin--)
            ;
        pthread_kill(thread, SIGUSR1);
        while (sem_wait(&handled) != 0)
            ;
        stop = true;
        pthread_join(thread, NULL);
    }
    EXPECT(nr_answered == 0);
}

int main(void)
{
    shim_must_be_there();
    behaviour("a handler's first stack allocates nothing", a_handlers_first_stack_allocates_nothing);
    return behaviours_end();
}
