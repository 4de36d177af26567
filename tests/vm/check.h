/* SPDX-License-Identifier: MIT */
/*
 * What the test programs in the VM share: one line a check on stdout, the count of failures, the kernel's own
 * figures. Checks may come from one thread at a time.
 */
#ifndef TESTS_VM_CHECK_H
#define TESTS_VM_CHECK_H

#include "../proc.h"
#include "anydma.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <time.h>
#include <unistd.h>

static int check_failures __attribute__((unused));

/* Prints "ok ..." or "FAIL ..." and counts the latter. Returns `holds`. */
__attribute__((format(printf, 2, 3), unused)) static bool check(bool holds, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s ", holds ? "ok  " : "FAIL");
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
    check_failures += !holds;
    return holds;
}

/* The test's exit status, after a last line that says how it went. */
__attribute__((unused)) static int check_end(const char *test)
{
    printf("%s: %s (%d failed)\n", test, check_failures ? "FAILED" : "passed", check_failures);
    return check_failures ? 1 : 0;
}

/* Every test here is one of the shim: ends the program when it is not there. */
__attribute__((unused)) static void check_shim_is_there(void)
{
    if (!check(anydma_active(), "the shim is loaded: version \"%s\"", anydma_version()))
        exit(1);
}

/* DMA faults that the IOMMU has reported since boot. The kernel logs at most 10 in 5 s: only "none" or "some"
 * counts. */
__attribute__((unused)) static unsigned dmar_faults(void)
{
    enum { LOG_BYTES = 1 << 20, READ_ALL = 3 };
    static char log[LOG_BYTES + 1];
    const struct timespec moment = {.tv_nsec = 200000000};
    unsigned count = 0;

    nanosleep(&moment, NULL); /* they come by interrupt: let the last one arrive */
    int len = klogctl(READ_ALL, log, LOG_BYTES);
    log[len > 0 ? len : 0] = 0;
    for (char *at = log; (at = strstr(at, "fault addr")) != NULL; at++)
        count++;
    return count;
}

/* The line of /proc/self/status that counts what devices pinned: type1 has it accounted as locked, iommufd
 * counts it apart, and what it accounts as locked is the user's or the process's. */
__attribute__((unused)) static const char *vm_locked_name(void)
{
    const char *backend = getenv("BACKEND");
    return backend && *backend && strcmp(backend, "type1") != 0 ? "VmPin" : "VmLck";
}

/* Bytes of this process that the kernel counts as pinned for devices. */
__attribute__((unused)) static uint64_t vm_locked_bytes(void)
{
    return proc_bytes("/proc/self/status", vm_locked_name());
}

__attribute__((unused)) static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats = {0};
    if (anydma_stats(&stats, sizeof(stats)) < 0)
        check(false, "anydma_stats");
    return stats;
}

/* What the kernel counts is what the shim and the application have pinned. */
__attribute__((unused)) static void check_accounts(const char *step)
{
    struct anydma_stats stats = stats_now();
    uint64_t locked = vm_locked_bytes();
    check(locked == stats.pinned + stats.app_pinned,
          "%-44s %s %7lu KiB, the shim's own %7lu, the application's %5lu", step, vm_locked_name(),
          (unsigned long)(locked >> 10), (unsigned long)(stats.pinned >> 10),
          (unsigned long)(stats.app_pinned >> 10));
}

/* The test's pattern: no page, and no two tries, look alike. */
__attribute__((unused)) static void fill_pattern(unsigned char *buf, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++)
        buf[i] = (unsigned char)(i * 7 + (i >> 8) * 3 + (i >> 12) * 13 + (i >> 20) + seed);
}

/* How many of the bytes differ. */
__attribute__((unused)) static size_t count_different(const unsigned char *a, const unsigned char *b,
                                                      size_t bytes)
{
    size_t different = 0;
    if (memcmp(a, b, bytes) == 0)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        different += a[i] != b[i];
    return different;
}

#endif
