/* SPDX-License-Identifier: MIT */
/* A counter for each errno of each call; the last one for whatever lies beyond. */
#include "profile/failures.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/os.h"

enum { NR_ERRORS = 134 };

static _Atomic uint64_t counts[NR_FAILED][NR_ERRORS + 1];

static _Atomic bool are_none = true; /* not zero at first: in a page that a forked child writes anyway */

static const char *_Atomic counter;

void failures_set_counter(const char *text)
{
    atomic_store_explicit(&counter, text, memory_order_relaxed);
}

static uint64_t memlock_limit(void)
{
    return os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK);
}

/* Where locked memory has no limit, memory itself is what lacks. */
static bool is_memory_itself(int error)
{
    return error == ENOMEM && memlock_limit() == UINT64_MAX;
}

const char *failures_reason(enum failed_call call, int error)
{
    return is_memory_itself(error)
               ? "the kernel has no memory for it: its control group (memory.max), or the machine, is full"
               : failed_reason(call, error);
}

const char *failures_remedy(enum failed_call call, int error)
{
    return is_memory_itself(error) ? "raise memory.max, or pin less: --granule=4K"
                                   : failed_remedy(call, error);
}

static void tell(enum failed_call call, int error, size_t len)
{
    const char *remedy = failures_remedy(call, error);
    uint64_t limit = memlock_limit();
    log_write(LOG_WARNING,
              "%s of %lu KiB failed: %s (error %d)%s%s; further ones are counted; `anydma doctor` says what "
              "is in the way",
              failed_call_name(call), (unsigned long)((len + 1023) >> 10), failures_reason(call, error),
              error, remedy ? "; " : "", remedy ? remedy : "");
    const char *whose = atomic_load_explicit(&counter, memory_order_relaxed);
    if (error == ENOMEM && limit != UINT64_MAX)
        log_write(LOG_WARNING, "the limit on locked memory of this process is %lu KiB (`ulimit -l`)%s%s",
                  (unsigned long)(limit >> 10), whose ? "; it is held against what is pinned: " : "",
                  whose ? whose : "");
}

static bool is_told(enum failed_call call, int error)
{
    bool is_limit = error == ENOMEM || error == ENOSPC || error == EADDRNOTAVAIL;
    return call == FAILED_APP_MAP || (call == FAILED_LOOKUP && is_limit);
}

void failures_note(enum failed_call call, int error, size_t len)
{
    int index = error > 0 && error < NR_ERRORS ? error : NR_ERRORS;
    atomic_store_explicit(&are_none, false, memory_order_relaxed);
    uint64_t before = atomic_fetch_add_explicit(&counts[call][index], 1, memory_order_relaxed);
    if (!before && is_told(call, error))
        tell(call, error, len);
}

void failures_tell_end(void)
{
    if (atomic_load_explicit(&are_none, memory_order_relaxed))
        return;
    for (int call = 0; call < NR_FAILED; call++)
        for (int error = 1; error < NR_ERRORS; error++) {
            uint64_t count = failures_count((enum failed_call)call, error);
            if (count > 1 && is_told((enum failed_call)call, error))
                log_write(LOG_WARNING,
                          "%s failed %lu times in all: %s; `anydma doctor` says what is in the way",
                          failed_call_name((enum failed_call)call), count,
                          failures_reason((enum failed_call)call, error));
        }
}

uint64_t failures_count(enum failed_call call, int error)
{
    uint64_t sum = 0;
    if (error)
        return atomic_load_explicit(&counts[call][error < NR_ERRORS ? error : NR_ERRORS],
                                    memory_order_relaxed);
    for (int i = 0; i <= NR_ERRORS; i++)
        sum += atomic_load_explicit(&counts[call][i], memory_order_relaxed);
    return sum;
}

void failures_forget(void)
{
    if (atomic_exchange_explicit(&are_none, true, memory_order_relaxed))
        return;
    for (int call = 0; call < NR_FAILED; call++)
        for (int i = 0; i <= NR_ERRORS; i++)
            atomic_store_explicit(&counts[call][i], 0, memory_order_relaxed);
}
