/* SPDX-License-Identifier: MIT */
/* The registry's counters, as anydma_stats and the snapshot show them. Under LOCK_REGISTRY. */
#include "dma/stats.h"

#include <sys/resource.h>

#include "anydma.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/counts.h"
#include "dma/hazards.h"
#include "profile/failures.h"

static void narrow(struct anydma_stats *stats, const struct iommu_info *info)
{
    uint64_t first = info->nr_ranges ? info->ranges[0].start : 0;
    uint64_t last = info->nr_ranges ? info->ranges[info->nr_ranges - 1].last : 0;
    stats->iova_first = first > stats->iova_first ? first : stats->iova_first;
    stats->iova_last = last < stats->iova_last ? last : stats->iova_last;
    stats->entries_limit = info->nr_entries < stats->entries_limit ? info->nr_entries : stats->entries_limit;
}

static void fill_containers(struct anydma_stats *stats)
{
    stats->iova_last = stats->entries_limit = UINT64_MAX;
    CONTAINERS_EACH(i, containers_attached()) {
        const struct container *container = container_at(i);
        stats->containers++;
        stats->app_mappings += container->nr_app_maps;
        stats->entries_used =
            container->nr_entries > stats->entries_used ? container->nr_entries : stats->entries_used;
        narrow(stats, &container->info);
    }
    if (!stats->containers)
        narrow(stats, containers_last_info());
    containers_count(&stats->containers_seen, &stats->entries_peak);
}

void stats_fill(struct anydma_stats *stats)
{
    const struct counts *ours = counts_of(COUNTS_OURS), *its = counts_of(COUNTS_APPLICATIONS);
    registry_enter();
    fill_containers(stats);
    stats->hazards = hazards_seen();
    stats->registrations = registrations_count();
    stats->registrations_peak = registrations_peak();
    stats->pinned = ours->pinned;
    stats->pinned_peak = ours->pinned_peak;
    stats->app_pinned = its->pinned;
    stats->app_pinned_peak = its->pinned_peak;
    stats->owed = registrations_owed();
    stats->maps = ours->maps;
    stats->unmaps = ours->unmaps;
    stats->map_failures = ours->map_failures;
    stats->unmap_failures = ours->unmap_failures;
    stats->app_maps = its->maps;
    stats->app_unmaps = its->unmaps;
    stats->app_map_failures = failures_count(FAILED_APP_MAP, 0);
    stats->app_unmap_failures = failures_count(FAILED_APP_UNMAP, 0);
    stats->lookups_cold = counts_lookups();
    stats->lookups_refused = counts_refused();
    registry_exit();
    stats->memlock_limit = os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK);
}

const char *stats_counter(void)
{
    return containers_last_info()->counter;
}

enum { COPIED_AT_ONCE = 32 };

/* Copies of the next ones from `va` on. Returns how many. */
static size_t copy_registrations(uintptr_t va, struct registration copies[COPIED_AT_ONCE])
{
    size_t n = 0;
    registry_enter();
    for (struct registration *reg = registration_from(va); reg && n < COPIED_AT_ONCE;
         reg = registration_next(reg))
        copies[n++] = *reg;
    registry_exit();
    return n;
}

/* Whoever reads the file may keep it waiting: no lock is held while it is written. */
int stats_snapshot(int fd)
{
    struct registration copies[COPIED_AT_ONCE];
    uintptr_t va = 0;
    int error = log_line(fd, "# address length iova state holds");
    for (size_t n = COPIED_AT_ONCE; !error && n == COPIED_AT_ONCE;) {
        n = copy_registrations(va, copies);
        for (size_t i = 0; i < n && !error; i++) {
            const struct registration *reg = &copies[i];
            va = reg->start + reg->len;
            error = log_line(fd, "0x%lx %lu 0x%lx %s %u", reg->start, reg->len, reg->iova,
                             reg->mapped ? "mapped" : "owed", reg->pins);
        }
    }
    return error;
}

size_t stats_ranges(uintptr_t *cursor, struct stats_range *ranges, size_t max)
{
    size_t n = 0;
    registry_enter();
    struct registration *reg = registration_from(*cursor);
    for (; reg && n < max; reg = registration_next(reg)) {
        *cursor = reg->start + reg->len;
        if (reg->mapped)
            ranges[n++] = (struct stats_range){reg->start, reg->len, reg->handed};
    }
    registry_exit();
    return n;
}

bool stats_range_at(uintptr_t start, size_t len, struct stats_range *range)
{
    registry_enter();
    struct registration *reg = registration_from(start);
    bool is_there = reg && reg->mapped && reg->start == start && reg->len == len;
    if (is_there)
        *range = (struct stats_range){start, len, reg->handed};
    registry_exit();
    return is_there;
}
