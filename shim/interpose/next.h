/* SPDX-License-Identifier: MIT */
/* The C library's functions behind those of the shim's that have their names. */
#ifndef INTERPOSE_NEXT_H
#define INTERPOSE_NEXT_H

#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <threads.h>

/* Each by its own name. */
struct next_libc {
    int (*close)(int fd);
    void (*closefrom)(int first);
    int (*fcntl64)(int fd, int command, ...);
    int (*open)(const char *path, int flags, ...);
    int (*open64)(const char *path, int flags, ...);
    int (*openat)(int dir, const char *path, int flags, ...);
    int (*openat64)(int dir, const char *path, int flags, ...);
    int (*__open_2)(const char *path, int flags);
    int (*__open64_2)(const char *path, int flags);
    int (*__openat_2)(int dir, const char *path, int flags);
    int (*__openat64_2)(int dir, const char *path, int flags);
    int (*brk)(void *addr);
    void *(*sbrk)(intptr_t increment);
    int (*sigaction)(int number, const struct sigaction *action, struct sigaction *old);
    sighandler_t (*signal)(int number, sighandler_t handler);
    sighandler_t (*sysv_signal)(int number, sighandler_t handler);
    sighandler_t (*sigset)(int number, sighandler_t handler);
    int (*sigprocmask)(int how, const sigset_t *mask, sigset_t *old);
    int (*pthread_sigmask)(int how, const sigset_t *mask, sigset_t *old);
    int (*pthread_create)(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *arg);
    int (*thrd_create)(thrd_t *thread, thrd_start_t start, void *arg);
    ssize_t (*vmsplice)(int fd, const struct iovec *parts, size_t nr_parts, unsigned flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
    int (*sendmmsg)(int fd, struct mmsghdr *messages, unsigned nr_messages, int flags);
    ssize_t (*sendto)(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
                      socklen_t to_len);
    int (*dl_iterate_phdr)(int (*callback)(struct dl_phdr_info *info, size_t size, void *data), void *data);
    long (*syscall)(long number, ...);
    int (*__register_atfork)(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *owner);
};

/* The same as its `syscall`, for assembly; NULL before the start. */
extern long (*next_syscall)(long number, ...) __attribute__((visibility("hidden")));

/* Looked up at the start: dlsym takes the loader's lock, for which a door can't wait, and a signal handler even less. */
const struct next_libc *next_libc(void);

#endif
