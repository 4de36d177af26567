/* SPDX-License-Identifier: MIT */
/* The table of states and events, and the one function that applies it. */
#include "memory/pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/os.h"
#include "memory/dirty.h"
#include "memory/huge.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)

static int protect(uintptr_t addr, size_t len, int prot, int key)
{
    return key == -1 ? os_mprotect(addr, len, prot)
                     : (int)os_call(SYS_pkey_mprotect, (long)addr, (long)len, prot, key, 0, 0);
}

static const struct pages_ops kernels = {os_mmap, os_munmap, os_mremap, protect, os_madvise};
const struct pages_ops *pages_ops = &kernels;

/* What is mapped for the heap. */
static const struct page_kind page_ready = {.state = PAGE_READY, .prot = RW, .flags = PAGE_ORDINARY};
_Atomic unsigned long pages_impossible;
bool pages_were_odd;
size_t pages_unmap_least = 8 * BLOCK_SIZE;
_Atomic bool pages_are_kept;
uint64_t pages_held_back_bytes;

uint8_t pages_lump_shift(size_t len)
{
    const unsigned least = BLOCK_SHIFT + 1, most = 26;
    unsigned shift = len >> 2 ? 61 - (unsigned)__builtin_clzl(len) : 0;
    return (uint8_t)(shift < least ? 0 : shift < most ? shift : most);
}

/* --- the table -------------------------------------------------------------------------------------------------------- */

static const char chosen[] = "only pages in the one state are chosen for it, under the same lock";
static const char zoned[] = "the heap's pages and the places of mappings lie in different zones";
static const char alive[] =
    "a registration with something alive in it is not undone, which is seen under the same lock";
static const char freed[] = "the heap gives back what it was given, once";

// clang-format off
#define DO(state, action) {true, PAGE_##state, PAGE_##action, NULL}
#define TO(state) DO(state, NO_ACTION)
#define STAY TO(STAYS)
#define NEVER(why) {true, PAGE_STAYS, PAGE_NO_ACTION, why}

/* Where an event may meet a state that its own first step did not leave, another thread is at work on the same pages: the
 * kernel did the two calls in some order, and the later end says what is there. */
const struct page_rule page_rules[NR_PAGE_EVENTS][NR_PAGE_STATES] = {
    /*                  NONE           READY          USED             BUSY               HELD_BACK      DETACHED       RETIRED          CLOSED */
    [PAGE_PLACED]    = {TO(USED),      NEVER(zoned),  NEVER(chosen),   NEVER(chosen),     NEVER(chosen), NEVER(chosen), NEVER(zoned),    NEVER(chosen)},
    [PAGE_UNPLACED]  = {STAY,          NEVER(zoned),  TO(NONE),        STAY,              STAY,          STAY,          NEVER(zoned),    STAY},
    [PAGE_TAKEN]     = {TO(CLOSED),    STAY,          STAY,            STAY,              STAY,          STAY,          STAY,            STAY},
    [PAGE_CLAIMED]   = {TO(BUSY),      NEVER(chosen), NEVER(chosen),   NEVER(chosen),     TO(BUSY),      NEVER(chosen), NEVER(chosen),   NEVER(chosen)},
    [PAGE_LEAVING]   = {STAY,          TO(BUSY),      TO(BUSY),        STAY,              STAY,          TO(BUSY),      TO(BUSY),        TO(BUSY)},
    [PAGE_REPLACING] = {TO(BUSY),      TO(BUSY),      TO(BUSY),        STAY,              TO(BUSY),      TO(BUSY),      TO(BUSY),        TO(BUSY)},
    [PAGE_FAILED]    = {STAY,          STAY,          STAY,            DO(WAS, UNEXPOSE), STAY,          STAY,          STAY,            STAY},
    [PAGE_LEFT]      = {STAY,          STAY,          STAY,            TO(HELD_BACK),     STAY,          STAY,          STAY,            STAY},
    [PAGE_REPLACED]  = {TO(DETACHED),  TO(DETACHED),  TO(DETACHED),    TO(DETACHED),      TO(DETACHED),  TO(DETACHED),  TO(DETACHED),    TO(DETACHED)},
    [PAGE_ARRIVING]  = {STAY,          STAY,          STAY,            TO(BUSY),          STAY,          STAY,          STAY,            STAY},
    [PAGE_RENEWED]   = {STAY,          STAY,          STAY,            TO(DETACHED),      STAY,          STAY,          STAY,            STAY},
    [PAGE_GUARDED]   = {STAY,          STAY,          STAY,            TO(DETACHED),      STAY,          STAY,          STAY,            STAY},
    [PAGE_UNMAPPED]  = {STAY,          TO(NONE),      TO(NONE),        STAY,              STAY,          TO(NONE),      TO(NONE),        TO(NONE)},
    [PAGE_RELEASED]  = {STAY,          STAY,          STAY,            STAY,              TO(NONE),      TO(USED),      DO(READY, DROP), STAY},
    [PAGE_RETIRING]  = {STAY,          TO(RETIRED),   NEVER(alive),    NEVER(alive),      STAY,          STAY,          STAY,            STAY},
    [PAGE_COMMITTED] = {TO(READY),     NEVER(chosen), NEVER(chosen),   NEVER(chosen),     NEVER(chosen), NEVER(chosen), NEVER(chosen),   NEVER(chosen)},
    [PAGE_ALLOCATED] = {NEVER(chosen), TO(USED),      NEVER(chosen),   NEVER(chosen),     NEVER(chosen), NEVER(chosen), NEVER(chosen),   NEVER(chosen)},
    [PAGE_FREED]     = {STAY,          NEVER(freed),  DO(READY, DROP), STAY,              STAY,          STAY,          NEVER(freed),    STAY},
    [PAGE_KEPT]      = {STAY,          NEVER(freed),  DO(READY, MARK), STAY,              STAY,          STAY,          NEVER(freed),    STAY},
    [PAGE_PROTECTED] = {STAY,          STAY,          STAY,            STAY,              STAY,          STAY,          STAY,            STAY},
    [PAGE_ADVISED]   = {STAY,          STAY,          STAY,            STAY,              STAY,          STAY,          STAY,            STAY},
};
// clang-format on

/* --- its application -------------------------------------------------------------------------------------------------- */

/* Drops the pages of heap memory that nothing pins. Returns what it is then. */
static uint8_t drop(struct zone *zone, uintptr_t start, size_t len)
{
    if (pages_are_kept) {
        dirty_set(zone, start, len, true);
        return PAGE_READY;
    }
    if (len >= pages_unmap_least && !(start & (BLOCK_SIZE - 1)) && pages_ops->unmap(start, len) == 0) {
        dirty_set(zone, start, len, false);
        return PAGE_NONE;
    }
    dirty_set(zone, start, len, pages_ops->advise(start, len, MADV_DONTNEED) != 0); /* EINVAL: locked */
    huge_dropped(zone, start, len);
    return PAGE_READY;
}

static uint8_t act(struct zone *zone, uintptr_t start, size_t len, struct page_rule rule, uint8_t next)
{
    if (rule.action == PAGE_DROP)
        return drop(zone, start, len);
    if (rule.action == PAGE_MARK)
        dirty_set(zone, start, len, true);
    if (rule.action == PAGE_UNEXPOSE && next == PAGE_HELD_BACK)
        pages_ops->unmap(start, len);
    return next;
}

static struct page_kind become(struct page_kind now, uint8_t next, enum page_event event,
                               const struct page_kind *kind)
{
    struct page_kind then = now;
    if (next == PAGE_NONE || next == PAGE_HELD_BACK || next == PAGE_CLOSED)
        then = (struct page_kind){0};
    else if (next == PAGE_READY || next == PAGE_RETIRED)
        then = page_ready;
    else if (event == PAGE_PLACED || event == PAGE_REPLACED || event == PAGE_ARRIVING)
        then = *kind;
    if (event == PAGE_ALLOCATED && next == PAGE_USED)
        then.lump_shift = kind->lump_shift;
    if (event == PAGE_PROTECTED && (next == PAGE_USED || next == PAGE_DETACHED))
        then.prot = kind->prot;
    if (event == PAGE_ADVISED && (next == PAGE_USED || next == PAGE_DETACHED))
        then.flags = kind->flags ? now.flags | kind->flags : now.flags & (uint8_t)~PAGE_TOLD;
    if (event == PAGE_GUARDED)
        then.flags &= (uint8_t)~PAGE_ORDINARY;
    if (event != PAGE_ARRIVING) /* which brings along what the pages were where they were */
        then.was = next == PAGE_BUSY ? now.state : 0;
    then.state = next;
    return then;
}

static int set(struct zone *zone, struct run *run, uintptr_t start, size_t len, struct page_kind then)
{
    struct page_kind now = run->kind;
    int error = runs_change(&zone->runs, run, start, len, then);
    if (error) {
        log_write(LOG_WARNING, "no memory to record what becomes of 0x%lx (%lu bytes): it is not used again",
                  start, len);
        return error;
    }
    pages_were_odd |= then.state == PAGE_BUSY || then.state == PAGE_DETACHED;
    if (now.state == PAGE_HELD_BACK)
        pages_held_back_bytes -= len;
    if (then.state == PAGE_HELD_BACK)
        pages_held_back_bytes += len;
    return 0;
}

static int apply_to_run(struct zone *zone, struct run *run, uintptr_t start, size_t len,
                        enum page_event event, const struct page_kind *kind)
{
    struct page_kind now = run->kind;
    struct page_rule rule = page_rules[event][now.state];
    if (rule.impossible)
        pages_impossible++;
    if (rule.next == PAGE_STAYS && event != PAGE_PROTECTED && event != PAGE_ADVISED)
        return 0;
    uint8_t next = rule.next == PAGE_STAYS ? now.state : rule.next == PAGE_WAS ? now.was : rule.next;
    next = act(zone, start, len, rule, next);
    return set(zone, run, start, len, become(now, next, event, kind));
}

int pages_apply(struct zone *zone, uintptr_t start, uintptr_t end, enum page_event event,
                const struct page_kind *kind)
{
    int error = 0;
    for (uintptr_t next; start < end; start = next) {
        struct run *run = runs_at(&zone->runs, start);
        next = run->start + run->len < end ? run->start + run->len : end;
        int result = apply_to_run(zone, run, start, next - start, event, kind);
        error = error ? error : result;
    }
    return error;
}

int pages_change(uintptr_t start, size_t len, enum page_event event, const struct page_kind *kind)
{
    lock_take(&zones_lock);
    int error = pages_apply(zone_of(start), start, start + len, event, kind);
    lock_release(&zones_lock);
    return error;
}
