/* SPDX-License-Identifier: MIT */
/* Reads by the kernel's hand. */
#include "interpose/peek.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/os.h"
#include "interpose/filters.h"

bool peek(void *to, const void *from, size_t len)
{
    struct iovec here = {to, len}, there = {(void *)from, len};
    /* A filter that the program has set may not know the call. */
    intptr_t copied = filters_are_set()
                          ? -EPERM
                          : os_call(SYS_process_vm_readv, os_getpid(), (long)&here, 1, (long)&there, 1, 0);
    if (copied != -EPERM && copied != -ENOSYS) /* of a container's filter, or a kernel without it */
        return copied == (intptr_t)len;
    memcpy(to, from, len);
    return true;
}
