/* SPDX-License-Identifier: MIT */
/* Asks the registry for what is registered, memory/ how much of that is alive, and tells the capture. */
#include "interpose/profiler.h"

#include "anydma.h"
#include "base/config.h"
#include "dma/registry.h"
#include "interpose/summary.h"
#include "memory/arena.h"
#include "memory/usage.h"
#include "profile/live.h"
#include "profile/samples.h"

void profiler_start(void)
{
    profile_start();
    if (profile_is_on && config.heap == HEAP_OWN)
        usage_init();
    if (config.heap == HEAP_OWN && !config.check)
        samples_start(arena_first_heap.start, arena_first_heap.len);
}

void profiler_record_usage(void)
{
    enum { AT_ONCE = 64 };
    struct registry_range ranges[AT_ONCE];
    uintptr_t cursor = 0;
    for (size_t n; (n = registry_ranges(&cursor, ranges, AT_ONCE)) > 0;)
        for (size_t i = 0; i < n; i++)
            profile_record_used(ranges[i].start, ranges[i].len, usage_of(ranges[i].start, ranges[i].len));
    live_answer();
}

void profiler_stop(void)
{
    struct anydma_stats stats = {0};
    live_close();
    if (!profile_is_on)
        return;
    profiler_record_usage();
    summary_fill(&stats);
    profile_stop((const uint64_t *)&stats, sizeof(stats) / sizeof(uint64_t));
}
