/* SPDX-License-Identifier: MIT */
/*
 * The doors of address space. A range is split where the arena begins and ends: inside, the arena decides what happens
 * to the pages and to their addresses; outside, memory/foreign.h is told before the kernel's call is made.
 * Results and errno are the kernel's.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/os.h"
#include "dma/hazards.h"
#include "interpose/doors.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/patched.h"
#include "interpose/ranges.h"
#include "memory/arena.h"
#include "memory/files.h"
#include "memory/foreign.h"
#include "profile/placed.h"
#include "profile/stack.h"

#define GIB ((size_t)1 << 30)
enum {
    ADVICE_POPULATE_READ = 22,
    ADVICE_POPULATE_WRITE = 23,
    ADVICE_DONTNEED_LOCKED = 24,
    ADVICE_GUARD_INSTALL = 102,
};

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

/* Fresh anonymous memory over ordinary memory that a device may be using: zeroed where it is, so that the IOVA that was
 * handed out stays good. */
static bool renew_in_place(uintptr_t addr, size_t len, int prot, int flags)
{
    if (run_flags(flags) != RUN_ORDINARY || !arena_is_used(addr, len, RUN_ORDINARY) ||
        !registry_covers(addr, len))
        return false;
    if (os_mprotect(addr, len, prot) != 0) /* sealed, perhaps: the kernel's own call says so */
        return false;
    arena_protected(addr, len, prot);
    return arena_purge(addr, len, MADV_DONTNEED) == 0;
}

/* In the arena, if nothing is mapped there; else -EEXIST. */
static intptr_t map_if_free(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    size_t whole = os_page_up(len);
    if (!arena_claim(addr, whole))
        return -EEXIST;
    intptr_t result = os_mmap(addr, len, prot, flags, fd, offset);
    arena_replace_end(addr, whole, prot, run_flags(flags), result != (intptr_t)addr);
    return result;
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

/* Eager mode's word on memory that is made accessible where it is. */
static int admit(uintptr_t addr, size_t len, int prot, unsigned flags)
{
    const int rw = PROT_READ | PROT_WRITE;
    return (prot & rw) == rw && flags == RUN_ORDINARY ? registry_admit(addr, len) : 0;
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
        intptr_t result = os_mmap(addr, len, prot, flags, fd, offset);
        registry_mapping_left();
        return result;
    }
    if (flags & MAP_FIXED_NOREPLACE)
        return map_if_free(addr, len, prot, flags, fd, offset);
    hazards_look(addr, whole, false);
    if (renew_in_place(addr, whole, prot, flags))
        return (intptr_t)addr;
    int error = admit(addr, whole, prot, run_flags(flags));
    if (!error && registry_covers(addr, whole))
        error = try_elsewhere(len, prot, flags, fd, offset);
    if (error)
        return error;
    begin_replace(addr, whole);
    intptr_t result = os_mmap(addr, len, prot, flags, fd, offset);
    end_replace(addr, whole, (struct replacement){prot, run_flags(flags), os_is_error(result)});
    return result;
}

static intptr_t map_anywhere(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
        return map_fixed((uintptr_t)addr, len, prot, flags, fd, offset);
    uintptr_t hint = (uintptr_t)addr & ~(OS_PAGE_SIZE - 1);
    if (hint && !is_beyond_end(hint, len) && overlaps_arena(hint, os_page_up(len))) {
        intptr_t result = map_if_free(hint, len, prot, flags, fd, offset);
        if (result != -EEXIST)
            return result;
        hint = 0;
    }
    if (!hint && len && is_for_arena(len, prot, flags)) {
        intptr_t result = arena_map(os_page_up(len), prot, flags, run_flags(flags));
        if (result != -ENOSPC)
            return result;
    }
    return os_mmap(hint, len, prot, flags, fd, offset);
}

/* Tells the sampler of a mapping, which may lie where another one was. */
static void note_placed(uintptr_t addr, size_t len)
{
    placed_remove(addr, len);
    if (arena_contains(addr))
        placed_add(addr, len);
}

void *door_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset, const void *caller)
{
    if (!lifecycle_enter() || stack_is_unwinder(caller))
        return to_libc_ptr(os_mmap((uintptr_t)addr, len, prot, flags, fd, offset));
    intptr_t result = map_anywhere(addr, len, prot, flags, fd, offset);
    if (__builtin_expect(placed_is_on, 0) && !os_is_error(result))
        note_placed((uintptr_t)result, os_page_up(len));
    return to_libc_ptr(result);
}

static inline void *map(void *addr, size_t len, int prot, int flags, int fd, off_t offset, const void *caller)
{
    __typeof__(mmap) *patched = (__typeof__(mmap) *)patched_function(PATCHED_MMAP);
    return patched && !stack_is_unwinder(caller) ? patched(addr, len, prot, flags, fd, offset)
                                                 : door_mmap(addr, len, prot, flags, fd, offset, caller);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return map(addr, len, prot, flags, fd, offset, __builtin_return_address(0));
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return map(addr, len, prot, flags, fd, offset, __builtin_return_address(0));
}

/* --- munmap ------------------------------------------------------------------------------------------------------------- */

static int unmap_inside(uintptr_t addr, size_t len, int unused)
{
    return arena_unmap(addr, len);
}

static int unmap_outside(uintptr_t addr, size_t len, int unused)
{
    foreign_leaves(addr, len);
    int error = os_munmap(addr, len);
    registry_mapping_left();
    return error;
}

int door_munmap(void *addr, size_t len)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_beyond_end(start, len))
        return to_libc(os_munmap(start, len));
    hazards_look(start, os_page_up(len), false);
    if (__builtin_expect(placed_is_on, 0))
        placed_remove(start, os_page_up(len));
    return to_libc(for_each_part(start, os_page_up(len), unmap_inside, unmap_outside, 0));
}

int munmap(void *addr, size_t len)
{
    __typeof__(munmap) *patched = (__typeof__(munmap) *)patched_function(PATCHED_MUNMAP);
    return patched ? patched(addr, len) : door_munmap(addr, len);
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

/* Mapping by mapping: where nothing is mapped there is none. Advice that takes no pages is the kernel's affair. */
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
    /* MADV_REMOVE is for shared memory: never registered here, but mapped elsewhere perhaps. */
    bool is_purge = takes_pages(advice) && advice != ADVICE_GUARD_INSTALL && advice != MADV_REMOVE;
    if (advice == MADV_REMOVE && arena_is_used(addr, len, 0))
        return files_remove(addr, len);
    return is_purge ? arena_purge(addr, len, advice) : advise_used(addr, len, advice);
}

static int advise_outside(uintptr_t addr, size_t len, int advice)
{
    if (!takes_pages(advice))
        return os_madvise(addr, len, advice);
    if (advice == MADV_REMOVE)
        return files_remove(addr, len);
    return advice == ADVICE_GUARD_INSTALL ? foreign_empty(addr, len, advice)
                                          : foreign_purge(addr, len, advice);
}

int door_madvise(void *addr, size_t len, int advice)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_bad_range(start, len))
        return to_libc(os_madvise(start, len, advice));
    return to_libc(for_each_part(start, os_page_up(len), advise_inside, advise_outside, advice));
}

int madvise(void *addr, size_t len, int advice)
{
    __typeof__(madvise) *patched = (__typeof__(madvise) *)patched_function(PATCHED_MADVISE);
    return patched ? patched(addr, len, advice) : door_madvise(addr, len, advice);
}

enum { NO_KEY = -1 };

static int protect(uintptr_t addr, size_t len, int prot, int key)
{
    return key == NO_KEY ? os_mprotect(addr, len, prot)
                         : (int)os_call(SYS_pkey_mprotect, (long)addr, (long)len, prot, key, 0, 0);
}

/* As the kernel does: up to the first hole, and then the error. */
static int protect_inside(uintptr_t addr, size_t len, int prot, int key)
{
    size_t used = arena_is_heap(addr) ? len : 0, run_len;
    while (used < len && arena_protection(addr + used, &run_len) >= 0)
        used += run_len;
    used = used < len ? used : len;
    int error = used ? admit(addr, used, prot, RUN_ORDINARY) : 0;
    if (used && !error)
        error = protect(addr, used, prot, key);
    if (used && !error)
        arena_protected(addr, used, prot);
    return !error && used < len ? -ENOMEM : error;
}

int door_mprotect(void *addr, size_t len, int prot, int key)
{
    uintptr_t start = (uintptr_t)addr;
    int error = 0;
    if (!lifecycle_enter() || is_bad_range(start, len))
        return to_libc(protect(start, len, prot, key));
    for (uintptr_t end = start + os_page_up(len), next; start < end && !error; start = next) {
        bool is_inside;
        next = arena_split(start, end, &is_inside);
        error = is_inside ? protect_inside(start, next - start, prot, key)
                          : protect(start, next - start, prot, key);
    }
    return to_libc(error);
}

int mprotect(void *addr, size_t len, int prot)
{
    return door_mprotect(addr, len, prot, NO_KEY);
}

int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
    return door_mprotect(addr, len, prot, key);
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
    if (lifecycle_enter())
        break_moves_to((uintptr_t)addr);
    return next_libc()->brk(addr);
}

void *sbrk(intptr_t increment)
{
    if (increment < 0 && lifecycle_enter())
        break_moves_to((uintptr_t)next_libc()->sbrk(0) + (uintptr_t)increment);
    return next_libc()->sbrk(increment);
}
