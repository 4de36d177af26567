/* SPDX-License-Identifier: MIT */
/*
 * Stands before the shim in LD_PRELOAD and leads the doors named in BYPASS_DOORS (",munmap,madvise,")
 * straight to the kernel: the shim's handling of these routes is switched off. Used by
 * tests/preload/routes_off.sh.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long enter(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* The shim's function, or NULL when the door is to be bypassed. */
static void *door(const char *name)
{
    char word[32] = ",";
    const char *doors = getenv("BYPASS_DOORS");
    strcat(strcat(word, name), ",");
    return doors && strstr(doors, word) ? NULL : dlsym(RTLD_NEXT, name);
}

/* Where a mapping goes is no route: only those over what is there are led past. */
void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    void *(*next)(void *, size_t, int, int, int, off_t) =
        (__typeof__(next))(flags & MAP_FIXED ? door("mmap") : dlsym(RTLD_NEXT, "mmap"));
    return next ? next(at, len, prot, flags, fd, offset)
                : (void *)enter(SYS_mmap, (long)at, (long)len, prot, flags, fd, offset);
}

int munmap(void *at, size_t len)
{
    int (*next)(void *, size_t) = (__typeof__(next))door("munmap");
    return next ? next(at, len) : (int)enter(SYS_munmap, (long)at, (long)len, 0, 0, 0, 0);
}

int madvise(void *at, size_t len, int advice)
{
    int (*next)(void *, size_t, int) = (__typeof__(next))door("madvise");
    return next ? next(at, len, advice) : (int)enter(SYS_madvise, (long)at, (long)len, advice, 0, 0, 0);
}

void *mremap(void *at, size_t old_len, size_t new_len, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    void *to = va_arg(args, void *);
    va_end(args);
    void *(*next)(void *, size_t, size_t, int, ...) = (__typeof__(next))door("mremap");
    return next ? next(at, old_len, new_len, flags, to)
                : (void *)enter(SYS_mremap, (long)at, (long)old_len, (long)new_len, flags, (long)to, 0);
}

void *shmat(int id, const void *at, int flags)
{
    void *(*next)(int, const void *, int) = (__typeof__(next))door("shmat");
    return next ? next(id, at, flags) : (void *)enter(SYS_shmat, id, (long)at, flags, 0, 0, 0);
}

int shmdt(const void *at)
{
    int (*next)(const void *) = (__typeof__(next))door("shmdt");
    return next ? next(at) : (int)enter(SYS_shmdt, (long)at, 0, 0, 0, 0, 0);
}

ssize_t process_madvise(int pidfd, const struct iovec *ranges, size_t nr, int advice, unsigned flags)
{
    ssize_t (*next)(int, const struct iovec *, size_t, int, unsigned) =
        (__typeof__(next))door("process_madvise");
    return next ? next(pidfd, ranges, nr, advice, flags)
                : enter(SYS_process_madvise, pidfd, (long)ranges, (long)nr, advice, flags, 0);
}

int mlockall(int flags)
{
    int (*next)(int) = (__typeof__(next))door("mlockall");
    return next ? next(flags) : (int)enter(SYS_mlockall, flags, 0, 0, 0, 0, 0);
}

int ftruncate(int fd, off_t len)
{
    int (*next)(int, off_t) = (__typeof__(next))door("ftruncate");
    return next ? next(fd, len) : (int)enter(SYS_ftruncate, fd, len, 0, 0, 0, 0);
}

int truncate(const char *path, off_t len)
{
    int (*next)(const char *, off_t) = (__typeof__(next))door("truncate");
    return next ? next(path, len) : (int)enter(SYS_truncate, (long)path, len, 0, 0, 0, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    int (*next)(int, int, off_t, off_t) = (__typeof__(next))door("fallocate");
    return next ? next(fd, mode, offset, len) : (int)enter(SYS_fallocate, fd, mode, offset, len, 0, 0);
}

int remap_file_pages(void *at, size_t len, int prot, size_t page, int flags)
{
    int (*next)(void *, size_t, int, size_t, int) = (__typeof__(next))door("remap_file_pages");
    return next ? next(at, len, prot, page, flags)
                : (int)enter(SYS_remap_file_pages, (long)at, (long)len, prot, (long)page, flags, 0);
}

extern void *__curbrk; /* glibc's */

int brk(void *at)
{
    int (*next)(void *) = (__typeof__(next))door("brk");
    if (next)
        return next(at);
    __curbrk = (void *)enter(SYS_brk, (long)at, 0, 0, 0, 0, 0);
    return __curbrk == at ? 0 : -1;
}

void *sbrk(intptr_t increment)
{
    void *(*next)(intptr_t) = (__typeof__(next))door("sbrk");
    if (next)
        return next(increment);
    void *before = __curbrk = (void *)enter(SYS_brk, 0, 0, 0, 0, 0, 0);
    return brk((char *)before + increment) == 0 ? before : (void *)-1;
}

long syscall(long number, ...)
{
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    long (*next)(long, ...) = (__typeof__(next))door("syscall");
    return next ? next(number, a[0], a[1], a[2], a[3], a[4], a[5])
                : enter(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
