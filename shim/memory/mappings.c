/* SPDX-License-Identifier: MIT */
/* The program's mappings in the arena: where they go, and what happens to their pages on the way out. Called by
 * interpose/mmap.c. Takes LOCK_ARENA for each step, the registry's lock in between: RUN_PENDING keeps others away. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "dma/pagemap.h"
#include "memory/arena.h"
#include "memory/contents.h"
#include "memory/huge.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)
#define GIB ((size_t)1 << 30)

static const struct run_kind none = {.state = RUN_NONE};
static const struct run_kind pending = {.state = RUN_PENDING};
static const struct run_kind closed = {.state = RUN_CLOSED};
static bool has_held; /* some run was ever RUN_HELD or RUN_DETACHED */

/* log2 of the unit in which a mapping is registered: at most 128 of them for each mapping. */
static unsigned unit_shift_for(size_t len)
{
    unsigned shift = BLOCK_SHIFT;
    while (shift < 30 && len >> shift > 128)
        shift++;
    return shift;
}

static struct run_kind used_kind(size_t len, int prot, unsigned flags)
{
    return (struct run_kind){.state = RUN_USED,
                             .prot = (uint8_t)prot,
                             .unit_shift = (uint8_t)unit_shift_for(len),
                             .flags = (uint8_t)flags};
}

/*
 * A page of ours, the last of the zone's first block, from the first mapping on: it keeps the page tables that small mappings
 * need from coming and going with each of them. Read-only, so that no mapping is merged with it, which costs more than one
 * of its own; read once, so that it has its tables, and no memory.
 */
static void make_anchor(struct zone *zone)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uintptr_t page = zone->start + BLOCK_SIZE - OS_PAGE_SIZE;
    struct run *run = runs_at(&zone->runs, page);
    zone->has_anchor = true;
    if (run && run->kind.state == RUN_NONE && runs_set(&zone->runs, page, OS_PAGE_SIZE, closed) == 0 &&
        !os_is_error(zone_map_free(page, OS_PAGE_SIZE, PROT_READ, flags)))
        (void)*(volatile char *)page;
}

/* Small mappings end where something else begins, large ones begin with a block, and the largest where no page tables are
 * in their way: unmapping would search them. */
static bool find_place(struct zone *zone, size_t len, uintptr_t *start)
{
    struct run *run = NULL;
    if (!zone->has_anchor)
        make_anchor(zone);
    if (len >= GIB)
        run = runs_fit(&zone->runs, RUN_NONE, len, GIB, start);
    if (!run && len >= BLOCK_SIZE)
        run = runs_fit(&zone->runs, RUN_NONE, len, BLOCK_SIZE, start);
    if (!run && len < BLOCK_SIZE && (run = runs_fit(&zone->runs, RUN_NONE, len, OS_PAGE_SIZE, start)))
        *start = run->start + run->len - len;
    return run;
}

static uintptr_t place_locked(size_t len, struct run_kind kind)
{
    for (int tries = 0; tries < 2; tries++) {
        for (unsigned i = 0; i < nr_zones; i++) {
            uintptr_t start;
            if (zones[i].kind == ZONE_MAP && find_place(&zones[i], len, &start))
                return runs_set(&zones[i].runs, start, len, kind) == 0 ? start : 0;
        }
        if (!zones_grow(ZONE_MAP, len))
            break;
    }
    return 0;
}

uintptr_t arena_map_place(size_t len)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    for (;;) {
        lock_take(&zones_lock);
        uintptr_t start = place_locked(len, pending);
        lock_release(&zones_lock);
        intptr_t got = start ? zone_map_free(start, len, PROT_NONE, flags) : -ENOMEM;
        if (got == (intptr_t)start)
            return start;
        if (start && got == -EEXIST)
            arena_map_taken(start, len);
        else if (start)
            arena_map_undo(start, len);
        if (got != -EEXIST)
            return 0;
    }
}

void arena_map_taken(uintptr_t addr, size_t len)
{
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    zone_set_or_leak(zone, addr, len, none);
    zone_close_taken(zone, addr, len);
    lock_release(&zones_lock);
}

uintptr_t arena_map_place_for(size_t len, int prot, unsigned flags)
{
    lock_take(&zones_lock);
    uintptr_t start = place_locked(len, used_kind(len, prot, flags));
    lock_release(&zones_lock);
    return start;
}

int arena_map_made(uintptr_t addr, size_t len, int prot, unsigned flags)
{
    if (flags == RUN_ORDINARY && (prot & RW) == RW)
        return registry_offer(addr, len);
    registry_pass_over(addr, len);
    return 0;
}

intptr_t arena_map(size_t len, int prot, int map_flags, unsigned flags)
{
    uintptr_t start;
    while ((start = arena_map_place_for(len, prot, flags)) != 0) {
        intptr_t result = zone_map_free(start, len, prot, map_flags);
        if (result == (intptr_t)start && arena_map_made(start, len, prot, flags) != 0) {
            arena_unmap(start, len);
            return -ENOMEM;
        }
        if (result == (intptr_t)start)
            return result;
        if (result == -EEXIST)
            arena_map_taken(start, len);
        else
            arena_map_undo(start, len);
        if (result != -EEXIST)
            return result;
    }
    return -ENOSPC;
}

int arena_map_done(uintptr_t addr, size_t len, int prot, unsigned flags)
{
    lock_take(&zones_lock);
    zone_set_or_leak(zone_of(addr), addr, len, used_kind(len, prot, flags));
    lock_release(&zones_lock);
    return arena_map_made(addr, len, prot, flags);
}

void arena_map_undo(uintptr_t addr, size_t len)
{
    lock_take(&zones_lock);
    zone_set_or_leak(zone_of(addr), addr, len, none);
    lock_release(&zones_lock);
}

void arena_map_give(uintptr_t addr, size_t len)
{
    if (os_munmap(addr, len) == 0)
        arena_map_undo(addr, len);
}

static bool is_free_locked(struct zone *zone, uintptr_t addr, size_t len)
{
    if (!zone || len > zone->end - addr)
        return false;
    for (struct run *run = runs_at(&zone->runs, addr); run && run->start < addr + len; run = runs_next(run))
        if (run->kind.state != RUN_NONE && run->kind.state != RUN_HELD)
            return false;
    return true;
}

bool arena_is_free(uintptr_t addr, size_t len)
{
    lock_take(&zones_lock);
    bool is_free = is_free_locked(zone_of(addr), addr, len);
    lock_release(&zones_lock);
    return is_free;
}

bool arena_is_used(uintptr_t addr, size_t len, unsigned flags)
{
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    struct run *run = zone ? runs_at(&zone->runs, addr) : NULL;
    bool is_used = run;
    for (; is_used && run && run->start < addr + len; run = runs_next(run))
        is_used = (run->kind.state == RUN_USED || (!flags && run->kind.state == RUN_DETACHED)) &&
                  (run->kind.flags & flags) == flags;
    lock_release(&zones_lock);
    return is_used;
}

bool arena_is_ordinary(uintptr_t addr, size_t len)
{
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    struct run *run = zone ? runs_at(&zone->runs, addr) : NULL;
    bool is_ordinary = run;
    for (; is_ordinary && run && run->start < addr + len; run = runs_next(run))
        is_ordinary = (run->kind.state == RUN_USED || run->kind.state == RUN_DETACHED) &&
                      run->kind.flags & RUN_ORDINARY;
    lock_release(&zones_lock);
    return is_ordinary;
}

/* --- pages leave ------------------------------------------------------------------------------------------------------ */

/* While a run is pending, its flags also say what it was, for calls that fail. */
enum { WAS_SHIFT = 4, WAS_MASK = 0xf0 };

static void make_pending(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_HELD)
        zones_held_bytes -= len;
    kind.flags |= (uint8_t)(kind.state << WAS_SHIFT);
    zone_set_or_leak(zone, start, len, with_state(kind, RUN_PENDING));
}

static void make_pending_if_used(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_USED || kind.state == RUN_DETACHED)
        make_pending(zone, start, len, kind);
}

static void make_as_it_was(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state != RUN_PENDING)
        return;
    kind.state = kind.flags >> WAS_SHIFT;
    kind.flags &= (uint8_t)~WAS_MASK;
    if (kind.state == RUN_HELD) {
        zones_held_bytes += len;
        os_munmap(start, len); /* it may have been exposed when it became pending */
    }
    zone_set_or_leak(zone, start, len, kind);
}

static void make_used(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_PENDING)
        zone_set_or_leak(zone, start, len, with_state(kind, RUN_USED));
}

static void change_runs(uintptr_t addr, size_t len,
                        void (*change)(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind))
{
    lock_take(&zones_lock);
    zone_for_each_run(zone_of(addr), addr, addr + len, change);
    lock_release(&zones_lock);
}

static void let_go(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_DETACHED)
        zone_set_or_leak(zone, start, len, with_state(kind, RUN_USED));
    if (kind.state == RUN_HELD)
        zone_let_go(zone, start, len);
}

static void let_go_if_uncovered(uintptr_t start, size_t len, bool is_covered)
{
    if (!is_covered)
        change_runs(start, len, let_go);
}

bool arena_claim(uintptr_t addr, size_t len)
{
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    bool is_free = is_free_locked(zone, addr, len);
    if (is_free)
        zone_for_each_run(zone, addr, addr + len, make_pending);
    lock_release(&zones_lock);
    return is_free;
}

/* The call failed. The registration that something was held back for, or detached from, may be gone by now. */
static void undo_pending(uintptr_t addr, size_t len)
{
    change_runs(addr, len, make_as_it_was);
    registry_divide(addr, len, let_go_if_uncovered);
}

static void hold(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state != RUN_PENDING)
        return;
    has_held = true;
    zones_held_bytes += len;
    zone_set_or_leak(zone, start, len, with_state(none, RUN_HELD));
}

static void make_free(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_PENDING)
        zone_set_or_leak(zone, start, len, none);
}

static void finish_unmap(uintptr_t start, size_t len, bool is_covered)
{
    change_runs(start, len, is_covered ? hold : make_free);
}

static bool is_any_pinned(uintptr_t addr, size_t len)
{
    uintptr_t end = addr + len;
    for (uintptr_t block = addr & ~(BLOCK_SIZE - 1); block < end; block += BLOCK_SIZE)
        if (pagemap_is_pinned(block))
            return true;
    return false;
}

static void free_used(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_USED || kind.state == RUN_DETACHED)
        zone_set_or_leak(zone, start, len, none);
}

/* In one step, when nothing there is registered: a registration that is just beginning counts itself, marks its blocks
 * pinned and then takes this lock once before it pins, so it either is seen here or finds nothing mapped. */
static bool unmap_unregistered(uintptr_t addr, size_t len, int *error)
{
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    bool is_simple = !registry_has_any() || (!registry_owes_any() && !is_any_pinned(addr, len));
    if (is_simple) {
        *error = os_munmap(addr, len);
        if (!*error)
            zone_for_each_run(zone, addr, addr + len, free_used);
    }
    lock_release(&zones_lock);
    return is_simple;
}

int arena_unmap(uintptr_t addr, size_t len)
{
    int result;
    if (unmap_unregistered(addr, len, &result))
        return result;
    change_runs(addr, len, make_pending_if_used);
    registry_forget(addr, len);
    int error = os_munmap(addr, len);
    if (error)
        undo_pending(addr, len);
    else
        registry_divide(addr, len, finish_unmap);
    return error;
}

void arena_replace_begin(uintptr_t addr, size_t len)
{
    change_runs(addr, len, make_pending);
    registry_forget(addr, len);
}

static void detach(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    has_held = true;
    zone_set_or_leak(zone, start, len, with_state(kind, RUN_DETACHED));
}

static void finish_replace(uintptr_t start, size_t len, bool is_covered)
{
    if (is_covered)
        change_runs(start, len, detach);
}

void arena_replace_end(uintptr_t addr, size_t len, int prot, unsigned flags, bool failed)
{
    if (failed) {
        undo_pending(addr, len);
    } else {
        lock_take(&zones_lock);
        zone_set_or_leak(zone_of(addr), addr, len, with_state(used_kind(len, prot, flags), RUN_PENDING));
        lock_release(&zones_lock);
        registry_divide(addr, len, finish_replace);
        change_runs(addr, len, make_used);
        arena_map_made(addr, len, prot, flags);
    }
}

static void expose_run(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_HELD)
        zone_map_free(start, len, RW,
                      MAP_PRIVATE | MAP_ANONYMOUS); /* failing, it can't be pinned: the registry says so */
}

static void conceal_run(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_HELD)
        os_munmap(start, len);
}

bool arena_expose(uintptr_t addr, size_t len, bool exposed)
{
    bool is_in_flight = false;
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    zone_for_each_run(zone, addr, addr + len, exposed ? expose_run : conceal_run);
    for (struct run *run = runs_at(&zone->runs, addr); run && run->start < addr + len; run = runs_next(run))
        is_in_flight |= run->kind.state == RUN_PENDING;
    lock_release(&zones_lock);
    return is_in_flight;
}

static int new_protection; /* for protect_run; under the lock */

static void protect_run(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    kind.prot = (uint8_t)new_protection;
    if (kind.state == RUN_USED || kind.state == RUN_DETACHED)
        zone_set_or_leak(zone, start, len, kind);
}

void arena_protected(uintptr_t addr, size_t len, int prot)
{
    lock_take(&zones_lock);
    new_protection = prot & (RW | PROT_EXEC);
    zone_for_each_run(zone_of(addr), addr, addr + len, protect_run);
    lock_release(&zones_lock);
    if ((prot & RW) == RW)
        registry_offer(addr, len);
    else
        registry_pass_over(addr, len);
}

int arena_protection(uintptr_t addr, size_t *run_len)
{
    int prot = -1;
    struct zone *zone = zone_of(addr);
    lock_take(&zones_lock);
    struct run *run = zone ? runs_at(&zone->runs, addr) : NULL;
    if (run) {
        *run_len = run->start + run->len - addr;
        if (run->kind.state == RUN_USED || run->kind.state == RUN_DETACHED)
            prot = run->kind.prot;
    }
    lock_release(&zones_lock);
    return prot;
}

/* --- purges ------------------------------------------------------------------------------------------------------------- */

/* Returns 0, or the kernel's reason not to purge what is sealed and not writable: it does not let its protection be set,
 * either, to what it is. */
static int zero_in_place(uintptr_t addr, size_t len, struct run_kind kind)
{
    if (kind.prot & PROT_WRITE) {
        memset((void *)addr, 0, len);
        return 0;
    }
    int error = os_mprotect(addr, len, kind.prot);
    if (error || contents_zero(addr, len))
        return error;
    arena_replace_begin(addr, len); /* without /proc the kernel's own purge is all that is left */
    error = os_madvise(addr, len, MADV_DONTNEED);
    arena_replace_end(addr, len, kind.prot, kind.flags, error != 0);
    return error;
}

/* The kernel purges no locked memory, but when told so; MADV_COLD, which changes nothing, is refused for it alike. */
static int is_refused(uintptr_t addr, size_t len, int advice)
{
    enum { ADVICE_COLD = 20, ADVICE_DONTNEED_LOCKED = 24 };
    return advice != ADVICE_DONTNEED_LOCKED && os_madvise(addr, len, ADVICE_COLD) == -EINVAL ? -EINVAL : 0;
}

int arena_purge(uintptr_t addr, size_t len, int advice)
{
    int error = 0; /* what is not mapped does not keep the rest from being purged, as in the kernel */
    for (uintptr_t end = addr + len, next; addr < end && (!error || error == -ENOMEM); addr = next) {
        int result = 0;
        struct zone *zone = zone_of(addr);
        if (!zone)
            return -ENOMEM;
        next = (addr | (BLOCK_SIZE - 1)) + 1;
        lock_take(&zones_lock);
        struct run *run = runs_at(&zone->runs, addr);
        next = run->start + run->len < next ? run->start + run->len : next;
        next = next < end ? next : end;
        struct run_kind kind = run->kind;
        bool stays = kind.state == RUN_USED && kind.flags & RUN_ORDINARY && pagemap_is_pinned(addr);
        if (stays)
            result = is_refused(addr, next - addr, advice);
        else
            result = kind.state == RUN_NONE || kind.state == RUN_HELD ? -ENOMEM
                                                                      : os_madvise(addr, next - addr, advice);
        if (!stays && zone->kind == ZONE_HEAP)
            huge_dropped(zone, addr, next - addr);
        lock_release(&zones_lock);
        if (stays && !result && advice != MADV_FREE)
            result = zero_in_place(addr, next - addr, kind);
        error = result ? result : error;
    }
    return error;
}

uint64_t arena_held_bytes(void)
{
    return zones_held_bytes;
}

/* --- fork --------------------------------------------------------------------------------------------------------------- */

void arena_lock_for_fork(void)
{
    lock_take(&zones_lock);
}

void arena_unlock_after_fork(void)
{
    huge_forget();
    lock_release(&zones_lock);
}

static void unpin_run(struct zone *zone, uintptr_t start, size_t len, struct run_kind kind)
{
    if (kind.state == RUN_DETACHED)
        zone_set_or_leak(zone, start, len, with_state(kind, RUN_USED));
    else if (kind.state == RUN_HELD)
        zone_let_go(zone, start, len);
}

void arena_reset(bool locks_are_lost)
{
    if (locks_are_lost)
        lock_reset(&zones_lock);
    huge_forget();
    for (unsigned i = 0; has_held && i < nr_zones; i++)
        zone_for_each_run(&zones[i], zones[i].start, zones[i].end, unpin_run);
    zones_held_bytes = 0;
}
