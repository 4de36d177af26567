/* SPDX-License-Identifier: MIT */
/* From the counters to the page. */
#include "dma/publish.h"

#include "dma/counts.h"
#include "dma/registrations.h"
#include "profile/failures.h"
#include "profile/live.h"

void publish_numbers(uint64_t containers, uint64_t entries_used, uint64_t entries_limit, bool is_per_user)
{
    const struct counts *ours = counts_of(COUNTS_OURS), *its = counts_of(COUNTS_APPLICATIONS);
    const struct live_numbers numbers = {
        .pinned = ours->pinned,
        .pinned_peak = ours->pinned_peak,
        .app_pinned = its->pinned,
        .app_pinned_peak = its->pinned_peak,
        .registrations = registrations_count(),
        .owed = registrations_owed(),
        .maps = ours->maps,
        .unmaps = ours->unmaps,
        .map_failures = ours->map_failures,
        .unmap_failures = ours->unmap_failures,
        .app_maps = its->maps,
        .app_unmaps = its->unmaps,
        .app_failures = failures_count(FAILED_APP_MAP, 0) + failures_count(FAILED_APP_UNMAP, 0),
        .refused = counts_refused(),
        .containers = containers,
        .entries_used = entries_used,
        .entries_limit = entries_limit,
        .is_per_user = is_per_user,
    };
    live_write(&numbers);
}
