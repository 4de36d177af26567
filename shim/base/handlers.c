/* SPDX-License-Identifier: MIT */
/* Which threads have their signals put off. Owns no lock; all but two flags belong to the thread. */
#include "base/handlers.h"

#include "base/os.h"

_Thread_local uint32_t handlers_kept_out;
/* The mask to put back, once a signal was put off. */
static _Thread_local struct {
    bool is_blocked;
    uint64_t before;
} signals __attribute__((tls_model("initial-exec")));
static _Atomic bool exist, are_unseen;

bool handlers_exist(void)
{
    return atomic_load_explicit(&exist, memory_order_relaxed);
}

void handlers_note(void)
{
    atomic_store_explicit(&exist, true, memory_order_relaxed);
}

void handlers_note_unseen(void)
{
    handlers_note();
    atomic_store(&are_unseen, true);
}

void handlers_keep_out(void)
{
    handlers_kept_out++;
    atomic_signal_fence(memory_order_seq_cst);
    if (handlers_kept_out == 1 && atomic_load_explicit(&are_unseen, memory_order_relaxed)) {
        os_signals_block(&signals.before);
        signals.is_blocked = true;
    }
}

void handlers_let_in(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    handlers_kept_out--;
    atomic_signal_fence(memory_order_seq_cst);
    /* Set by a handler that came before the line above, after which all signals are blocked. */
    if (signals.is_blocked && !handlers_kept_out) {
        signals.is_blocked = false;
        os_signals_restore(&signals.before);
    }
}

/* Of two handlers, the second having interrupted the first before that had blocked it, the first is the last to write: its
 * mask is the one of the code that holds the lock. */
void handlers_put_off(uint64_t *mask)
{
    signals.before = *mask;
    signals.is_blocked = true;
    *mask = os_signals_all();
}
