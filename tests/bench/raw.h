/* SPDX-License-Identifier: MIT */
/* System calls that no door of the shim sees, for the reference beside it. */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <sys/syscall.h>

/* Another route to the same system calls. With the shim, syscall() is a door too: these bypass it. */
__attribute__((unused)) static long raw(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#endif
