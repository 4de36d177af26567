/* SPDX-License-Identifier: MIT */
/*
 * Asks the registry for what is registered, memory/ how much of that is alive, and tells the capture.
 *
 * Whether memory was ever written to is seen in the pages themselves: zeroes. They are read through /proc/self/mem, which
 * fails where a page has gone instead of crashing, and at most so many at a time: of more memory every n-th page, chosen by
 * its address, stands for its neighbours.
 */
#include "interpose/profiler.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "anydma.h"
#include "base/config.h"
#include "base/os.h"
#include "dma/stats.h"
#include "interpose/summary.h"
#include "memory/arena.h"
#include "memory/usage.h"
#include "profile/live.h"
#include "profile/placed.h"
#include "profile/samples.h"

enum { MOST_PAGES_READ = 4096 };

struct look {
    int memory;      /* /proc/self/mem; negative: pages are not looked at */
    uint64_t stride; /* one page in so many is read */
    uintptr_t start; /* of the range */
    size_t len, used, free, untouched;
};

static bool is_zero(int memory, uintptr_t page)
{
    static const unsigned char zeroes[OS_PAGE_SIZE];
    unsigned char bytes[OS_PAGE_SIZE];
    return os_call(SYS_pread64, memory, (long)bytes, sizeof(bytes), (long)page, 0, 0) ==
               (intptr_t)sizeof(bytes) &&
           memcmp(bytes, zeroes, sizeof(bytes)) == 0;
}

static bool is_chosen(uintptr_t page, uint64_t stride)
{
    return stride == 1 || ((page >> OS_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % stride == 0;
}

/* Adds up a stretch of the range that is somebody's. */
static void add_part(void *arg, uintptr_t part, size_t len, size_t live)
{
    struct look *look = arg;
    look->used += live;
    look->free += len - live;
    if (look->memory < 0 || !live)
        return;
    for (uintptr_t page = part & ~(OS_PAGE_SIZE - 1); page < part + len; page += OS_PAGE_SIZE)
        if (is_chosen(page, look->stride) && is_zero(look->memory, page))
            look->untouched += look->stride * (live == len ? OS_PAGE_SIZE : live * OS_PAGE_SIZE / len);
}

/* One recording, of one range or of all. */
struct recording {
    int memory; /* as in look */
    uint64_t stride;
    bool looks_up;  /* the program looked something up */
    size_t carried; /* what pages of other ranges stand for beyond these; the neighbours get it */
};

static void record(const struct stats_range *range, struct recording *recording)
{
    struct look look = {
        .memory = recording->memory, .stride = recording->stride, .start = range->start, .len = range->len};
    usage_visit(range->start, range->len, add_part, &look);
    size_t used = look.used < range->len ? look.used : range->len;
    look.untouched += recording->carried;
    recording->carried = look.untouched > used ? look.untouched - used : 0;
    const struct profile_usage usage = {
        .used = used,
        .free = look.free < range->len - used ? look.free : range->len - used,
        .untouched = look.untouched < used ? look.untouched : used,
        .flags = USE_HAS_FREE | (recording->memory < 0 ? 0 : USE_HAS_TOUCHED) |
                 (range->is_handed ? USE_LOOKED_UP : 0) | (recording->looks_up ? USE_PROGRAM_LOOKS_UP : 0)};
    profile_record_used(range->start, range->len, &usage);
}

static void record_all(void)
{
    enum { AT_ONCE = 64 };
    struct stats_range ranges[AT_ONCE];
    struct anydma_stats stats = {0};
    stats_fill(&stats);
    struct recording recording = {.memory = os_open("/proc/self/mem", O_RDONLY | O_CLOEXEC, 0),
                                  .stride = stats.pinned / OS_PAGE_SIZE / MOST_PAGES_READ + 1,
                                  .looks_up = stats.lookups_cold > 0};
    uintptr_t cursor = 0;
    for (size_t n; (n = stats_ranges(&cursor, ranges, AT_ONCE)) > 0;)
        for (size_t i = 0; i < n; i++)
            record(&ranges[i], &recording);
    if (recording.memory >= 0)
        os_close(recording.memory);
    live_answer();
}

/* What is new, without its pages: it may be about to be written to. Or all that there is. */
static void record_usage(void)
{
    enum { AT_ONCE = 64 };
    struct profile_range fresh[AT_ONCE];
    struct stats_range range;
    struct recording recording = {.memory = -1, .stride = 1};
    bool all;
    size_t n = profile_take_fresh(fresh, AT_ONCE, &all);
    for (size_t i = 0; i < n && !all; i++)
        if (stats_range_at(fresh[i].start, fresh[i].len, &range))
            record(&range, &recording);
    if (all)
        record_all();
}

void profiler_start(void)
{
    profile_start();
    if (profile_is_on && config.heap == HEAP_OWN)
        usage_init();
    profile_record_usage = record_usage;
    if (config.heap == HEAP_OWN && !config.check)
        samples_start(arena_first_heap.start, arena_first_heap.len);
    placed_start();
}

void profiler_stop(void)
{
    struct anydma_stats stats = {0};
    live_close();
    if (!profile_is_on)
        return;
    record_all();
    summary_fill(&stats);
    profile_stop((const uint64_t *)&stats, sizeof(stats) / sizeof(uint64_t));
}
