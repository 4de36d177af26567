/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers that map, unmap, purge and look up, in a storm, while all threads do the same and allocate:
 * nothing hangs (an alarm ends the program if it does), and every lookup of live memory is answered.
 * @limit 120
 */
#include "expect.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NR_THREADS = 4, NR_HANDLED = 1500, LIMIT_SECONDS = 100, MAX_PAGES = 40, PAGE = 4096 };

static atomic_uint handled, refused, failed, rounds;
static atomic_bool stop;
static char *kept;

/* Takes and gives back a mapping by every door. Async-signal safe, as the doors are. */
static void map_and_unmap(unsigned n)
{
    size_t bytes = (1 + n % MAX_PAGES) * PAGE;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        atomic_fetch_add(&failed, 1);
        return;
    }
    at[bytes - 1] = 1;
    if (anydma_iova(at) == ANYDMA_BAD_IOVA || anydma_iova(at + bytes - 1) == ANYDMA_BAD_IOVA)
        atomic_fetch_add(&refused, 1);
    if (n % 3 == 0)
        madvise(at, bytes, MADV_DONTNEED);
    if (n % 5 == 0)
        mprotect(at, PAGE, PROT_READ);
    if (n % 7 == 0) {
        char *moved = mremap(at, bytes, bytes + 8 * PAGE, MREMAP_MAYMOVE);
        if (moved != MAP_FAILED) {
            at = moved;
            bytes += 8 * PAGE;
        }
    }
    if (n % 11 == 0)
        mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (munmap(at, bytes) != 0)
        atomic_fetch_add(&failed, 1);
}

static void on_signal(int number)
{
    int saved = errno;
    unsigned n = atomic_fetch_add(&handled, 1);
    map_and_unmap(n);
    if (anydma_iova(kept) == ANYDMA_BAD_IOVA || anydma_addr((uintptr_t)kept) != kept)
        atomic_fetch_add(&refused, 1);
    errno = saved;
}

/* A timer of its own for each thread, as dense as it can bear. */
static void start_storm(timer_t *timer)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    struct itimerspec often = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, timer) != 0 || timer_settime(*timer, 0, &often, NULL) != 0)
        atomic_fetch_add(&failed, 1);
}

static void *work_in_the_storm(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    timer_t timer;
    start_storm(&timer);
    while (!atomic_load(&stop)) {
        size_t bytes = (size_t)(rand_r(&seed) % 300000) + 1;
        char *block = malloc(bytes);
        block[bytes - 1] = 2;
        if (anydma_iova(block + bytes - 1) == ANYDMA_BAD_IOVA)
            atomic_fetch_add(&refused, 1);
        block = realloc(block, bytes * 2);
        if (block[bytes - 1] != 2)
            atomic_fetch_add(&failed, 1);
        free(block);
        map_and_unmap((unsigned)rand_r(&seed));
        atomic_fetch_add(&rounds, 1);
    }
    timer_delete(timer);
    return NULL;
}

static void storm(void)
{
    pthread_t threads[NR_THREADS];
    const struct timespec moment = {.tv_nsec = 10000000};
    for (uintptr_t i = 0; i < NR_THREADS; i++)
        pthread_create(&threads[i], NULL, work_in_the_storm, (void *)(i + 1));
    while (atomic_load(&handled) < NR_HANDLED || atomic_load(&rounds) < NR_HANDLED)
        nanosleep(&moment, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < NR_THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(failed == 0);
    if (!EXPECT(refused == 0))
        fprintf(stderr, "%u lookups refused\n", refused);
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    shim_must_be_there();
    kept = malloc(5000);
    anydma_iova(kept);
    alarm(LIMIT_SECONDS);
    sigaction(SIGUSR1, &action, NULL);
    behaviour("handlers_and_threads_share_the_doors", storm);
    return behaviours_end();
}
