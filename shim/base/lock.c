/* SPDX-License-Identifier: MIT */
/* The mutex behind every cold path (the three-state futex of Drepper's "Futexes Are Tricky"). */
#include "base/lock.h"

#include <assert.h>
#include <stddef.h>

#include "base/handlers.h"
#include "base/os.h"

#ifndef NDEBUG
static _Thread_local uint32_t held_ranks;
#endif

static void acquire(struct lock *lock)
{
    uint32_t seen = 0;
    if (atomic_compare_exchange_strong_explicit(&lock->state, &seen, 1, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    while (atomic_exchange_explicit(&lock->state, 2, memory_order_acquire) != 0)
        os_futex_wait(&lock->state, 2);
}

static void give_up(struct lock *lock)
{
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2)
        os_futex_wake(&lock->state, 1);
}

void lock_take(struct lock *lock)
{
    handlers_keep_out();
#ifndef NDEBUG
    assert(held_ranks >> lock->rank == 0);
    held_ranks |= 1u << lock->rank;
#endif
    acquire(lock);
}

void lock_release(struct lock *lock)
{
#ifndef NDEBUG
    held_ranks &= ~(1u << lock->rank);
#endif
    give_up(lock);
    handlers_let_in();
}

/* Where the linker puts what LOCK_ON_LIST names. */
extern struct lock *const __start_anydma_locks[] __attribute__((weak, visibility("hidden")));
extern struct lock *const __stop_anydma_locks[] __attribute__((weak, visibility("hidden")));

static struct lock *lock_of_rank(uint32_t rank)
{
    for (struct lock *const *lock = __start_anydma_locks; lock < __stop_anydma_locks; lock++)
        if ((*lock)->rank == rank)
            return *lock;
    return NULL;
}

void locks_take_all(void)
{
    for (uint32_t rank = 1; rank < LOCK_NR_RANKS; rank++)
        if (lock_of_rank(rank))
            lock_take(lock_of_rank(rank));
}

void locks_release_all(void)
{
    for (uint32_t rank = LOCK_NR_RANKS; rank-- > 1;)
        if (lock_of_rank(rank))
            lock_release(lock_of_rank(rank));
}

void locks_reset_all(void)
{
    for (struct lock *const *lock = __start_anydma_locks; lock < __stop_anydma_locks; lock++)
        atomic_store_explicit(&(*lock)->state, 0, memory_order_relaxed);
#ifndef NDEBUG
    held_ranks = 0;
#endif
}
