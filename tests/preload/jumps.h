/* SPDX-License-Identifier: MIT */
/* What a registration cache does to the process that it is in: jumps written over the memory calls, to functions that tell
 * the cache and end in syscall(), as UCX and libfabric do. */
#ifndef TESTS_PRELOAD_JUMPS_H
#define TESTS_PRELOAD_JUMPS_H

#include "expect.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, JUMP_BYTES = 13 };
/* Volatile: the compiler takes mmap to be one that calls nothing in this file. */
static volatile unsigned nr_heard, depth, deepest;

static long enter(long number, long a, long b, long c, long d, long e, long f)
{
    nr_heard++;
    deepest = ++depth > deepest ? depth : deepest;
    long result = depth > 8 ? -1 : syscall(number, a, b, c, d, e, f); /* it would never end */
    depth--;
    return result;
}

static void *hear_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return (void *)enter(SYS_mmap, (long)addr, (long)len, prot, flags, fd, offset);
}

static int hear_munmap(void *addr, size_t len)
{
    return (int)enter(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);
}

static int hear_madvise(void *addr, size_t len, int advice)
{
    return (int)enter(SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0);
}

static void *hear_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)enter(SYS_mremap, (long)old, (long)old_len, (long)new_len, flags, (long)to, 0);
}

static void *hear_shmat(int id, const void *addr, int flags)
{
    return (void *)enter(SYS_shmat, id, (long)addr, flags, 0, 0, 0);
}

static int hear_shmdt(const void *addr)
{
    return (int)enter(SYS_shmdt, (long)addr, 0, 0, 0, 0, 0);
}

/* Over the function. movabs $to, %r11; jmp *%r11 */
__attribute__((unused)) static void write_jump(void *function, uintptr_t to)
{
    unsigned char jump[JUMP_BYTES] = {0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3};
    unsigned char *at = function;
    uintptr_t page = (uintptr_t)at & ~(uintptr_t)(PAGE - 1);
    memcpy(jump + 2, &to, sizeof(to));
    EXPECT(at && syscall(SYS_mprotect, page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    memcpy(at, jump, sizeof(jump));
    EXPECT(syscall(SYS_mprotect, page, 2 * PAGE, PROT_READ | PROT_EXEC) == 0);
}

/* Over all of them, as `find` knows them by their names. */
static void write_jumps(void *(*find)(const char *name))
{
    write_jump(find("mmap"), (uintptr_t)hear_mmap);
    write_jump(find("munmap"), (uintptr_t)hear_munmap);
    write_jump(find("madvise"), (uintptr_t)hear_madvise);
    write_jump(find("mremap"), (uintptr_t)hear_mremap);
    write_jump(find("shmat"), (uintptr_t)hear_shmat);
    write_jump(find("shmdt"), (uintptr_t)hear_shmdt);
}

#endif
