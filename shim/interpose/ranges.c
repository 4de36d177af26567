/* SPDX-License-Identifier: MIT */
/* Splits ranges at the arena's borders for the doors of address space. Owns nothing. */
#include "interpose/ranges.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/os.h"
#include "memory/arena.h"
#include "memory/foreign.h"

void *to_libc_ptr(intptr_t result)
{
    if (!os_is_error(result))
        return (void *)result;
    errno = (int)-result;
    return MAP_FAILED;
}

int to_libc(intptr_t result)
{
    return to_libc_ptr(result) == MAP_FAILED ? -1 : (int)result;
}

static bool is_page(uintptr_t value)
{
    return !(value & (OS_PAGE_SIZE - 1));
}

int for_each_part(uintptr_t addr, size_t len, int (*inside)(uintptr_t addr, size_t len, int arg),
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

bool overlaps_arena(uintptr_t addr, size_t len)
{
    bool is_inside;
    return arena_split(addr, addr + len, &is_inside) != addr + len || is_inside;
}

bool is_bad_range(uintptr_t addr, size_t len)
{
    return !is_page(addr) || !len || os_page_up(len) < len || addr + os_page_up(len) < addr;
}

bool is_beyond_end(uintptr_t addr, size_t len)
{
    const uintptr_t user_end = ((uintptr_t)1 << 47) - OS_PAGE_SIZE;
    return is_bad_range(addr, len) || (addr < user_end && addr + os_page_up(len) > user_end);
}

static int begin_inside(uintptr_t addr, size_t len, int unused)
{
    arena_replace_begin(addr, len);
    return 0;
}

static int leave_outside(uintptr_t addr, size_t len, int unused)
{
    foreign_leaves(addr, len);
    return 0;
}

void begin_replace(uintptr_t addr, size_t len)
{
    for_each_part(addr, len, begin_inside, leave_outside, 0);
}

void end_replace(uintptr_t addr, size_t len, struct replacement how)
{
    for (uintptr_t end = addr + len, next; addr < end; addr = next) {
        bool is_inside;
        next = arena_split(addr, end, &is_inside);
        if (is_inside)
            arena_replace_end(addr, next - addr, how.prot, how.flags, how.failed);
    }
}
