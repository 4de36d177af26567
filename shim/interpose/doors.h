/* SPDX-License-Identifier: MIT */
/*
 * The doors that syscall() leads to by number (interpose/routes.c), without their exported names. UCX and
 * others write a jump over the first bytes of mmap and its like, to functions of their own that end in
 * syscall(): a way back through the exported name would never end. Not inlined: the exported function is only
 * a jump here, so that nothing else is written over.
 */
#ifndef INTERPOSE_DOORS_H
#define INTERPOSE_DOORS_H

#include <stddef.h>
#include <sys/types.h>

#define DOOR __attribute__((noinline, visibility("hidden")))

/* As their namesakes, errno included. `caller`: where the call comes from, for mmap's exception. */
DOOR void *door_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset, const void *caller);
DOOR int door_munmap(void *addr, size_t len);
DOOR int door_madvise(void *addr, size_t len, int advice);
DOOR int door_mprotect(void *addr, size_t len, int prot, int key);
DOOR void *door_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to);
DOOR void *door_shmat(int id, const void *addr, int flags);
DOOR int door_shmdt(const void *addr);
/* As the system call, but for its result: `action` and `old` are the kernel's struct sigaction. */
DOOR int door_rt_sigaction(int number, const void *action, void *old, size_t mask_bytes);
DOOR long door_rt_sigprocmask(int how, const void *mask, void *old, size_t mask_bytes);

/* The call of that number, by its door where it has one; as libc's syscall(). */
DOOR long routes_syscall(long number, long a, long b, long c, long d, long e, long f);

#endif
