/* SPDX-License-Identifier: MIT */
/* The beginning and the end of a thread, as jemalloc hears of them (renamed at build time: the Makefile, memory/jemalloc.syms). At a
 * thread's end it gives back what it keeps for the thread. By itself it takes one of the program's 1024 keys of thread-specific data
 * for that, in every process. Here there is no key before a second thread allocates; where the program has left none by then, the heap
 * keeps nothing for a thread, as it does for one that allocates once its end is past: a little slower.
 *
 * __cxa_thread_atexit_impl takes no key, but the loader's lock, at a thread's first allocation: a library's constructor that waits for
 * a thread of its own would wait for ever. A door before pthread_create does not see the threads that the C library begins by itself.
 * Owns no lock. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>

#include "profile/profile.h"

/* jemalloc's own. `tsd`: its record of the calling thread, in thread-local memory and in a list of all. */
extern bool je_tsd_tcache_enabled_data_init(void *tsd);
extern void je_tsd_cleanup(void *tsd);
extern void *je_tsd_fetch_slow(void *tsd, bool is_minimal);

int heap_key_create(pthread_key_t *key, void (*at_end)(void *));
int heap_key_set(pthread_key_t key, const void *tsd);
bool heap_thread_begins(void *tsd);

/* It asks for its key when it starts, */
int heap_key_create(pthread_key_t *key, void (*at_end)(void *))
{
    return 0;
}

/* and for the call at a thread's end before the thread may allocate, and again after that call, which needs no second one. */
int heap_key_set(pthread_key_t key, const void *tsd)
{
    return 0;
}

/* Whether it is the main thread's first call, whose end is the process's. Should it call pthread_exit, what is kept for it stays. */
static bool is_main(void)
{
    static _Atomic bool is_past;
    return !atomic_exchange_explicit(&is_past, true, memory_order_relaxed) && __libc_single_threaded;
}

/* Makes the key, once. False: there is none to be had. */
static bool find_key(pthread_key_t *key)
{
    static _Atomic uint32_t found; /* the key and one; 0: none yet */
    uint32_t known = atomic_load_explicit(&found, memory_order_relaxed);
    if (!known) {
        if (pthread_key_create(key, je_tsd_cleanup) != 0)
            return false;
        if (atomic_compare_exchange_strong_explicit(&found, &known, *key + 1, memory_order_relaxed,
                                                    memory_order_relaxed))
            return true;
        pthread_key_delete(*key); /* another thread was first */
    }
    *key = known - 1;
    return true;
}

/* The last step of a thread's first call: from here on it may allocate, as setting a key may. True when that failed. */
bool heap_thread_begins(void *tsd)
{
    pthread_key_t key;
    bool failed = je_tsd_tcache_enabled_data_init(tsd);
    profile_thread_begins();
    if (is_main() || (find_key(&key) && pthread_setspecific(key, tsd) == 0))
        return failed;
    je_tsd_cleanup(tsd);
    je_tsd_fetch_slow(tsd, false); /* a thread whose end is past allocates */
    return failed;
}
