/* SPDX-License-Identifier: MIT */
/*
 * The ways in which pages leave their address, each as a function on a subject, each to be gone by libc's
 * functions, by libc's syscall(), or by an instruction of the program's own, which no door sees.
 */
#ifndef TESTS_PRELOAD_WAYS_H
#define TESTS_PRELOAD_WAYS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WAY_PAGE ((size_t)4096)
#define WAY_RW (PROT_READ | PROT_WRITE)
#define WAY_PLAIN (MAP_PRIVATE | MAP_ANONYMOUS)

/* Whole pages that are looked up before the way is gone. */
struct subject {
    unsigned char *at;
    size_t len;
    unsigned char *moved; /* where the pages went, if anywhere */
    const struct how *how;
    int arg; /* the way's own */
};

/* --- how: by which call --------------------------------------------------------------------------- */

struct how {
    const char *name;
    void *(*map)(void *at, size_t len, int prot, int flags, int fd);
    int (*unmap)(void *at, size_t len);
    int (*advise)(void *at, size_t len, int advice);
    void *(*remap)(void *at, size_t old_len, size_t new_len, int flags, void *to);
};

static void *map_by_libc(void *at, size_t len, int prot, int flags, int fd)
{
    return mmap(at, len, prot, flags, fd, 0);
}

static void *remap_by_libc(void *at, size_t old_len, size_t new_len, int flags, void *to)
{
    return mremap(at, old_len, new_len, flags, to);
}

static void *map_by_syscall(void *at, size_t len, int prot, int flags, int fd)
{
    return (void *)syscall(SYS_mmap, at, len, (long)prot, (long)flags, (long)fd, 0L);
}

static int unmap_by_syscall(void *at, size_t len)
{
    return (int)syscall(SYS_munmap, at, len);
}

static int advise_by_syscall(void *at, size_t len, int advice)
{
    return (int)syscall(SYS_madvise, at, len, (long)advice);
}

static void *remap_by_syscall(void *at, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)syscall(SYS_mremap, at, old_len, new_len, (long)flags, to);
}

static long way_enter(long number, long a, long b, long c, long d, long e, long f)
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

static void *map_by_instruction(void *at, size_t len, int prot, int flags, int fd)
{
    return (void *)way_enter(SYS_mmap, (long)at, (long)len, prot, flags, fd, 0);
}

static int unmap_by_instruction(void *at, size_t len)
{
    return (int)way_enter(SYS_munmap, (long)at, (long)len, 0, 0, 0, 0);
}

static int advise_by_instruction(void *at, size_t len, int advice)
{
    return (int)way_enter(SYS_madvise, (long)at, (long)len, advice, 0, 0, 0);
}

static void *remap_by_instruction(void *at, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)way_enter(SYS_mremap, (long)at, (long)old_len, (long)new_len, flags, (long)to, 0);
}

/* Only its advise differs from libc's. */
static int advise_by_process_madvise(void *at, size_t len, int advice)
{
    struct iovec range = {at, len};
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    long done = pidfd < 0 ? -1 : process_madvise(pidfd, &range, 1, advice, 0);
    int saved = errno;
    if (pidfd >= 0)
        close(pidfd);
    errno = saved;
    return done == (long)len ? 0 : -1;
}

static const struct how by_libc = {"", map_by_libc, munmap, madvise, remap_by_libc};
static const struct how by_syscall __attribute__((unused)) = {
    ", by syscall()", map_by_syscall, unmap_by_syscall, advise_by_syscall, remap_by_syscall};
static const struct how by_instruction = {", by instruction", map_by_instruction, unmap_by_instruction,
                                          advise_by_instruction, remap_by_instruction};
static const struct how by_process_madvise __attribute__((unused)) = {
    ", by process_madvise", map_by_libc, munmap, advise_by_process_madvise, remap_by_libc};

/* --- the ways ------------------------------------------------------------------------------------- */

enum { WAY_DONTNEED_LOCKED = 24, WAY_GUARD_INSTALL = 102, WAY_GUARD_REMOVE = 103 };

/* Each returns the page to judge; NULL when the kernel does not know the call; MAP_FAILED when it went wrong.
 */
typedef unsigned char *way_fn(struct subject *s);

static void *way_map_anew(const struct how *how, void *at, size_t len)
{
    return how->map(at, len, WAY_RW, WAY_PLAIN | MAP_FIXED, -1);
}

static unsigned char *go_unmap_whole(struct subject *s)
{
    if (s->how->unmap(s->at, s->len) != 0)
        return NULL;
    return way_map_anew(s->how, s->at, s->len) == s->at ? s->at : NULL;
}

static unsigned char *go_unmap_part(struct subject *s)
{
    unsigned char *part = s->at + s->len / 2;
    if (s->how->unmap(part, WAY_PAGE) != 0)
        return NULL;
    return way_map_anew(s->how, part, WAY_PAGE) == part ? part : NULL;
}

static unsigned char *go_unmap_spanning(struct subject *s)
{
    if (mprotect(s->at + WAY_PAGE, WAY_PAGE, PROT_READ) != 0 || /* three mappings now */
        s->how->unmap(s->at, s->len) != 0)
        return NULL;
    return way_map_anew(s->how, s->at, s->len) == s->at ? s->at + 2 * WAY_PAGE : NULL;
}

static unsigned char *go_shrink(struct subject *s)
{
    unsigned char *tail = s->at + s->len / 2;
    if (s->how->remap(s->at, s->len, s->len / 2, 0, NULL) != s->at)
        return NULL;
    return way_map_anew(s->how, tail, s->len / 2) == tail ? tail : NULL;
}

/* The pages that were there stay where they are. */
static unsigned char *go_grow_in_place(struct subject *s)
{
    if (s->how->remap(s->at, s->len, s->len + WAY_PAGE, 0, NULL) != s->at)
        return NULL;
    s->at[s->len] = 1;
    return s->at;
}

static unsigned char *go_grow_into_new_pages(struct subject *s)
{
    unsigned char *at = go_grow_in_place(s);
    return at ? at + s->len : NULL;
}

static void *way_elsewhere(const struct how *how, size_t len)
{
    void *at = how->map(NULL, len, WAY_RW, WAY_PLAIN, -1);
    return at == MAP_FAILED ? NULL : at;
}

static unsigned char *go_move(struct subject *s)
{
    void *to = way_elsewhere(s->how, s->len);
    if (!to || s->how->remap(s->at, s->len, s->len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
        return NULL;
    s->moved = to;
    return way_map_anew(s->how, s->at, s->len) == s->at ? s->at : NULL;
}

/* The moved pages themselves are judged. */
static unsigned char *go_follow(struct subject *s)
{
    return go_move(s) ? s->moved : NULL;
}

static unsigned char *go_move_by_growing(struct subject *s)
{
    unsigned char *to = s->how->remap(s->at, s->len, 4096 * WAY_PAGE, MREMAP_MAYMOVE, NULL);
    if (to == MAP_FAILED || to == s->at)
        return NULL;
    s->moved = to;
    return way_map_anew(s->how, s->at, s->len) == s->at ? s->at : NULL;
}

static unsigned char *go_moved_onto(struct subject *s)
{
    unsigned char *from = way_elsewhere(s->how, s->len);
    if (!from)
        return NULL;
    memset(from, 7, s->len);
    return s->how->remap(from, s->len, s->len, MREMAP_MAYMOVE | MREMAP_FIXED, s->at) == s->at &&
                   s->at[WAY_PAGE] == 7
               ? s->at
               : NULL;
}

static unsigned char *go_dontunmap(struct subject *s)
{
    unsigned char *to = s->how->remap(s->at, s->len, s->len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (to == MAP_FAILED)
        return NULL;
    s->moved = to;
    return s->at;
}

static unsigned char *go_map_over(struct subject *s)
{
    return way_map_anew(s->how, s->at, s->len) == s->at ? s->at : NULL;
}

static unsigned char *go_map_file_over(struct subject *s)
{
    int fd = memfd_create("over", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)s->len) != 0)
        return NULL;
    void *got = s->how->map(s->at, s->len, WAY_RW, s->arg | MAP_FIXED, fd);
    close(fd);
    return got == s->at ? s->at : NULL;
}

static unsigned char *go_shmat_over(struct subject *s)
{
    int id = shmget(IPC_PRIVATE, s->len, IPC_CREAT | 0600);
    void *got = id < 0               ? NULL
                : s->how == &by_libc ? shmat(id, s->at, SHM_REMAP)
                : s->how == &by_instruction
                    ? (void *)way_enter(SYS_shmat, id, (long)s->at, SHM_REMAP, 0, 0, 0)
                    : (void *)syscall(SYS_shmat, (long)id, s->at, (long)SHM_REMAP);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return got == s->at ? s->at : NULL;
}

/* What a purge leaves reads as zero (but after MADV_FREE, whose pages may keep their contents). */
static unsigned char *go_advise(struct subject *s)
{
    memset(s->at, 0x5a, s->len);
    if (s->how->advise(s->at, s->len, s->arg) != 0)
        return NULL;
    bool takes = s->arg == MADV_DONTNEED || s->arg == WAY_DONTNEED_LOCKED;
    if (takes && (s->at[0] != 0 || s->at[s->len - 1] != 0))
        return (unsigned char *)MAP_FAILED;
    return s->at + s->len - WAY_PAGE;
}

static unsigned char *go_guard(struct subject *s)
{
    if (s->how->advise(s->at, s->len, WAY_GUARD_INSTALL) != 0 ||
        s->how->advise(s->at, s->len, WAY_GUARD_REMOVE) != 0)
        return NULL;
    return s->at;
}

static unsigned char *go_protect(struct subject *s)
{
    return mprotect(s->at, s->len, s->arg) == 0 && mprotect(s->at, s->len, WAY_RW) == 0 ? s->at : NULL;
}

/* A purge while it is neither readable nor writable. */
static unsigned char *go_purge_unreadable(struct subject *s)
{
    memset(s->at, 0x5a, s->len);
    if (mprotect(s->at, s->len, PROT_NONE) != 0 || s->how->advise(s->at, s->len, s->arg) != 0 ||
        mprotect(s->at, s->len, WAY_RW) != 0)
        return NULL;
    return s->at[0] ? (unsigned char *)MAP_FAILED : s->at;
}

static unsigned char *go_lock(struct subject *s)
{
    return mlock(s->at, s->len) == 0 && munlock(s->at, s->len) == 0 &&
                   mlock2(s->at, s->len, MLOCK_ONFAULT) == 0 && munlock(s->at, s->len) == 0
               ? s->at
               : NULL;
}

static unsigned char *go_lock_all(struct subject *s)
{
    return mlockall(MCL_CURRENT) == 0 && munlockall() == 0 ? s->at : NULL;
}

static unsigned char *go_seal(struct subject *s)
{
    enum { NR_MSEAL = 462 }; /* since Linux 6.10 */
    if (syscall(NR_MSEAL, s->at, s->len, 0) != 0)
        return NULL;
    return s->how->unmap(s->at, s->len) == -1 && errno == EPERM ? s->at : (unsigned char *)MAP_FAILED;
}

struct way {
    const char *name;
    way_fn *go;
    int arg;
};

static const struct way ways[] __attribute__((unused)) = {
    {"munmap, whole", go_unmap_whole, 0},
    {"munmap, part", go_unmap_part, 0},
    {"munmap, several mappings", go_unmap_spanning, 0},
    {"mremap, shrink", go_shrink, 0},
    {"mremap, grow in place", go_grow_in_place, 0},
    {"mremap, the grown pages", go_grow_into_new_pages, 0},
    {"mremap, move", go_move, 0},
    {"mremap, the moved pages", go_follow, 0},
    {"mremap, move by growing", go_move_by_growing, 0},
    {"mremap, onto it", go_moved_onto, 0},
    {"mremap, DONTUNMAP", go_dontunmap, 0},
    {"mmap, over it", go_map_over, 0},
    {"mmap, a shared file over it", go_map_file_over, MAP_SHARED},
    {"mmap, a private file over it", go_map_file_over, MAP_PRIVATE},
    {"shmat, over it", go_shmat_over, 0},
    {"madvise, DONTNEED", go_advise, MADV_DONTNEED},
    {"madvise, FREE", go_advise, MADV_FREE},
    {"madvise, DONTNEED_LOCKED", go_advise, WAY_DONTNEED_LOCKED},
    {"madvise, GUARD_INSTALL", go_guard, 0},
    {"madvise, DONTNEED while PROT_NONE", go_purge_unreadable, MADV_DONTNEED},
    {"madvise, PAGEOUT", go_advise, MADV_PAGEOUT},
    {"madvise, COLD", go_advise, MADV_COLD},
    {"madvise, MERGEABLE", go_advise, MADV_MERGEABLE},
    {"mprotect, none and back", go_protect, PROT_NONE},
    {"mprotect, read-only and back", go_protect, PROT_READ},
    {"mlock, munlock, mlock2", go_lock, 0},
    {"mlockall, munlockall", go_lock_all, 0},
    {"mseal", go_seal, 0},
};

enum { NR_WAYS = sizeof(ways) / sizeof(ways[0]) };

#endif
