/* SPDX-License-Identifier: MIT */
/*
 * System calls, raw: no errno, no cancellation points, and never through a symbol that the shim interposes.
 * Each returns the kernel's answer: a value, or -errno. Units and meaning: section 2 of the manual.
 */
#ifndef BASE_OS_H
#define BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OS_PAGE_SHIFT 12
#define OS_PAGE_SIZE ((size_t)1 << OS_PAGE_SHIFT)

static inline bool os_is_error(intptr_t result)
{
    return (uintptr_t)result > (uintptr_t)-4096;
}

static inline uintptr_t os_page_up(uintptr_t value)
{
    return (value + OS_PAGE_SIZE - 1) & ~(OS_PAGE_SIZE - 1);
}

intptr_t os_call(long number, long a, long b, long c, long d, long e, long f);
/* The same by an instruction of ours in any case, and without a thread-local variable: for the watch's thread, which has none. */
intptr_t os_enter(long number, long a, long b, long c, long d, long e, long f);
/* clone(2): what is begun runs `entry`, which does not return, on the stack below `top`, a multiple of 16, and has its number at `tid`. */
intptr_t os_clone(long flags, uintptr_t top, uint32_t *tid, uintptr_t thread_pointer, void (*entry)(void));
/* This thread's calls are made by `syscall`, the C library's, from here on; NULL: by an instruction of ours. */
void os_call_by(long (*syscall)(long number, ...));

intptr_t os_mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset);
int os_munmap(uintptr_t addr, size_t len);
int os_mprotect(uintptr_t addr, size_t len, int prot);
int os_madvise(uintptr_t addr, size_t len, int advice);
intptr_t os_mremap(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t new_addr);
int os_mlock2(uintptr_t addr, size_t len, int flags);
int os_munlock(uintptr_t addr, size_t len);
int os_ioctl(int fd, unsigned long request, void *arg);
int os_open(const char *path, int flags, int mode);
int os_close(int fd);
ssize_t os_read(int fd, void *buf, size_t len);
ssize_t os_write(int fd, const void *buf, size_t len);
/* Calls `visit` with each name in the folder, whose descriptor it gets, too. Returns 0 or -errno. Source: getdents64(2). */
int os_each_name(const char *folder, void (*visit)(int folder, const char *name, void *arg), void *arg);
/* Room in a file; begun anew when a signal ends it, as tmpfs has it. */
int os_fallocate(int fd, off_t offset, off_t len);
int os_getpid(void);
int os_gettid(void);
uint64_t os_monotonic_ns(void);
/* That of the last timer tick, a few milliseconds ago at most, at a tenth of the cost. */
uint64_t os_monotonic_coarse_ns(void);
uint64_t os_thread_ns(void); /* processor time of the calling thread; a system call */

/* Sleeps while *word == value; may return early. */
void os_futex_wait(const void *word, uint32_t value);
void os_futex_wake(const void *word, int nr_waiters);

/* Every signal, but for SIGSYS where this thread's calls are dispatched: blocked, it would end the process. */
uint64_t os_signals_all(void);
/* Blocks them; *saved gets the mask to hand to os_signals_restore. */
void os_signals_block(uint64_t *saved);
void os_signals_restore(const uint64_t *saved);

/* The soft limit of this process, of RLIMIT_AS and the like; UINT64_MAX when unlimited. */
uint64_t os_limit(int resource);
/* Whether this process has CAP_IPC_LOCK in effect. */
bool os_can_lock_all(void);

#endif
