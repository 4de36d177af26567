/* SPDX-License-Identifier: MIT */
/*
 * The doors of address space. A range is split where the arena begins and ends: inside, the arena decides what happens
 * to the pages and keeps the address reserved; outside, memory/foreign.h is told before the kernel's call is made.
 * Results and errno are the kernel's.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "dma/hazards.h"
#include "interpose/lifecycle.h"
#include "memory/arena.h"
#include "profile/stack.h"
#include "memory/foreign.h"

#define RW (PROT_READ | PROT_WRITE)
#define GIB ((size_t)1 << 30)
enum {
    ADVICE_POPULATE_READ = 22,
    ADVICE_POPULATE_WRITE = 23,
    ADVICE_DONTNEED_LOCKED = 24,
    ADVICE_GUARD_INSTALL = 102,
};

static void *to_libc_ptr(intptr_t result)
{
    if (!os_is_error(result))
        return (void *)result;
    errno = (int)-result;
    return MAP_FAILED;
}

static int to_libc(intptr_t result)
{
    return to_libc_ptr(result) == MAP_FAILED ? -1 : (int)result;
}

static bool is_page(uintptr_t value)
{
    return !(value & (OS_PAGE_SIZE - 1));
}

/* Calls `inside` or `outside` for each part of the range; stops at the first error. */
static int for_each_part(uintptr_t addr, size_t len, int (*inside)(uintptr_t addr, size_t len, int arg),
                         int (*outside)(uintptr_t addr, size_t len, int arg), int arg)
{
    int error = 0;
    for (uintptr_t end = addr + len, next; addr < end && !error; addr = next) {
        bool is_inside;
        next = arena_split(addr, end, &is_inside);
        error = is_inside ? inside(addr, next - addr, arg) : outside(addr, next - addr, arg);
    }
    return error;
}

static bool overlaps_arena(uintptr_t addr, size_t len)
{
    bool is_inside;
    return arena_split(addr, addr + len, &is_inside) != addr + len || is_inside;
}

/* What the kernel refuses outright, before it changes anything. */
static bool is_bad_range(uintptr_t addr, size_t len)
{
    return !is_page(addr) || !len || os_page_up(len) < len || addr + os_page_up(len) < addr;
}

/* So do munmap, mmap and mremap what reaches over the end of the address space. (What lies beyond it all, where a kernel
 * with five levels has more, is not the arena's.) */
static bool is_beyond_end(uintptr_t addr, size_t len)
{
    const uintptr_t user_end = ((uintptr_t)1 << 47) - OS_PAGE_SIZE;
    return is_bad_range(addr, len) || (addr < user_end && addr + os_page_up(len) > user_end);
}

/* --- mmap --------------------------------------------------------------------------------------------------------------- */

static bool is_ordinary(int flags)
{
    const int odd = MAP_HUGETLB | MAP_GROWSDOWN | MAP_32BIT;
    return (flags & MAP_TYPE) == MAP_PRIVATE && flags & MAP_ANONYMOUS && !(flags & odd);
}

static unsigned run_flags(int flags)
{
    return !is_ordinary(flags) ? 0 : flags & MAP_NORESERVE ? RUN_ORDINARY | RUN_SPARSE : RUN_ORDINARY;
}

/* Runtimes reserve address space by the hundred GiB: that goes where it would go anyway. */
static bool is_for_arena(size_t len, int prot, int flags)
{
    size_t most = flags & MAP_NORESERVE || prot == PROT_NONE ? 4 * GIB : 64 * GIB;
    return is_ordinary(flags) && len <= most;
}

static intptr_t map_in_arena(size_t len, int prot, int flags, bool *is_full)
{
    size_t whole = os_page_up(len);
    uintptr_t start = arena_map_place_for(whole, prot, run_flags(flags));
    *is_full = !start;
    if (!start)
        return 0;
    intptr_t result = os_mmap(start, len, prot, (flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED, -1, 0);
    if (os_is_error(result))
        arena_map_undo(start, whole);
    else
        arena_map_made(start, whole, prot, run_flags(flags));
    return result;
}

static int begin_replace(uintptr_t addr, size_t len, int unused)
{
    arena_replace_begin(addr, len);
    return 0;
}

static int leave_outside(uintptr_t addr, size_t len, int unused)
{
    foreign_leaves(addr, len);
    return 0;
}

struct replacement {
    int prot;
    unsigned flags;
    bool failed;
};

static void end_replace(uintptr_t addr, size_t len, struct replacement how)
{
    for (uintptr_t end = addr + len, next; addr < end; addr = next) {
        bool is_inside;
        next = arena_split(addr, end, &is_inside);
        if (is_inside)
            arena_replace_end(addr, next - addr, how.prot, how.flags, how.failed);
    }
}

/* Fresh anonymous memory over ordinary memory that a device may be using: zeroed where it is, so that the IOVA that was
 * handed out stays good. */
static bool renew_in_place(uintptr_t addr, size_t len, int prot, int flags)
{
    if (run_flags(flags) != RUN_ORDINARY || !arena_is_used(addr, len, RUN_ORDINARY) || !registry_covers(addr, len))
        return false;
    if (arena_purge(addr, len, MADV_DONTNEED) != 0 || os_mprotect(addr, len, prot) != 0)
        return false;
    arena_protected(addr, len, prot);
    return true;
}

static bool all_free_inside(uintptr_t addr, size_t len)
{
    for (uintptr_t end = addr + len, next; addr < end; addr = next) {
        bool is_inside;
        next = arena_split(addr, end, &is_inside);
        if (is_inside && !arena_is_free(addr, next - addr))
            return false;
        if (!is_inside) /* the kernel says whether that part is free: only when it is all of the range */
            return false;
    }
    return true;
}

/* Whether the kernel would map that at all: what is registered is given up only for a call that succeeds. */
static int try_elsewhere(size_t len, int prot, int flags, int fd, off_t offset)
{
    const int not_here = MAP_FIXED | MAP_POPULATE | MAP_LOCKED;
    intptr_t result = os_mmap(0, len, prot, flags & ~not_here, fd, offset);
    if (os_is_error(result))
        return (int)result;
    return os_munmap((uintptr_t)result, len);
}

static intptr_t map_fixed(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    size_t whole = os_page_up(len);
    if (is_beyond_end(addr, len))
        return os_mmap(addr, len, prot, flags, fd, offset);
    if (!overlaps_arena(addr, whole)) {
        if (flags & MAP_FIXED_NOREPLACE)
            return os_mmap(addr, len, prot, flags, fd, offset);
        int error = registry_covers(addr, whole) ? try_elsewhere(len, prot, flags, fd, offset) : 0;
        if (error)
            return error;
        foreign_leaves(addr, whole);
        return os_mmap(addr, len, prot, flags, fd, offset);
    }
    if (flags & MAP_FIXED_NOREPLACE) { /* what is reserved but nobody's is free to the program */
        if (!all_free_inside(addr, whole))
            return -EEXIST;
        flags = (flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED;
    }
    hazards_look(addr, whole, false);
    if (renew_in_place(addr, whole, prot, flags))
        return (intptr_t)addr;
    if (registry_covers(addr, whole)) {
        int error = try_elsewhere(len, prot, flags, fd, offset);
        if (error)
            return error;
    }
    for_each_part(addr, whole, begin_replace, leave_outside, 0);
    intptr_t result = os_mmap(addr, len, prot, flags, fd, offset);
    end_replace(addr, whole, (struct replacement){prot, run_flags(flags), os_is_error(result)});
    return result;
}

static intptr_t map_anywhere(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
        return map_fixed((uintptr_t)addr, len, prot, flags, fd, offset);
    if (!addr && len && is_for_arena(len, prot, flags)) {
        bool is_full;
        intptr_t result = map_in_arena(len, prot, flags, &is_full);
        if (!is_full)
            return result;
    }
    return os_mmap((uintptr_t)addr, len, prot, flags, fd, offset);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (!lifecycle_enter() || stack_is_unwinder(__builtin_return_address(0)))
        return to_libc_ptr(os_mmap((uintptr_t)addr, len, prot, flags, fd, offset));
    return to_libc_ptr(map_anywhere(addr, len, prot, flags, fd, offset));
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return mmap(addr, len, prot, flags, fd, offset);
}

/* --- munmap ------------------------------------------------------------------------------------------------------------- */

static int unmap_inside(uintptr_t addr, size_t len, int unused)
{
    return arena_unmap(addr, len);
}

static int unmap_outside(uintptr_t addr, size_t len, int unused)
{
    foreign_leaves(addr, len);
    return os_munmap(addr, len);
}

int munmap(void *addr, size_t len)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_beyond_end(start, len))
        return to_libc(os_munmap(start, len));
    hazards_look(start, os_page_up(len), false);
    return to_libc(for_each_part(start, os_page_up(len), unmap_inside, unmap_outside, 0));
}

/* --- mremap ------------------------------------------------------------------------------------------------------------- */

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
    bool is_sound = move->flags & MREMAP_MAYMOVE && (!(move->flags & MREMAP_DONTUNMAP) || move->from_len == move->to_len) &&
                    (!(move->flags & MREMAP_FIXED) || move->to + move->to_len <= move->from ||
                     move->from + move->from_len <= move->to);
    if (is_sound) {
        foreign_leaves(move->from, move->from_len);
        if (registry_covers(move->from, move->from_len) && is_anonymous_outside(move->from, move->from_len, &prot))
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
        return arena_unmap(move->from, move->from_len); /* reserves the address again */
    return 0;
}

static int grow_in_place(uintptr_t addr, size_t old_len, size_t new_len, int prot, unsigned flags)
{
    uintptr_t tail = addr + old_len;
    size_t tail_len = new_len - old_len;
    if (!arena_map_grow(tail, tail_len))
        return -ENOMEM;
    /* The kernel grows a mapping only over nothing: lift the reservation for the moment. */
    os_munmap(tail, tail_len);
    intptr_t result = os_mremap(addr, old_len, new_len, 0, 0);
    if (!os_is_error(result)) {
        arena_map_done(tail, tail_len, prot, flags);
        return 0;
    }
    intptr_t again =
        os_mmap(tail, tail_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (again == (intptr_t)tail) /* else someone else took it in between, and it is theirs for good */
        arena_map_undo(tail, tail_len);
    return (int)result;
}

static intptr_t remap_to_new_place(struct move *move, int prot, unsigned flags)
{
    move->to = arena_map_place(move->to_len);
    if (!move->to)
        return -ENOMEM;
    int error = move_mapping(move, true);
    if (error) {
        arena_unmap(move->to, move->to_len);
        arena_map_undo(move->to, move->to_len);
        return error;
    }
    arena_map_done(move->to, move->to_len, prot, flags);
    return (intptr_t)move->to;
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
    for_each_part(move->to, move->to_len, begin_replace, leave_outside, 0);
    int error = move_mapping(move, from_inside);
    end_replace(move->to, move->to_len, (struct replacement){prot, flags, error != 0});
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
    if (grow_in_place(move->from, move->from_len, move->to_len, prot, flags) == 0)
        return (intptr_t)move->from;
    return move->flags & MREMAP_MAYMOVE ? remap_to_new_place(move, prot, flags) : -ENOMEM;
}

/* What stays where it is keeps its registration. */
static intptr_t remap_outside(struct move *move)
{
    int prot;
    if (move->flags & MREMAP_FIXED && !is_beyond_end(move->to, move->to_len)) {
        if (overlaps_arena(move->to, move->to_len))
            return is_anonymous_outside(move->from, move->from_len, &prot) ? remap_fixed(move, false, prot, RUN_ORDINARY)
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

void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    struct move move = {(uintptr_t)old, os_page_up(old_len), 0, os_page_up(new_len), flags};
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
        move.to = (uintptr_t)va_arg(args, void *);
    va_end(args);
    bool is_plain = !lifecycle_enter() || is_beyond_end(move.from, old_len) || !new_len || move.to_len < new_len || move.to_len >> 47 ||
                    flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP);
    if (is_plain)
        return to_libc_ptr(os_mremap(move.from, old_len, new_len, flags, move.to));
    hazards_look(move.from, move.from_len, false);
    if (!overlaps_arena(move.from, move.from_len))
        return to_libc_ptr(remap_outside(&move));
    if (!arena_is_used(move.from, move.from_len, 0))
        return to_libc_ptr(-EFAULT);
    return to_libc_ptr(remap_inside(&move));
}

/* --- madvise, mprotect ---------------------------------------------------------------------------------------------------- */

static bool takes_pages(int advice)
{
    return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE ||
           advice == ADVICE_DONTNEED_LOCKED || advice == ADVICE_GUARD_INSTALL;
}

/* Guards are the end of what was registered there, the mapping stays. */
static int install_guards(uintptr_t addr, size_t len, int prot)
{
    arena_replace_begin(addr, len);
    int error = os_madvise(addr, len, ADVICE_GUARD_INSTALL);
    arena_replace_end(addr, len, prot, 0, error != 0);
    return error;
}

/* Mapping by mapping: what is reserved and nobody's is none. Advice that takes no pages is the kernel's affair. */
static int advise_used(uintptr_t addr, size_t len, int advice)
{
    bool stops_at_hole = advice == ADVICE_POPULATE_READ || advice == ADVICE_POPULATE_WRITE, has_hole = false;
    int error = os_madvise(addr, 0, advice); /* is it known at all? */
    for (size_t done = 0, run_len; done < len && !error; done += run_len) {
        int prot = arena_protection(addr + done, &run_len);
        run_len = run_len < len - done ? run_len : len - done;
        has_hole |= prot < 0;
        if (prot < 0 && stops_at_hole)
            break;
        if (prot >= 0)
            error = advice == ADVICE_GUARD_INSTALL ? install_guards(addr + done, run_len, prot)
                                                   : os_madvise(addr + done, run_len, advice);
    }
    return !error && has_hole ? -ENOMEM : error;
}

static int advise_inside(uintptr_t addr, size_t len, int advice)
{
    /* MADV_REMOVE is for shared memory, which is never registered here. */
    bool is_purge = takes_pages(advice) && advice != ADVICE_GUARD_INSTALL && advice != MADV_REMOVE;
    return is_purge ? arena_purge(addr, len, advice) : advise_used(addr, len, advice);
}

static int advise_outside(uintptr_t addr, size_t len, int advice)
{
    if (!takes_pages(advice))
        return os_madvise(addr, len, advice);
    if (advice != ADVICE_GUARD_INSTALL && advice != MADV_REMOVE)
        return foreign_purge(addr, len, advice);
    return foreign_empty(addr, len, advice);
}

int madvise(void *addr, size_t len, int advice)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_bad_range(start, len))
        return to_libc(os_madvise(start, len, advice));
    return to_libc(for_each_part(start, os_page_up(len), advise_inside, advise_outside, advice));
}

/* As the kernel does: up to the first hole, and then the error. */
static int protect_inside(uintptr_t addr, size_t len, int prot)
{
    size_t used = arena_is_heap(addr) ? len : 0, run_len;
    while (used < len && arena_protection(addr + used, &run_len) >= 0)
        used += run_len;
    used = used < len ? used : len;
    int error = used ? os_mprotect(addr, used, prot) : 0;
    if (used && !error)
        arena_protected(addr, used, prot);
    return !error && used < len ? -ENOMEM : error;
}

static int protect_outside(uintptr_t addr, size_t len, int prot)
{
    return os_mprotect(addr, len, prot);
}

int mprotect(void *addr, size_t len, int prot)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_bad_range(start, len))
        return to_libc(os_mprotect(start, len, prot));
    return to_libc(for_each_part(start, os_page_up(len), protect_inside, protect_outside, prot));
}

/* --- brk ---------------------------------------------------------------------------------------------------------------- */

static void break_moves_to(uintptr_t new_break)
{
    uintptr_t old_break = (uintptr_t)os_call(SYS_brk, 0, 0, 0, 0, 0, 0);
    if (new_break < old_break)
        foreign_leaves(os_page_up(new_break), os_page_up(old_break) - os_page_up(new_break));
}

int brk(void *addr)
{
    int (*next)(void *) = (int (*)(void *))lifecycle_next("brk");
    if (lifecycle_enter())
        break_moves_to((uintptr_t)addr);
    return next(addr);
}

void *sbrk(intptr_t increment)
{
    void *(*next)(intptr_t) = (void *(*)(intptr_t))lifecycle_next("sbrk");
    if (increment < 0 && lifecycle_enter())
        break_moves_to((uintptr_t)next(0) + (uintptr_t)increment);
    return next(increment);
}
