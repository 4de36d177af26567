/* SPDX-License-Identifier: MIT */
/* The shim's mutex: exclusion, waking, handlers kept out while it is held, its ranks, and what a fork does to it. Handlers are
 * installed here without the doors: signals are blocked for them, as for those that the doors do not see. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/handlers.h"
#include "base/lock.h"

static struct lock lock = {.rank = LOCK_REGISTRY}, last = {.rank = LOCK_CAPTURE},
                   middle = {.rank = LOCK_ARENA};
/* Put on the list as several files might do it, in no order. */
static struct lock *const listed[] __attribute__((section("anydma_locks"), used)) = {&last, &lock, &middle};
static long shared_count;
static volatile sig_atomic_t nr_signals;

static void *count_up(void *arg)
{
    for (long i = 0; i < (long)arg; i++) {
        lock_take(&lock);
        shared_count++;
        lock_release(&lock);
    }
    return NULL;
}

Test(lock, contending_threads_lose_no_step)
{
    enum { NR_THREADS = 8, NR_STEPS = 20000 };
    pthread_t threads[NR_THREADS];
    for (int i = 0; i < NR_THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_up, (void *)NR_STEPS), 0);
    for (int i = 0; i < NR_THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(shared_count, (long)NR_THREADS * NR_STEPS);
    cr_expect_eq(atomic_load(&lock.state), 0);
}

Test(lock, release_wakes_a_thread_that_waits, .timeout = 30)
{
    pthread_t thread;
    lock_take(&lock);
    cr_assert_eq(pthread_create(&thread, NULL, count_up, (void *)1), 0);
    while (atomic_load(&lock.state) != 2)
        sched_yield();
    cr_expect_eq(shared_count, 0);
    lock_release(&lock);
    pthread_join(thread, NULL);
    cr_expect_eq(shared_count, 1);
}

static void on_signal(int number)
{
    nr_signals++;
}

static void on_signal_take_lock(int number)
{
    lock_take(&lock);
    nr_signals++;
    lock_release(&lock);
}

Test(lock, signal_waits_until_release)
{
    handlers_note_unseen();
    signal(SIGUSR1, on_signal);
    lock_take(&lock);
    raise(SIGUSR1);
    cr_expect_eq(nr_signals, 0);
    lock_release(&lock);
    cr_expect_eq(nr_signals, 1);
}

Test(lock, release_restores_the_mask_that_take_found)
{
    handlers_note_unseen();
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_SETMASK, &set, NULL);
    lock_take(&lock);
    sigprocmask(SIG_SETMASK, NULL, &now);
    cr_expect(sigismember(&now, SIGUSR1));
    lock_release(&lock);
    sigprocmask(SIG_SETMASK, NULL, &now);
    cr_expect_not(sigismember(&now, SIGUSR1));
    cr_expect(sigismember(&now, SIGUSR2));
}

Test(lock, release_restores_the_mask_of_a_signal_that_was_put_off)
{
    sigset_t now;
    uint64_t mask = UINT64_C(1) << (SIGUSR2 - 1), all;
    lock_take(&lock);
    handlers_put_off(&mask);
    all = mask;
    sigfillset(&now);
    sigprocmask(SIG_SETMASK, &now, NULL); /* as the handler's return does */
    lock_release(&lock);
    sigprocmask(SIG_SETMASK, NULL, &now);
    cr_expect_eq(all, UINT64_MAX);
    cr_expect(sigismember(&now, SIGUSR2));
    cr_expect_not(sigismember(&now, SIGUSR1));
}

Test(lock, handlers_are_kept_out_while_any_lock_is_held)
{
    struct lock inner = {.rank = LOCK_ARENA};
    cr_expect_eq(handlers_kept_out, 0);
    lock_take(&lock);
    lock_take(&inner);
    lock_release(&inner);
    cr_expect(handlers_kept_out);
    lock_release(&lock);
    cr_expect_eq(handlers_kept_out, 0);
}

Test(lock, without_a_handler_signals_are_left_alone)
{
    sigset_t mask;
    lock_take(&lock);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    lock_release(&lock);
    cr_expect(!sigismember(&mask, SIGUSR1));
}

Test(lock, inner_release_leaves_signals_blocked)
{
    struct lock inner = {.rank = LOCK_ARENA};
    handlers_note_unseen();
    signal(SIGUSR1, on_signal);
    lock_take(&lock);
    lock_take(&inner);
    lock_release(&inner);
    raise(SIGUSR1);
    cr_expect_eq(nr_signals, 0);
    lock_release(&lock);
    cr_expect_eq(nr_signals, 1);
}

Test(lock, handler_may_take_it_however_often_it_interrupts, .timeout = 60)
{
    struct itimerval often = {{0, 200}, {0, 200}};
    handlers_note_unseen();
    signal(SIGALRM, on_signal_take_lock);
    setitimer(ITIMER_REAL, &often, NULL);
    while (nr_signals < 500)
        count_up((void *)100);
    often = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    cr_expect_eq(atomic_load(&lock.state), 0);
}

Test(lock, falling_rank_aborts_in_a_debug_build, .signal = SIGABRT)
{
    struct lock high = {.rank = LOCK_CAPTURE};
    lock_take(&high);
    lock_take(&lock);
}

Test(lock, taking_it_twice_aborts_in_a_debug_build, .signal = SIGABRT)
{
    lock_take(&lock);
    lock_take(&lock);
}

Test(lock, all_on_the_list_are_taken_in_the_order_of_their_ranks)
{
    locks_take_all(); /* in another order the ranks would end it */
    cr_expect(atomic_load(&lock.state) == 1 && atomic_load(&middle.state) == 1 &&
              atomic_load(&last.state) == 1);
    locks_release_all();
    cr_expect(atomic_load(&lock.state) == 0 && atomic_load(&middle.state) == 0 &&
              atomic_load(&last.state) == 0);
    locks_take_all();
    locks_release_all();
}

static void *hold_until_told(void *arg)
{
    int *pipes = arg;
    char byte;
    lock_take(&lock);
    (void)!write(pipes[1], "h", 1);
    (void)!read(pipes[2], &byte, 1);
    lock_release(&lock);
    return NULL;
}

Test(lock, reset_frees_in_a_child_what_another_thread_held, .timeout = 30)
{
    int pipes[4], status;
    char byte;
    pthread_t thread;
    cr_assert_eq(pipe(pipes) | pipe(pipes + 2), 0);
    cr_assert_eq(pthread_create(&thread, NULL, hold_until_told, pipes), 0);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    pid_t child = fork();
    if (child == 0) {
        locks_reset_all();
        if (atomic_load(&lock.state) != 0)
            _exit(1); /* to take it would wait for ever, with signals blocked */
        lock_take(&lock);
        lock_release(&lock);
        _exit(0);
    }
    waitpid(child, &status, 0);
    cr_expect_eq(status, 0);
    (void)!write(pipes[3], "g", 1);
    pthread_join(thread, NULL);
}
