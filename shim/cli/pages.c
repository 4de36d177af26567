/* SPDX-License-Identifier: MIT */
/* Finds, maps and copies live pages. Trusts nothing in them. */
#include "cli/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum { NR_TRIES = 1000, PAUSE_NS = 100000 };

bool pages_folder(char *path, size_t size)
{
    const char *parent = live_parent();
    int len = parent ? snprintf(path, size, "%s/anydma", parent) : -1;
    return len > 0 && (size_t)len < size;
}

bool pages_is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

bool pages_copy(const struct live_page *page, struct live_page *copy)
{
    for (int i = 0; i < NR_TRIES; i++) {
        uint64_t before = atomic_load_explicit(&page->sequence, memory_order_acquire);
        memcpy(copy, page, sizeof(*copy));
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&page->sequence, memory_order_relaxed) == before) {
            copy->command[sizeof(copy->command) - 1] = '\0';
            copy->capture[sizeof(copy->capture) - 1] = '\0';
            return copy->magic == LIVE_MAGIC;
        }
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL); /* the writer may have lost its processor */
    }
    return false;
}

struct live_page *pages_map(int folder, const char *name, bool to_ask)
{
    struct stat st;
    void *page = MAP_FAILED;
    int fd = openat(folder, name, (to_ask ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= LIVE_BYTES)
        page = mmap(NULL, LIVE_BYTES, to_ask ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    else
        errno = EINVAL;
    int error = errno;
    close(fd);
    errno = error;
    return page == MAP_FAILED ? NULL : page;
}

void pages_unmap(struct live_page *page)
{
    munmap(page, LIVE_BYTES);
}
