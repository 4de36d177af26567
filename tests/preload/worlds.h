/* SPDX-License-Identifier: MIT */
/*
 * Two worlds that ought to be alike: a window of pages in the arena, changed through libc's functions (the
 * shim's doors), and one elsewhere, changed by system calls that no shim sees. For mmap_differential.c.
 */
#ifndef TESTS_PRELOAD_WORLDS_H
#define TESTS_PRELOAD_WORLDS_H

#include "expect.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, BLOCK = 2 << 20, WINDOW_PAGES = 64, WINDOW_BYTES = WINDOW_PAGES * PAGE, MAX_REGIONS = 6 };

struct world {
    bool has_doors;
    char *window;               /* WINDOW_BYTES, half of them before a multiple of BLOCK */
    int file;                   /* a memfd of WINDOW_BYTES, the same contents in both worlds */
    char *regions[MAX_REGIONS]; /* what was mapped outside of the window, NULL: nothing */
};

/* By inline assembly: no door sees it. Returns what the kernel returns. */
static inline long raw_call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* One of mmap, munmap, mremap, madvise, mprotect, mlock, munlock in that world. Returns as the kernel: a
 * value or -errno. `by_syscall`: through libc's syscall(). */
static inline long world_call(const struct world *world, bool by_syscall, long number, const long args[6])
{
    void *addr = (void *)args[0];
    size_t len = (size_t)args[1];
    long result = -1;
    if (!world->has_doors)
        return raw_call(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    errno = 0;
    if (by_syscall)
        result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    else if (number == SYS_mmap)
        result = (long)mmap(addr, len, (int)args[2], (int)args[3], (int)args[4], args[5]);
    else if (number == SYS_munmap)
        result = munmap(addr, len);
    else if (number == SYS_mremap)
        result = (long)mremap(addr, len, (size_t)args[2], (int)args[3], (void *)args[4]);
    else if (number == SYS_madvise)
        result = madvise(addr, len, (int)args[2]);
    else if (number == SYS_mprotect)
        result = mprotect(addr, len, (int)args[2]);
    else if (number == SYS_mlock)
        result = mlock(addr, len);
    else if (number == SYS_munlock)
        result = munlock(addr, len);
    return result == -1 ? -errno : result;
}

enum access { ACCESS_NONE, ACCESS_READ, ACCESS_WRITE };

/* What the CPU may do with the page; copies it if it can be read. */
static inline enum access look_at_page(const char *page, char copy[PAGE])
{
    struct iovec here = {copy, PAGE}, there = {(void *)(uintptr_t)page, PAGE};
    if (raw_call(SYS_process_vm_readv, getpid(), (long)&here, 1, (long)&there, 1, 0) != PAGE)
        return ACCESS_NONE;
    here.iov_len = there.iov_len = 1; /* a byte over itself */
    return raw_call(SYS_process_vm_writev, getpid(), (long)&here, 1, (long)&there, 1, 0) == 1 ? ACCESS_WRITE
                                                                                              : ACCESS_READ;
}

/* A window in the middle of 6 MiB of ordinary memory, and a file. */
static inline void world_make(struct world *world, bool has_doors)
{
    const int rw = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const uintptr_t far_away = UINT64_C(1) << 44; /* where the kernel places nothing by itself */
    long around = has_doors
                      ? (long)mmap(NULL, 3 * BLOCK, rw, flags, -1, 0)
                      : raw_call(SYS_mmap, (long)far_away, 3 * BLOCK, rw, flags | MAP_FIXED_NOREPLACE, -1, 0);
    world->has_doors = has_doors;
    world->window = (char *)around + BLOCK - WINDOW_BYTES / 2;
    world->file = memfd_create("file", 0);
    for (unsigned i = 0; i < WINDOW_PAGES; i++) {
        unsigned content[PAGE / sizeof(unsigned)];
        for (size_t at = 0; at < PAGE / sizeof(unsigned); at++)
            content[at] = 0xf11e0000 + i;
        if (write(world->file, content, PAGE) != PAGE)
            abort();
    }
}

#endif
