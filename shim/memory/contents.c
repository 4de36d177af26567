/* SPDX-License-Identifier: MIT */
/* Reads and writes through /proc/self/mem: mprotect there and back would let other threads in, and could fail half way. */
#include "memory/contents.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "memory/pages.h"

enum { CHUNK_BYTES = 2 << 20, ADVICE_DONTNEED_LOCKED = 24 };

static _Atomic bool is_given_up;

void contents_give_up(void)
{
    is_given_up = true;
}

/* Returns a descriptor, or -errno. */
static int open_memory(void)
{
    return is_given_up ? -EPERM : os_open("/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
}

static const char zeroes[16 * OS_PAGE_SIZE];

static bool transfer(long call, int fd, const void *buffer, size_t len, uintptr_t at)
{
    return os_call(call, fd, (long)buffer, (long)len, (long)at, 0, 0) == (long)len;
}

bool contents_zero(uintptr_t start, size_t len)
{
    int fd = open_memory();
    if (fd < 0)
        return false;
    for (size_t part; len; start += part, len -= part) {
        part = len < sizeof(zeroes) ? len : sizeof(zeroes);
        if (!transfer(SYS_pwrite64, fd, zeroes, part, start))
            break;
    }
    os_close(fd);
    return !len;
}

/* Pages that hold nothing need not be there. */
static bool write_back(int fd, const char *copy, size_t len, uintptr_t start)
{
    bool is_done = true;
    for (size_t at = 0; at < len; at += OS_PAGE_SIZE)
        if (memcmp(copy + at, zeroes, OS_PAGE_SIZE) != 0)
            is_done &= transfer(SYS_pwrite64, fd, copy + at, OS_PAGE_SIZE, start + at);
    return is_done;
}

static bool drop(uintptr_t start, size_t len)
{
    int error = pages_ops->advise(start, len, MADV_DONTNEED);
    return (error == -EINVAL ? pages_ops->advise(start, len, ADVICE_DONTNEED_LOCKED) : error) == 0;
}

bool contents_renew(uintptr_t start, size_t len)
{
    size_t chunk = len < CHUNK_BYTES ? len : CHUNK_BYTES;
    int fd = open_memory();
    intptr_t copy =
        fd < 0 ? fd : os_mmap(0, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool is_done = fd >= 0 && !os_is_error(copy);
    for (size_t at = 0; is_done && at < len; at += chunk) {
        size_t part = chunk < len - at ? chunk : len - at;
        is_done = transfer(SYS_pread64, fd, (void *)copy, part, start + at) && drop(start + at, part) &&
                  write_back(fd, (const char *)copy, part, start + at);
    }
    if (!os_is_error(copy))
        os_munmap((uintptr_t)copy, chunk);
    if (fd >= 0)
        os_close(fd);
    return is_done;
}
