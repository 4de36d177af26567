/* SPDX-License-Identifier: MIT */
/* The doors of the less travelled routes: System V memory, process_madvise, user namespaces, and libc's syscall(), by
 * which any of the others can be called. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/os.h"
#include "base/procmaps.h"
#include "dma/attachments.h"
#include "interpose/doors.h"
#include "interpose/filters.h"
#include "interpose/lifecycle.h"
#include "interpose/patched.h"
#include "interpose/peek.h"
#include "interpose/ranges.h"
#include "memory/foreign.h"
#include "memory/mappings.h"
#include "memory/owners.h"
#include "memory/places.h"
#include "memory/populate.h"

/* --- System V shared memory -------------------------------------------------------------------------------------------------- */

/* The bytes of a segment; 0 when that can't be told. */
static size_t segment_size(int id)
{
    struct shmid_ds info;
    return os_call(SYS_shmctl, id, IPC_STAT, (long)&info, 0, 0, 0) == 0 ? os_page_up(info.shm_segsz) : 0;
}

/* Where nothing is mapped; or, with SHM_REMAP, in the place of what is. */
void *door_shmat(int id, const void *addr, int flags)
{
    uintptr_t start = flags & SHM_RND ? (uintptr_t)addr & ~(OS_PAGE_SIZE - 1) : (uintptr_t)addr;
    size_t len = addr && lifecycle_enter() ? segment_size(id) : 0;
    bool is_known = len && !is_beyond_end(start, len), replaces = is_known && flags & SHM_REMAP;
    bool claims = is_known && !replaces && owners_overlap_arena(start, len);
    struct page_kind kind = places_kind(len, flags & SHM_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE, 0);
    if (claims && !mappings_claim(start, len)) {
        errno = EINVAL;
        return (void *)-1;
    }
    if (replaces)
        owners_begin(start, len, PAGE_REPLACING);
    intptr_t result = os_call(SYS_shmat, id, (long)addr, flags, 0, 0, 0);
    if (claims || replaces)
        owners_end(start, len, os_is_error(result) ? PAGE_FAILED : PAGE_REPLACED, &kind);
    return (void *)to_libc(result);
}

void *shmat(int id, const void *addr, int flags)
{
    __typeof__(shmat) *patched = (__typeof__(shmat) *)patched_function(PATCHED_SHMAT);
    return patched ? patched(id, addr, flags) : door_shmat(id, addr, flags);
}

int door_shmdt(const void *addr)
{
    struct procmaps_entry entry;
    uintptr_t start = (uintptr_t)addr;
    bool is_mapped =
        lifecycle_enter() && procmaps_find(start, &entry) == 0 && entry.start == start && entry.is_shared;
    if (is_mapped)
        owners_begin(start, entry.end - start, PAGE_LEAVING);
    intptr_t result = os_call(SYS_shmdt, (long)addr, 0, 0, 0, 0, 0);
    if (is_mapped)
        owners_end(start, entry.end - start, os_is_error(result) ? PAGE_FAILED : PAGE_LEFT, NULL);
    return (int)to_libc(result);
}

int shmdt(const void *addr)
{
    __typeof__(shmdt) *patched = (__typeof__(shmdt) *)patched_function(PATCHED_SHMDT);
    return patched ? patched(addr) : door_shmdt(addr);
}

/* --- process_madvise ---------------------------------------------------------------------------------------------------------- */

/* Whether the descriptor stands for this process: fdinfo says so ("Pid:\t123"). Source: pidfd_open(2). */
static bool is_self(int pidfd)
{
    enum { SELF_THREAD = -10000, SELF_THREAD_GROUP = -10001 };
    static const char key[] = "\nPid:\t";
    char path[64] = "/proc/self/fdinfo/", text[512];
    size_t n = sizeof("/proc/self/fdinfo/") - 1, digits = 1;
    if (pidfd == SELF_THREAD || pidfd == SELF_THREAD_GROUP)
        return true;
    if (pidfd < 0)
        return false;
    for (int rest = pidfd; rest >= 10; rest /= 10)
        digits++;
    for (int rest = pidfd, at = (int)digits; at-- > 0; rest /= 10)
        path[n + (size_t)at] = (char)('0' + rest % 10);
    int fd = os_open(path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t len = fd < 0 ? 0 : os_read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        os_close(fd);
    text[len > 0 ? len : 0] = '\0';
    for (const char *at = text; *at; at++) {
        size_t match = 0;
        while (key[match] && at[match] == key[match])
            match++;
        int pid = 0;
        for (at += key[match] ? 0 : match; !key[match] && *at >= '0' && *at <= '9'; at++)
            pid = pid * 10 + (*at - '0');
        if (!key[match])
            return pid == os_getpid();
    }
    return false;
}

/* One range of the program's. */
static ssize_t advise_range(int pidfd, struct iovec range, int advice)
{
    /* Whether the kernel allows it on oneself is asked with nothing to do. */
    struct iovec nothing = {range.iov_base, 0};
    intptr_t allowed = os_call(SYS_process_madvise, pidfd, (long)&nothing, 1, advice, 0, 0);
    if (os_is_error(allowed))
        return to_libc(allowed);
    return door_madvise(range.iov_base, range.iov_len, advice) == 0 ? (ssize_t)range.iov_len : -1;
}

/* All ranges can be read, and have lengths, before anything is done: the kernel says if not. */
static bool are_ranges(const struct iovec *ranges, size_t nr_ranges)
{
    struct iovec range;
    for (size_t i = 0; i < nr_ranges; i++)
        if (!peek(&range, &ranges[i], sizeof(range)) || (ssize_t)range.iov_len < 0)
            return false;
    return true;
}

ssize_t process_madvise(int pidfd, const struct iovec *ranges, size_t nr_ranges, int advice, unsigned flags)
{
    bool takes_pages = advice == MADV_DONTNEED || advice == MADV_FREE || advice == 24 || advice == 102;
    ssize_t done = 0;
    struct iovec range;
    if (!takes_pages || flags || nr_ranges > IOV_MAX || !lifecycle_enter() || !is_self(pidfd) ||
        !are_ranges(ranges, nr_ranges))
        return to_libc(os_call(SYS_process_madvise, pidfd, (long)ranges, (long)nr_ranges, advice, flags, 0));
    for (size_t i = 0; i < nr_ranges && peek(&range, &ranges[i], sizeof(range)); i++) {
        ssize_t result = advise_range(pidfd, range, advice);
        if (result < 0)
            return done ? done : -1;
        done += result;
    }
    return done;
}

/* --- NUMA policies: libnuma's functions end in syscall() --------------------------------------------------------------- */

static long door_mbind(uintptr_t start, size_t len, const long rest[4])
{
    intptr_t result = os_call(SYS_mbind, (long)start, (long)len, rest[0], rest[1], rest[2], rest[3]);
    if (!result && !is_bad_range(start, len) && lifecycle_enter())
        owners_advised(start, os_page_up(len));
    return to_libc(result);
}

/* --- user namespaces ------------------------------------------------------------------------------------------------------------ */

/* A process with a second thread can't enter one, and the watch has a thread, as has what brings memory in. */
static void end_own_threads(void)
{
    foreign_withdraw_all();
    populate_end();
}

int unshare(int flags)
{
    if (flags & CLONE_NEWUSER && lifecycle_enter())
        end_own_threads();
    intptr_t result = os_call(SYS_unshare, flags, 0, 0, 0, 0, 0);
    if (result == 0 && flags & CLONE_FILES && lifecycle_enter() && lifecycle_is_owner())
        attachments_part();
    return (int)to_libc(result);
}

int setns(int fd, int type)
{
    if ((!type || type & CLONE_NEWUSER) && lifecycle_enter())
        end_own_threads();
    return (int)to_libc(os_call(SYS_setns, fd, type, 0, 0, 0, 0));
}

/* --- syscall() -------------------------------------------------------------------------------------------------------------------- */

/* What syscall() leads to, by number. */
#define DOORS(DOOR_OF)                                                                                       \
    DOOR_OF(SYS_mmap, (long)door_mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f, NULL))                \
    DOOR_OF(SYS_munmap, door_munmap((void *)a, (size_t)b))                                                   \
    DOOR_OF(SYS_mremap, (long)door_mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e))               \
    DOOR_OF(SYS_mprotect, door_mprotect((void *)a, (size_t)b, (int)c, -1))                                   \
    DOOR_OF(SYS_pkey_mprotect, door_mprotect((void *)a, (size_t)b, (int)c, (int)d))                          \
    DOOR_OF(SYS_madvise, door_madvise((void *)a, (size_t)b, (int)c))                                         \
    DOOR_OF(SYS_process_madvise,                                                                             \
            process_madvise((int)a, (const struct iovec *)b, (size_t)c, (int)d, (unsigned)e))                \
    DOOR_OF(SYS_mbind, door_mbind((uintptr_t)a, (size_t)b, (const long[]){c, d, e, f}))                      \
    DOOR_OF(SYS_vmsplice, vmsplice((int)a, (const struct iovec *)b, (size_t)c, (unsigned)d))                 \
    DOOR_OF(SYS_sendmsg, sendmsg((int)a, (const struct msghdr *)b, (int)c))                                  \
    DOOR_OF(SYS_sendmmsg, sendmmsg((int)a, (struct mmsghdr *)b, (unsigned)c, (int)d))                        \
    DOOR_OF(SYS_sendto,                                                                                      \
            sendto((int)a, (const void *)b, (size_t)c, (int)d, (const struct sockaddr *)e, (socklen_t)f))    \
    DOOR_OF(SYS_shmat, (long)door_shmat((int)a, (const void *)b, (int)c))                                    \
    DOOR_OF(SYS_shmdt, door_shmdt((const void *)a))                                                          \
    DOOR_OF(SYS_mlockall, mlockall((int)a))                                                                  \
    DOOR_OF(SYS_munlockall, munlockall())                                                                    \
    DOOR_OF(SYS_close, close((int)a))                                                                        \
    DOOR_OF(SYS_dup, dup((int)a))                                                                            \
    DOOR_OF(SYS_dup2, dup2((int)a, (int)b))                                                                  \
    DOOR_OF(SYS_dup3, dup3((int)a, (int)b, (int)c))                                                          \
    DOOR_OF(SYS_close_range, close_range((unsigned)a, (unsigned)b, (int)c))                                  \
    DOOR_OF(SYS_fcntl, fcntl((int)a, (int)b, c))                                                             \
    DOOR_OF(SYS_ioctl, ioctl((int)a, (unsigned long)b, (void *)c))                                           \
    DOOR_OF(SYS_unshare, unshare((int)a))                                                                    \
    DOOR_OF(SYS_setns, setns((int)a, (int)b))                                                                \
    DOOR_OF(SYS_ftruncate, ftruncate((int)a, b))                                                             \
    DOOR_OF(SYS_truncate, truncate((const char *)a, b))                                                      \
    DOOR_OF(SYS_fallocate, fallocate((int)a, (int)b, c, d))                                                  \
    DOOR_OF(SYS_setrlimit, setrlimit((int)a, (const struct rlimit *)b))                                      \
    DOOR_OF(SYS_prlimit64, prlimit((int)a, (int)b, (const struct rlimit *)c, (struct rlimit *)d))            \
    DOOR_OF(SYS_remap_file_pages, remap_file_pages((void *)a, (size_t)b, (int)c, (size_t)d, (int)e))         \
    DOOR_OF(SYS_rt_sigaction, door_rt_sigaction((int)a, (const void *)b, (void *)c, (size_t)d))              \
    DOOR_OF(SYS_rt_sigprocmask, door_rt_sigprocmask((int)a, (const void *)b, (void *)c, (size_t)d))          \
    DOOR_OF(SYS_prctl, prctl((int)a, b, c, d, e))                                                            \
    DOOR_OF(SYS_seccomp, door_seccomp((unsigned)a, (unsigned)b, (void *)c))

#define CASE(number, call)                                                                                   \
    case number:                                                                                             \
        return call;

/* Called from the assembly below for these numbers, and by interpose/strict.c for all. */
long routes_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    patched_came_back();
    switch (number) {
        DOORS(CASE)
    default:
        return to_libc(os_call(number, a, b, c, d, e, f));
    }
}

/* Every other number is the C library's affair, which enters the kernel from its own code (who watches that, by Syscall User
 * Dispatch, knows it). No frame of ours is on the stack: vfork and clone return twice. */
#define TEXT_OF(number) #number
#define JUMP(number, call) "cmp $" TEXT_OF(number) ", %edi\n\tje 2f\n\t"
// clang-format off
__asm__(".text\n"
        ".p2align 4\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n\t"
        DOORS(JUMP)
        "mov next_syscall(%rip), %rax\n\t"
        "test %rax, %rax\n\t"
        "je 3f\n\t"
        "jmp *%rax\n"
        "3:\tmov %rdi, %rax\n\t" /* before the start */
        "mov %rsi, %rdi\n\t"
        "mov %rdx, %rsi\n\t"
        "mov %rcx, %rdx\n\t"
        "mov %r8, %r10\n\t"
        "mov %r9, %r8\n\t"
        "mov 8(%rsp), %r9\n\t"
        "syscall\n\t"
        "cmp $-4095, %rax\n\t"
        "jae 1f\n\t"
        "ret\n"
        "1:\tsub $24, %rsp\n\t"
        "neg %eax\n\t"
        "mov %eax, 12(%rsp)\n\t"
        "call __errno_location@PLT\n\t"
        "mov 12(%rsp), %ecx\n\t"
        "mov %ecx, (%rax)\n\t"
        "mov $-1, %rax\n\t"
        "add $24, %rsp\n\t"
        "ret\n"
        "2:\tjmp routes_syscall\n\t"
        ".size syscall, .-syscall\n");
// clang-format on
