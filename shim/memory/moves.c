/* SPDX-License-Identifier: MIT */
/* Moves, growth and shrinking: what the arena and the registry are told around the kernel's mremap. */
#include "memory/moves.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "base/procmaps.h"
#include "dma/registry.h"
#include "memory/arena.h"
#include "memory/contents.h"
#include "memory/mappings.h"
#include "memory/owners.h"
#include "memory/places.h"
#include "memory/shared.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- what moves --------------------------------------------------------------------------------------------------------- */

/* What is mapped at `addr` outside the arena, and how far that goes; the kernel knows. */
static struct page_kind kind_outside(uintptr_t addr, size_t *run_len)
{
    struct procmaps_entry entry;
    if (procmaps_find(addr, &entry) != 0)
        return (struct page_kind){.state = PAGE_NONE};
    bool is_ordinary = !entry.is_shared && !entry.is_file;
    *run_len = entry.end - addr;
    return (struct page_kind){.state = PAGE_BUSY,
                              .was = PAGE_USED,
                              .prot = (uint8_t)entry.prot,
                              .flags =
                                  is_ordinary ? PAGE_ORDINARY | PAGE_TOLD | PAGE_SIZED : 0}; /* perhaps */
}

static struct page_kind kind_at(uintptr_t addr, size_t *run_len)
{
    return arena_contains(addr) ? mappings_at(addr, run_len) : kind_outside(addr, run_len);
}

/* What the part of the destination from `done` on has come from, and how far that goes. From outside the arena, it is looked at
 * where it is now. */
static struct page_kind source_kind(const struct move *move, uintptr_t to, size_t done, size_t *len)
{
    size_t run_len, last = move->from_len ? move->from_len - OS_PAGE_SIZE : 0;
    bool has_grown = done > last;
    struct page_kind kind = arena_contains(move->from)
                                ? mappings_at(move->from + (has_grown ? last : done), &run_len)
                                : kind_outside(to + done, &run_len);
    bool goes_on = has_grown || !move->from_len;
    *len = goes_on ? move->to_len - done : least(run_len, least(move->from_len, move->to_len) - done);
    return kind;
}

/* What was mapped at the source is mapped in the arena now, in as many kinds; what has grown is of the last. */
static void arrive(const struct move *move, uintptr_t to)
{
    for (size_t done = 0, len; done < move->to_len; done += len) {
        struct page_kind kind = source_kind(move, to, done, &len),
                         what = places_kind(move->to_len, kind.prot, kind.flags);
        what.was = kind.was;
        pages_change(to + done, len, PAGE_ARRIVING, &what);
    }
}

/* The source is still registered, as its neighbours live: so are the pages that were moved, if they were those. */
static void renew(const struct move *move, uintptr_t to)
{
    size_t total = least(move->from_len, move->to_len), run_len;
    if (!total || !registry_covers(move->from, total))
        return;
    for (size_t done = 0; done < total; done += run_len) {
        struct page_kind kind = kind_at(to + done, &run_len);
        if (kind.state == PAGE_NONE)
            return;
        run_len = least(run_len, total - done);
        if (kind.was == PAGE_USED && kind.flags & PAGE_ORDINARY)
            contents_renew(to + done, run_len);
    }
}

/* --- to another place --------------------------------------------------------------------------------------------------- */

/* The kernel may unmap the destination before it finds that it can't move. */
static void drop_unmapped(uintptr_t start, size_t len)
{
    for (size_t done = 0, run_len = len; done < len; done += run_len) {
        bool is_inside;
        run_len = arena_split(start + done, start + len, &is_inside) - (start + done);
        if (!is_inside)
            continue;
        struct page_kind kind = mappings_at(start + done, &run_len);
        run_len = least(run_len, len - done);
        if (kind.state == PAGE_USED &&
            os_call(SYS_msync, (long)(start + done), (long)run_len, MS_ASYNC, 0, 0, 0) == -ENOMEM)
            mappings_unmap(start + done, run_len);
    }
}

static intptr_t move_to(const struct move *move, int flags, bool is_place)
{
    bool is_fixed = move->flags & MREMAP_FIXED;
    if (is_fixed)
        owners_begin(move->to, move->to_len, PAGE_REPLACING);
    if (move->from_len)
        owners_begin(move->from, move->from_len, PAGE_LEAVING);
    intptr_t result = pages_ops->move(move->from, move->from_len, move->to_len, flags, move->to);
    bool has_failed = os_is_error(result);
    uintptr_t to = (uintptr_t)result;
    if (!has_failed && (is_fixed || is_place) && arena_contains(to))
        arrive(move, to);
    if (move->from_len)
        owners_end(move->from, move->from_len,
                   has_failed                       ? PAGE_FAILED
                   : move->flags & MREMAP_DONTUNMAP ? PAGE_RENEWED
                                                    : PAGE_LEFT,
                   NULL);
    if (!has_failed)
        renew(move, to);
    if (is_fixed || (is_place && !has_failed))
        owners_end(move->to, move->to_len, has_failed ? PAGE_FAILED : PAGE_RENEWED, NULL);
    if (has_failed && is_fixed)
        drop_unmapped(move->to, move->to_len);
    return result;
}

static intptr_t move_elsewhere(struct move move)
{
    if (move.flags & MREMAP_FIXED || !arena_contains(move.from) || !(move.flags & MREMAP_MAYMOVE))
        return move_to(&move, move.flags, false);
    move.to = places_take(move.to_len);
    if (!move.to)
        return move_to(&move, move.flags, false);
    intptr_t result = move_to(&move, move.flags | MREMAP_FIXED, true);
    if (os_is_error(result))
        places_give(move.to, move.to_len);
    return result;
}

/* --- in place ----------------------------------------------------------------------------------------------------------- */

static intptr_t shrink(const struct move *move)
{
    uintptr_t tail = move->from + move->to_len;
    size_t tail_len = move->from_len - move->to_len;
    owners_begin(tail, tail_len, PAGE_LEAVING);
    intptr_t result = pages_ops->move(move->from, move->from_len, move->to_len, move->flags, 0);
    owners_end(tail, tail_len, os_is_error(result) ? PAGE_FAILED : PAGE_LEFT, NULL);
    return result;
}

/* -ENOMEM where there is no room; any other reason of the kernel's comes first, and is asked for by a call that changes
 * nothing where the arena knows that there is none. */
static intptr_t grow_in_place(const struct move *move)
{
    uintptr_t tail = move->from + move->from_len;
    size_t tail_len = move->to_len - move->from_len, run_len;
    if (!owners_overlap_arena(tail, tail_len))
        return pages_ops->move(move->from, move->from_len, move->to_len, 0, 0);
    if (!mappings_claim(tail, tail_len)) {
        intptr_t result = pages_ops->move(move->from, move->from_len, move->from_len, 0, 0);
        return os_is_error(result) ? result : -ENOMEM;
    }
    intptr_t result = pages_ops->move(move->from, move->from_len, move->to_len, 0, 0);
    struct page_kind last = kind_at(tail - OS_PAGE_SIZE, &run_len),
                     grown = places_kind(tail_len, last.prot, last.flags);
    mappings_end(tail, tail_len, os_is_error(result) ? PAGE_FAILED : PAGE_REPLACED, &grown);
    return result;
}

static intptr_t grow(struct move move)
{
    if (arena_contains(move.from)) {
        size_t run_len;
        struct page_kind kind = mappings_at(move.from, &run_len);
        int error = mappings_admit(0, move.to_len - move.from_len, &kind);
        if (error)
            return error;
    }
    intptr_t result = grow_in_place(&move);
    return result == -ENOMEM && move.flags & MREMAP_MAYMOVE ? move_elsewhere(move) : result;
}

static intptr_t make(struct move move)
{
    if (move.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) || !move.from_len)
        return move_elsewhere(move);
    if (move.to_len < move.from_len)
        return shrink(&move);
    if (move.to_len > move.from_len)
        return grow(move);
    return pages_ops->move(move.from, move.from_len, move.to_len, move.flags, 0);
}

intptr_t moves_make(struct move move)
{
    bool is_shared = shared_contains(move.from);
    intptr_t result = make(move);
    if (is_shared && !os_is_error(result))
        shared_arrived((uintptr_t)result, move.to_len);
    return result;
}
