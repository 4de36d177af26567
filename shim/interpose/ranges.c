/* SPDX-License-Identifier: MIT */
/* Looks at ranges as the kernel does. */
#include "interpose/ranges.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/os.h"

void *to_libc_ptr(intptr_t result)
{
    if (!os_is_error(result))
        return (void *)result;
    errno = (int)-result;
    return MAP_FAILED;
}

intptr_t to_libc(intptr_t result)
{
    return (intptr_t)to_libc_ptr(result);
}

static bool is_page(uintptr_t value)
{
    return !(value & (OS_PAGE_SIZE - 1));
}

bool is_bad_range(uintptr_t addr, size_t len)
{
    return !is_page(addr) || !len || os_page_up(len) < len || addr + os_page_up(len) < addr;
}

bool is_beyond_end(uintptr_t addr, size_t len)
{
    const uintptr_t user_end = ((uintptr_t)1 << 47) - OS_PAGE_SIZE;
    return is_bad_range(addr, len) || (addr < user_end && addr + os_page_up(len) > user_end);
}
