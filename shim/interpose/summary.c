/* SPDX-License-Identifier: MIT */
/* The summary at exit (ANYDMA_STATS=1). Reads counters only. */
#include "interpose/summary.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "anydma.h"
#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/registry.h"
#include "dma/stats.h"
#include "memory/arena.h"
#include "profile/failures.h"

void summary_fill(struct anydma_stats *stats)
{
    stats_fill(stats);
    stats->held_back = arena_held_back_bytes();
    stats->size = sizeof(*stats);
}

static unsigned long kib(uint64_t bytes)
{
    return (unsigned long)((bytes + 1023) >> 10);
}

static void print_limits(int to, const struct anydma_stats *s)
{
    uint64_t pinned = s->pinned_peak + s->app_pinned_peak;
    if (s->memlock_limit == UINT64_MAX)
        log_line(to, "  memlock     no limit");
    else
        log_line(to, "  memlock     %lu KiB at peak of %lu KiB (%lu%%)", kib(pinned), kib(s->memlock_limit),
                 s->memlock_limit ? (unsigned long)(pinned * 100 / s->memlock_limit) : 0ul);
    if (stats_counter())
        log_line(to, "  counted     %s", stats_counter());
    if (registry_is_sim() && pinned > s->memlock_limit)
        log_line(to,
                 "              the IOMMU is simulated: with VFIO %lu KiB of that would have been refused "
                 "(`ulimit -l`)",
                 kib(pinned - s->memlock_limit));
    if (s->entries_limit == UINT64_MAX)
        log_line(to, "  entries     %lu now, %lu at peak, no limit", s->entries_used, s->entries_peak);
    else
        log_line(to, "  entries     %lu now, %lu at peak of %lu", s->entries_used, s->entries_peak,
                 s->entries_limit);
}

/* Each kind of failure with its errno, its reason and what to do about it; in red on a terminal. */
static void print_failures(int to)
{
    enum { MOST_ERRNO = 134 };
    struct winsize size;
    bool is_red = !getenv("NO_COLOR") && os_ioctl(to, TIOCGWINSZ, &size) == 0;
    for (int call = 0; call < NR_FAILED; call++)
        for (int error = 1; error < MOST_ERRNO; error++) {
            uint64_t count = failures_count((enum failed_call)call, error);
            const char *remedy = failures_remedy((enum failed_call)call, error);
            if (count)
                log_line(to, "%s    %lu times %s: error %d, %s%s%s%s", is_red ? "\033[31m" : "", count,
                         failed_call_name((enum failed_call)call), error,
                         failures_reason((enum failed_call)call, error), remedy ? "; " : "",
                         remedy ? remedy : "", is_red ? "\033[0m" : "");
        }
}

void summary_print(void)
{
    struct anydma_stats s = {0};
    int to = log_stderr();
    summary_fill(&s);
    log_line(to, "anydma: summary of process %d", os_getpid());
    if (s.containers_seen)
        log_line(to, "  containers  %lu now, %lu since start%s; IOVAs 0x%lx to 0x%lx", s.containers,
                 s.containers_seen, registry_is_sim() ? " (simulated)" : "", s.iova_first, s.iova_last);
    else
        log_line(to, "  containers  none was attached");
    log_line(to, "  mappings    %lu now, %lu at peak; the application's own: %lu", s.registrations,
             s.registrations_peak, s.app_mappings);
    log_line(to,
             "  pinned      %lu KiB now, %lu KiB at peak; the application's own: %lu KiB, %lu KiB at peak",
             kib(s.pinned), kib(s.pinned_peak), kib(s.app_pinned), kib(s.app_pinned_peak));
    if (s.containers_seen)
        print_limits(to, &s);
    log_line(to, "  ioctls      %lu map, %lu unmap; the application's own: %lu map, %lu unmap", s.maps,
             s.unmaps, s.app_maps, s.app_unmaps);
    log_line(to,
             "  failures    %lu map, %lu unmap, %lu of %lu cold lookups refused; the application's own: %lu "
             "map, %lu unmap",
             s.map_failures, s.unmap_failures, s.lookups_refused, s.lookups_cold, s.app_map_failures,
             s.app_unmap_failures);
    print_failures(to);
    log_line(
        to,
        "  waiting     %lu ranges owed to a device not yet attached, %lu KiB held back for live neighbours",
        s.owed, kib(s.held_back));
    if (!s.maps && !s.app_maps)
        log_line(to, s.lookups_cold ? "  nothing was registered: no device was attached"
                                    : "  nothing was looked up or mapped: try `anydma run --mode=eager`, or "
                                      "`--iommu=sim` without a device");
}
