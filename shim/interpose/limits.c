/* SPDX-License-Identifier: MIT */
/* The doors of limits. A program that limits its address space or its data wants to be left with what it does not use
 * itself: the heap keeps nothing for later from then on. Results and errno are the kernel's. */
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/config.h"
#include "base/os.h"
#include "interpose/lifecycle.h"
#include "interpose/ranges.h"
#include "memory/heap.h"

static bool is_of_memory(int resource)
{
    return resource == RLIMIT_AS || resource == RLIMIT_DATA;
}

static void economize_if_limited(int resource)
{
    if (is_of_memory(resource) && lifecycle_enter() && lifecycle_is_owner() && config.heap == HEAP_OWN &&
        os_limit(resource) != UINT64_MAX)
        heap_economize();
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    int result = to_libc(os_call(SYS_setrlimit, (long)resource, (long)limit, 0, 0, 0, 0));
    economize_if_limited((int)resource);
    return result;
}

int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    return setrlimit(resource, (const struct rlimit *)limit);
}

int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *limit, struct rlimit *old)
{
    int result = to_libc(os_call(SYS_prlimit64, pid, (long)resource, (long)limit, (long)old, 0, 0));
    if (limit)
        economize_if_limited((int)resource);
    return result;
}

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *limit, struct rlimit64 *old)
{
    return prlimit(pid, resource, (const struct rlimit *)limit, (struct rlimit *)old);
}
