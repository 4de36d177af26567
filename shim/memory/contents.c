/* SPDX-License-Identifier: MIT */
/* Writes past protections: mprotect there and back would let other threads in, and could fail half way. */
#include "memory/contents.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "base/os.h"

bool contents_zero(uintptr_t start, size_t len)
{
    static const char zeroes[16 * OS_PAGE_SIZE];
    int fd = os_open("/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    for (size_t part; len; start += part, len -= part) {
        part = len < sizeof(zeroes) ? len : sizeof(zeroes);
        if (os_call(SYS_pwrite64, fd, (long)zeroes, (long)part, (long)start, 0, 0) != (long)part)
            break;
    }
    os_close(fd);
    return !len;
}
