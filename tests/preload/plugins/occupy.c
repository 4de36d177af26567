/* SPDX-License-Identifier: MIT */
/* Preloaded behind the shim, it runs before the shim and takes the address space that the shim would want, from $OCCUPY_FROM
 * to $OCCUPY_TO (GiB). */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static uint64_t gib(const char *name)
{
    uint64_t value = 0;
    for (const char *p = getenv(name); p && *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (uint64_t)(*p - '0');
    return value << 30;
}

/* No door is to see it: the shim would start before. */
__attribute__((constructor)) static void occupy(void)
{
    long result;
    uint64_t from = gib("OCCUPY_FROM"), len = gib("OCCUPY_TO") - from;
    register long r10 __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    register long r8 __asm__("r8") = -1;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_mmap), "D"(from), "S"(len), "d"(PROT_NONE), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result != (long)from)
        abort();
}
