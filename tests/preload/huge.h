/* SPDX-License-Identifier: MIT */
/* What the tests of huge pages share. */
#ifndef TESTS_PRELOAD_HUGE_H
#define TESTS_PRELOAD_HUGE_H

#include "../proc.h"
#include "expect.h"

#define BLOCK ((size_t)2 << 20)
#define LEN (8 * BLOCK)

/* Bytes of huge pages in the whole process. */
static size_t huge_now(void)
{
    return proc_bytes("/proc/self/smaps_rollup", "AnonHugePages");
}

/* A machine that is short of huge pages may leave some out. */
static bool is_most(size_t bytes)
{
    return bytes >= LEN / 4 * 3;
}

static void touch(char *memory)
{
    for (size_t at = 0; at < LEN; at += 4096)
        memory[at] = 1;
}

__attribute__((unused)) static bool look_up(const char *memory)
{
    uint64_t iova;
    return EXPECT(anydma_iova_range(memory, LEN, &iova) == 0);
}

/* Where huge pages do not come when they are asked for, and only then, there is nothing to see. */
static bool huge_pages_can_be_asked_for(void)
{
    char mode[64] = "";
    FILE *enabled = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    bool can = enabled && fgets(mode, sizeof(mode), enabled) && strstr(mode, "[madvise]");
    if (enabled)
        fclose(enabled);
    if (!can)
        printf(
            "only where huge pages come when they are asked for (transparent_hugepage/enabled is madvise)\n");
    return can;
}

#endif
