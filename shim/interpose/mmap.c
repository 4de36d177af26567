/* SPDX-License-Identifier: MIT */
/*
 * The doors of address space. What becomes of pages and addresses is the business of memory/, arena or not; results and
 * errno are the kernel's.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/os.h"
#include "dma/eager.h"
#include "dma/hazards.h"
#include "dma/registry.h"
#include "interpose/doors.h"
#include "interpose/lifecycle.h"
#include "interpose/locked.h"
#include "interpose/next.h"
#include "interpose/patched.h"
#include "interpose/ranges.h"
#include "memory/arena.h"
#include "memory/foreign.h"
#include "memory/mappings.h"
#include "memory/moves.h"
#include "memory/owners.h"
#include "memory/places.h"
#include "memory/shared.h"
#include "profile/placed.h"
#include "profile/stack.h"

#define GIB ((size_t)1 << 30)

/* --- mmap --------------------------------------------------------------------------------------------------------------- */

static bool is_ordinary(int flags)
{
    const int odd = MAP_HUGETLB | MAP_GROWSDOWN | MAP_32BIT;
    return (flags & MAP_TYPE) == MAP_PRIVATE && flags & MAP_ANONYMOUS && !(flags & odd);
}

static unsigned page_flags(int flags)
{
    return !is_ordinary(flags) ? 0 : flags & MAP_NORESERVE ? PAGE_ORDINARY | PAGE_SPARSE : PAGE_ORDINARY;
}

/* Runtimes reserve address space by the hundred GiB: that goes where it would go anyway. */
static bool is_for_arena(size_t len, int prot, int flags)
{
    size_t most = flags & MAP_NORESERVE || prot == PROT_NONE ? 4 * GIB : 64 * GIB;
    return is_ordinary(flags) && len <= most;
}

/* In the arena, if nothing is mapped there; else -EEXIST. */
static intptr_t map_if_free(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    size_t whole = os_page_up(len);
    struct page_kind kind = places_kind(whole, prot, page_flags(flags));
    if (!mappings_claim(addr, whole))
        return -EEXIST;
    intptr_t result = pages_ops->map(addr, len, prot, flags, fd, offset);
    mappings_end(addr, whole, result == (intptr_t)addr ? PAGE_REPLACED : PAGE_FAILED, &kind);
    return result;
}

static intptr_t map_fixed(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    size_t whole = os_page_up(len);
    struct page_kind kind = places_kind(whole, prot, page_flags(flags));
    bool is_ours = !is_beyond_end(addr, len) && owners_overlap_arena(addr, whole);
    if (flags & MAP_FIXED_NOREPLACE)
        return is_ours ? map_if_free(addr, len, prot, flags, fd, offset)
                       : os_mmap(addr, len, prot, flags, fd, offset);
    if (is_beyond_end(addr, len))
        return os_mmap(addr, len, prot, flags, fd, offset);
    if (is_ours) {
        hazards_look(addr, whole, false);
        bool is_locked = flags & MAP_LOCKED || locked_is_future();
        if (page_is_plain(kind) && mappings_renew(addr, whole, prot, is_locked))
            return (intptr_t)addr;
        int error = mappings_admit(addr, whole, &kind);
        if (error)
            return error;
    }
    owners_begin(addr, whole, PAGE_REPLACING);
    intptr_t result = pages_ops->map(addr, len, prot, flags, fd, offset);
    owners_end(addr, whole, os_is_error(result) ? PAGE_FAILED : PAGE_REPLACED, &kind);
    return result;
}

/* In a hole of a live registration nothing else can be registered. Eager mode, which registers all that is handed out, takes a
 * hint there for what it is: no more than that. */
static bool is_for_hint(uintptr_t hint, size_t len)
{
    return !eager_is_on() || !registry_covers(hint, len);
}

static intptr_t map_anywhere(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
        return map_fixed((uintptr_t)addr, len, prot, flags, fd, offset);
    uintptr_t hint = (uintptr_t)addr & ~(OS_PAGE_SIZE - 1);
    if (hint && !is_beyond_end(hint, len) && owners_overlap_arena(hint, os_page_up(len))) {
        bool is_taken = is_ordinary(flags) && !is_for_hint(hint, os_page_up(len));
        intptr_t result = is_taken ? -EEXIST : map_if_free(hint, len, prot, flags, fd, offset);
        if (result != -EEXIST)
            return result;
        hint = 0;
    }
    if (!hint && len && is_for_arena(len, prot, flags)) {
        intptr_t result = places_map(os_page_up(len), prot, flags, page_flags(flags));
        if (result != -ENOSPC)
            return result;
    }
    return os_mmap(hint, len, prot, flags, fd, offset);
}

/* Where the kernel chooses, shared memory that eager mode registers lies in no hole: it is mapped once more while the first
 * mapping fills that. */
static intptr_t map_beside_holes(void *addr, size_t len, int prot, int flags, int fd, off_t offset,
                                 int nr_tries)
{
    intptr_t result = map_anywhere(addr, len, prot, flags, fd, offset);
    if ((flags & MAP_TYPE) == MAP_PRIVATE || addr || !nr_tries || os_is_error(result) ||
        !shared_is_in_hole((uintptr_t)result, os_page_up(len), flags, fd))
        return result;
    intptr_t other = map_beside_holes(addr, len, prot, flags, fd, offset, nr_tries - 1);
    os_munmap((uintptr_t)result, len);
    return other;
}

/* Shared memory, which eager mode may not have been able to register. */
static intptr_t note_shared(intptr_t addr, size_t len, int prot, int flags, int fd)
{
    int error = shared_mapped((uintptr_t)addr, len, prot, flags, fd);
    if (error)
        owners_unmap((uintptr_t)addr, len);
    return error ? error : addr;
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
    enum { MOST_HOLES = 8 };
    intptr_t result = map_beside_holes(addr, len, prot, flags, fd, offset, MOST_HOLES);
    if ((flags & MAP_TYPE) != MAP_PRIVATE && !os_is_error(result))
        result = note_shared(result, os_page_up(len), prot, flags, fd);
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

/* --- munmap, mremap ------------------------------------------------------------------------------------------------------- */

int door_munmap(void *addr, size_t len)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_beyond_end(start, len))
        return to_libc(os_munmap(start, len));
    hazards_look(start, os_page_up(len), false);
    if (__builtin_expect(placed_is_on, 0))
        placed_remove(start, os_page_up(len));
    return to_libc(owners_unmap(start, os_page_up(len)));
}

int munmap(void *addr, size_t len)
{
    __typeof__(munmap) *patched = (__typeof__(munmap) *)patched_function(PATCHED_MUNMAP);
    return patched ? patched(addr, len) : door_munmap(addr, len);
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

/* What the kernel refuses for the addresses alone. */
static bool is_bad_move(const struct move *move, size_t old_len, size_t new_len)
{
    return (old_len ? is_beyond_end(move->from, old_len) : move->from & (OS_PAGE_SIZE - 1)) || !new_len ||
           is_beyond_end(move->flags & MREMAP_FIXED ? move->to : 0, new_len);
}

void *door_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    struct move move = {(uintptr_t)old, os_page_up(old_len), (uintptr_t)to, os_page_up(new_len), flags};
    if (!lifecycle_enter() || is_bad_move(&move, old_len, new_len))
        return to_libc_ptr(os_mremap(move.from, old_len, new_len, flags, move.to));
    hazards_look(move.from, move.from_len, false);
    return to_libc_ptr(moved(&move, moves_make(move)));
}

void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    void *to = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) ? va_arg(args, void *) : NULL;
    va_end(args);
    __typeof__(mremap) *patched = (__typeof__(mremap) *)patched_function(PATCHED_MREMAP);
    return patched ? patched(old, old_len, new_len, flags, to)
                   : door_mremap(old, old_len, new_len, flags, to);
}

/* --- madvise, mprotect ---------------------------------------------------------------------------------------------------- */

int door_madvise(void *addr, size_t len, int advice)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_bad_range(start, len))
        return to_libc(os_madvise(start, len, advice));
    return to_libc(owners_advise(start, os_page_up(len), advice));
}

int madvise(void *addr, size_t len, int advice)
{
    __typeof__(madvise) *patched = (__typeof__(madvise) *)patched_function(PATCHED_MADVISE);
    return patched ? patched(addr, len, advice) : door_madvise(addr, len, advice);
}

int door_mprotect(void *addr, size_t len, int prot, int key)
{
    uintptr_t start = (uintptr_t)addr;
    if (!lifecycle_enter() || is_bad_range(start, len))
        return to_libc(pages_ops->protect(start, len, prot, key));
    return to_libc(owners_protect(start, os_page_up(len), prot, key));
}

int mprotect(void *addr, size_t len, int prot)
{
    return door_mprotect(addr, len, prot, -1);
}

int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
    return door_mprotect(addr, len, prot, key);
}

/* --- brk ---------------------------------------------------------------------------------------------------------------- */

/* The pages that a break at `new_break` takes. */
static size_t pages_below_break(uintptr_t new_break)
{
    uintptr_t old_end = os_page_up((uintptr_t)os_call(SYS_brk, 0, 0, 0, 0, 0, 0));
    return lifecycle_enter() && os_page_up(new_break) < old_end ? old_end - os_page_up(new_break) : 0;
}

int brk(void *addr)
{
    uintptr_t start = os_page_up((uintptr_t)addr);
    size_t len = pages_below_break((uintptr_t)addr);
    if (len)
        foreign_begin(start, len);
    int result = next_libc()->brk(addr);
    if (len)
        foreign_end(start, len, result != 0);
    return result;
}

void *sbrk(intptr_t increment)
{
    uintptr_t new_break = increment < 0 ? (uintptr_t)next_libc()->sbrk(0) + (uintptr_t)increment : 0;
    size_t len = increment < 0 ? pages_below_break(new_break) : 0;
    if (len)
        foreign_begin(os_page_up(new_break), len);
    void *result = next_libc()->sbrk(increment);
    if (len)
        foreign_end(os_page_up(new_break), len, result == (void *)-1);
    return result;
}
