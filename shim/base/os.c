/* SPDX-License-Identifier: MIT */
/* The raw system calls. With iommu/, the only code that enters the kernel. Owns no state and no lock. */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef __x86_64__
#error "anydma knows the x86-64 system call convention only"
#endif

static _Thread_local long (*made_by)(long number, ...) __attribute__((tls_model("initial-exec")));

void os_call_by(long (*syscall)(long number, ...))
{
    made_by = syscall;
}

__attribute__((noinline, cold)) static intptr_t call_by_libc(long number, long a, long b, long c, long d,
                                                             long e, long f)
{
    int saved = errno;
    long result = made_by(number, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}

intptr_t os_call(long number, long a, long b, long c, long d, long e, long f)
{
    return __builtin_expect(made_by != NULL, 0) ? call_by_libc(number, a, b, c, d, e, f)
                                                : os_enter(number, a, b, c, d, e, f);
}

intptr_t os_enter(long number, long a, long b, long c, long d, long e, long f)
{
    intptr_t result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* The C library's returns on the new stack, to what lies on it; `entry` finds the stack as a call leaves it. */
static intptr_t clone_by_libc(long flags, uintptr_t top, uint32_t *tid, uintptr_t thread_pointer,
                              void (*entry)(void))
{
    uintptr_t *stack = (uintptr_t *)(top - 2 * sizeof(*stack));
    stack[0] = (uintptr_t)entry;
    return call_by_libc(SYS_clone, flags, (long)stack, (long)tid, (long)tid, (long)thread_pointer, 0);
}

intptr_t os_clone(long flags, uintptr_t top, uint32_t *tid, uintptr_t thread_pointer, void (*entry)(void))
{
    intptr_t result;
    register long child_tid __asm__("r10") = (long)tid;
    register long tls __asm__("r8") = (long)thread_pointer;
    if (made_by)
        return clone_by_libc(flags, top, tid, thread_pointer, entry);
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%[entry]\n\t"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone), "D"(flags), "S"(top), "d"((long)tid), "r"(child_tid),
                       "r"(tls), [entry] "b"(entry)
                     : "rcx", "r11", "memory");
    return result;
}

intptr_t os_mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return os_call(SYS_mmap, (long)addr, (long)len, prot, flags, fd, offset);
}

int os_munmap(uintptr_t addr, size_t len)
{
    return (int)os_call(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);
}

int os_mprotect(uintptr_t addr, size_t len, int prot)
{
    return (int)os_call(SYS_mprotect, (long)addr, (long)len, prot, 0, 0, 0);
}

int os_madvise(uintptr_t addr, size_t len, int advice)
{
    return (int)os_call(SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0);
}

intptr_t os_mremap(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t new_addr)
{
    return os_call(SYS_mremap, (long)addr, (long)old_len, (long)new_len, flags, (long)new_addr, 0);
}

int os_mlock2(uintptr_t addr, size_t len, int flags)
{
    return (int)os_call(SYS_mlock2, (long)addr, (long)len, flags, 0, 0, 0);
}

int os_munlock(uintptr_t addr, size_t len)
{
    return (int)os_call(SYS_munlock, (long)addr, (long)len, 0, 0, 0, 0);
}

int os_ioctl(int fd, unsigned long request, void *arg)
{
    return (int)os_call(SYS_ioctl, fd, (long)request, (long)arg, 0, 0, 0);
}

int os_open(const char *path, int flags, int mode)
{
    return (int)os_call(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

int os_close(int fd)
{
    return (int)os_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

ssize_t os_read(int fd, void *buf, size_t len)
{
    return os_call(SYS_read, fd, (long)buf, (long)len, 0, 0, 0);
}

ssize_t os_write(int fd, const void *buf, size_t len)
{
    return os_call(SYS_write, fd, (long)buf, (long)len, 0, 0, 0);
}

int os_each_name(const char *folder, void (*visit)(int folder, const char *name, void *arg), void *arg)
{
    struct entry {
        uint64_t inode;
        int64_t offset;
        unsigned short len;
        unsigned char type;
        char name[];
    };
    _Alignas(struct entry) char buffer[4096];
    int fd = os_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long len;
    while ((len = os_call(SYS_getdents64, fd, (long)buffer, sizeof(buffer), 0, 0, 0)) > 0)
        for (long at = 0; at < len; at += ((struct entry *)(buffer + at))->len)
            visit(fd, ((struct entry *)(buffer + at))->name, arg);
    os_close(fd);
    return 0;
}

int os_fallocate(int fd, off_t offset, off_t len)
{
    intptr_t result;
    do
        result = os_call(SYS_fallocate, fd, 0, offset, len, 0, 0);
    while (result == -EINTR);
    return (int)result;
}

int os_getpid(void)
{
    return (int)os_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

int os_gettid(void)
{
    return (int)os_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t os_monotonic_coarse_ns(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

uint64_t os_thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void os_futex_wait(const void *word, uint32_t value)
{
    os_call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
}

void os_futex_wake(const void *word, int nr_waiters)
{
    os_call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, nr_waiters, 0, 0, 0);
}

uint64_t os_signals_all(void)
{
    return made_by ? ~(UINT64_C(1) << (SIGSYS - 1)) : UINT64_MAX;
}

void os_signals_block(uint64_t *saved)
{
    uint64_t all = os_signals_all();
    os_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)saved, sizeof(all), 0, 0);
}

void os_signals_restore(const uint64_t *saved)
{
    os_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)saved, 0, sizeof(*saved), 0, 0);
}

uint64_t os_limit(int resource)
{
    struct rlimit limit;
    if (os_call(SYS_prlimit64, 0, resource, 0, (long)&limit, 0, 0) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

bool os_can_lock_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (os_call(SYS_capget, (long)&header, (long)data, 0, 0, 0, 0) != 0)
        return false;
    return data[CAP_IPC_LOCK / 32].effective & (1u << (CAP_IPC_LOCK % 32));
}
