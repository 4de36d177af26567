/* SPDX-License-Identifier: MIT */
/* mremap's door. What is registered stays where it is and its contents are copied, so that an IOVA never leads to a page
 * that has moved; the rest is moved by the kernel. Results and errno are the kernel's. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "base/procmaps.h"
#include "dma/hazards.h"
#include "interpose/doors.h"
#include "interpose/patched.h"
#include "interpose/lifecycle.h"
#include "interpose/ranges.h"
#include "memory/arena.h"
#include "memory/foreign.h"
#include "profile/placed.h"

#define RW (PROT_READ | PROT_WRITE)

struct move {
    uintptr_t from;
    size_t from_len;
    uintptr_t to;
    size_t to_len;
    int flags;
};

/* Whether one private anonymous mapping, not the arena's, holds all of the range. */
static bool is_anonymous_outside(uintptr_t addr, size_t len, int *prot)
{
    struct procmaps_entry entry;
    if (procmaps_find(addr, &entry) != 0 || entry.end < addr + len || entry.is_shared || entry.is_file)
        return false;
    *prot = entry.prot;
    return true;
}

/* The same for memory outside the arena of which a part is still registered, with what lies beside it. */
static intptr_t copy_outside(const struct move *move, int prot)
{
    size_t len = move->from_len < move->to_len ? move->from_len : move->to_len;
    int fixed = move->flags & MREMAP_FIXED ? MAP_FIXED : 0;
    intptr_t to = os_mmap(move->to, move->to_len, RW, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (os_is_error(to))
        return to;
    if (!(prot & PROT_READ))
        os_mprotect(move->from, move->from_len, prot | PROT_READ);
    memcpy((void *)to, (void *)move->from, len);
    if (prot != RW)
        os_mprotect((uintptr_t)to, move->to_len, prot);
    if (move->flags & MREMAP_DONTUNMAP)
        os_mmap(move->from, move->from_len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    else
        os_munmap(move->from, move->from_len);
    return to;
}

/* From outside the arena, to anywhere. */
static intptr_t move_outside(const struct move *move)
{
    int prot;
    bool is_sound = move->flags & MREMAP_MAYMOVE &&
                    (!(move->flags & MREMAP_DONTUNMAP) || move->from_len == move->to_len) &&
                    (!(move->flags & MREMAP_FIXED) || move->to + move->to_len <= move->from ||
                     move->from + move->from_len <= move->to);
    if (is_sound) {
        foreign_leaves(move->from, move->from_len);
        if (registry_covers(move->from, move->from_len) &&
            is_anonymous_outside(move->from, move->from_len, &prot))
            return copy_outside(move, prot);
    }
    return os_mremap(move->from, move->from_len, move->to_len, move->flags, move->to);
}

/* The pages that are registered stay where they are: their contents move. */
static int move_by_copy(const struct move *move)
{
    size_t done = 0, total = move->from_len < move->to_len ? move->from_len : move->to_len, run_len;
    int prot = arena_protection(move->from, &run_len);
    intptr_t got = os_mmap(move->to, move->to_len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (os_is_error(got))
        return (int)got;
    for (; done < total; done += run_len) {
        int from_prot = arena_protection(move->from + done, &run_len);
        run_len = run_len < total - done ? run_len : total - done;
        if (!(from_prot & PROT_READ))
            os_mprotect(move->from + done, run_len, from_prot | PROT_READ);
        memcpy((void *)(move->to + done), (void *)(move->from + done), run_len);
        if (!(from_prot & PROT_READ))
            os_mprotect(move->from + done, run_len, from_prot);
    }
    if (prot != RW)
        os_mprotect(move->to, move->to_len, prot);
    if (move->flags & MREMAP_DONTUNMAP) {
        os_munlock(move->from, move->from_len); /* as the kernel; and what is locked is not purged */
        return arena_purge(move->from, move->from_len, MADV_DONTNEED);
    }
    return arena_unmap(move->from, move->from_len);
}

/* Moves the mapping to move->to, where there is nothing that matters any more. */
static int move_mapping(const struct move *move, bool from_inside)
{
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (move->flags & MREMAP_DONTUNMAP);
    bool is_registered = from_inside && registry_covers(move->from, move->from_len);
    if (is_registered && arena_is_ordinary(move->from, move->from_len))
        return move_by_copy(move);
    if (!from_inside) {
        intptr_t moved = move_outside(move);
        return os_is_error(moved) ? (int)moved : 0;
    }
    bool is_replaced = is_registered && move->flags & MREMAP_DONTUNMAP; /* guards among what is registered */
    size_t run_len;
    int prot = is_replaced ? arena_protection(move->from, &run_len) : 0;
    if (is_replaced)
        arena_replace_begin(move->from, move->from_len);
    intptr_t result = os_mremap(move->from, move->from_len, move->to_len, flags, move->to);
    if (is_replaced)
        arena_replace_end(move->from, move->from_len, prot, 0, os_is_error(result));
    if (os_is_error(result))
        return (int)result;
    if (from_inside && !(move->flags & MREMAP_DONTUNMAP))
        return arena_unmap(move->from, move->from_len);
    return 0;
}

/* -ENOMEM where there is no room; any other reason of the kernel's comes first. */
static intptr_t grow_in_place(uintptr_t addr, size_t old_len, size_t new_len, int prot, unsigned flags)
{
    uintptr_t tail = addr + old_len;
    size_t tail_len = new_len - old_len;
    if (!arena_claim(tail, tail_len)) {
        intptr_t result = os_mremap(addr, old_len, old_len, 0, 0);
        return os_is_error(result) ? result : -ENOMEM;
    }
    intptr_t result = os_mremap(addr, old_len, new_len, 0, 0);
    arena_replace_end(tail, tail_len, prot, flags, os_is_error(result));
    return result;
}

static intptr_t remap_to_new_place(struct move *move, int prot, unsigned flags)
{
    move->to = arena_map_place(move->to_len);
    if (!move->to)
        return -ENOMEM;
    int error = move_mapping(move, true);
    if (error) {
        arena_map_give(move->to, move->to_len);
        return error;
    }
    arena_map_done(move->to, move->to_len, prot, flags);
    return (intptr_t)move->to;
}

/* The kernel may unmap the destination before it finds that it can't move: what is gone is the program's no more. */
static int drop_unmapped(uintptr_t addr, size_t len, int unused)
{
    for (size_t done = 0, run_len; done < len; done += run_len) {
        int prot = arena_protection(addr + done, &run_len);
        run_len = run_len < len - done ? run_len : len - done;
        if (prot >= 0 && os_call(SYS_msync, (long)(addr + done), (long)run_len, MS_ASYNC, 0, 0, 0) == -ENOMEM)
            arena_unmap(addr + done, run_len);
    }
    return 0;
}

static int leave_alone(uintptr_t addr, size_t len, int unused)
{
    return 0;
}

static intptr_t remap_fixed(struct move *move, bool from_inside, int prot, unsigned flags)
{
    bool overlaps = move->from < move->to + move->to_len && move->to < move->from + move->from_len;
    if (is_beyond_end(move->to, move->to_len) || overlaps || !(move->flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if (from_inside && move->to_len < move->from_len && !(move->flags & MREMAP_DONTUNMAP)) {
        int error = arena_unmap(move->from + move->to_len, move->from_len - move->to_len);
        if (error)
            return error;
        move->from_len = move->to_len;
    }
    begin_replace(move->to, move->to_len);
    int error = move_mapping(move, from_inside);
    end_replace(move->to, move->to_len, (struct replacement){prot, flags, error != 0});
    if (error)
        for_each_part(move->to, move->to_len, drop_unmapped, leave_alone, 0);
    return error ? error : (intptr_t)move->to;
}

static intptr_t remap_inside(struct move *move)
{
    size_t run_len;
    int prot = arena_protection(move->from, &run_len);
    unsigned flags = arena_is_ordinary(move->from, move->from_len) ? RUN_ORDINARY : 0;
    if (move->flags & MREMAP_FIXED)
        return remap_fixed(move, true, prot, flags);
    if (move->flags & MREMAP_DONTUNMAP) {
        if (move->from_len != move->to_len || !(move->flags & MREMAP_MAYMOVE))
            return -EINVAL;
        return remap_to_new_place(move, prot, flags);
    }
    if (move->to_len <= move->from_len) {
        int error = move->to_len < move->from_len
                        ? arena_unmap(move->from + move->to_len, move->from_len - move->to_len)
                        : 0;
        return error ? error : (intptr_t)move->from;
    }
    bool is_offered = flags == RUN_ORDINARY && (prot & RW) == RW;
    intptr_t result = is_offered ? registry_admit(0, move->to_len - move->from_len) : 0;
    if (result)
        return result;
    result = grow_in_place(move->from, move->from_len, move->to_len, prot, flags);
    return result == -ENOMEM && move->flags & MREMAP_MAYMOVE ? remap_to_new_place(move, prot, flags) : result;
}

/* What stays where it is keeps its registration. */
static intptr_t remap_outside(struct move *move)
{
    int prot;
    if (move->flags & MREMAP_FIXED && !is_beyond_end(move->to, move->to_len)) {
        if (overlaps_arena(move->to, move->to_len))
            return is_anonymous_outside(move->from, move->from_len, &prot)
                       ? remap_fixed(move, false, prot, RUN_ORDINARY)
                       : remap_fixed(move, false, RW, 0);
        foreign_leaves(move->to, move->to_len);
    } else if (!(move->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
        if (move->to_len < move->from_len)
            foreign_leaves(move->from + move->to_len, move->from_len - move->to_len);
        intptr_t stayed = os_mremap(move->from, move->from_len, move->to_len, 0, 0);
        if (!os_is_error(stayed) || !(move->flags & MREMAP_MAYMOVE))
            return stayed;
    }
    return move_outside(move);
}

/* A mapping that was a sample is one where it is now. */
static intptr_t moved(const struct move *move, intptr_t result)
{
    if (!__builtin_expect(placed_is_on, 0) || os_is_error(result))
        return result;
    bool was_sample = move->from_len && !(move->flags & MREMAP_DONTUNMAP)
                          ? placed_remove(move->from, move->from_len)
                          : false;
    if (was_sample && arena_contains((uintptr_t)result))
        placed_add((uintptr_t)result, move->to_len);
    return result;
}

void *door_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    struct move move = {(uintptr_t)old, os_page_up(old_len), 0, os_page_up(new_len), flags};
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
        move.to = (uintptr_t)to;
    const struct move asked = move;
    bool is_plain = !lifecycle_enter() || is_beyond_end(move.from, old_len) || !new_len ||
                    move.to_len < new_len || move.to_len >> 47 ||
                    flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP);
    if (is_plain)
        return to_libc_ptr(os_mremap(move.from, old_len, new_len, flags, move.to));
    hazards_look(move.from, move.from_len, false);
    if (!overlaps_arena(move.from, move.from_len))
        return to_libc_ptr(moved(&asked, remap_outside(&move)));
    if (!arena_is_used(move.from, move.from_len, 0))
        return to_libc_ptr(-EFAULT);
    return to_libc_ptr(moved(&asked, remap_inside(&move)));
}

void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    void *to = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) ? va_arg(args, void *) : NULL;
    va_end(args);
    __typeof__(mremap) *patched = (__typeof__(mremap) *)patched_function(PATCHED_MREMAP);
    return patched ? patched(old, old_len, new_len, flags, to) : door_mremap(old, old_len, new_len, flags, to);
}
