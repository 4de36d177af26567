/* SPDX-License-Identifier: MIT */
/* The registry's counters, as anydma_stats and the snapshot show them. Under LOCK_REGISTRY. */
#include <sys/resource.h>

#include "anydma.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/registration.h"
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
    for (unsigned i = next_container(containers_attached(), 0); i < MAX_CONTAINERS;
         i = next_container(containers_attached(), i + 1)) {
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

void registry_fill_stats(struct anydma_stats *stats)
{
    registry_enter();
    fill_containers(stats);
    stats->hazards = hazards_seen();
    stats->registrations = registrations_count();
    stats->registrations_peak = registrations_peak();
    stats->pinned = registry_counts()->pinned;
    stats->pinned_peak = registry_counts()->pinned_peak;
    stats->app_pinned = application_counts()->pinned;
    stats->app_pinned_peak = application_counts()->pinned_peak;
    stats->owed = registrations_owed();
    stats->maps = registry_counts()->maps;
    stats->unmaps = registry_counts()->unmaps;
    stats->map_failures = registry_counts()->map_failures;
    stats->unmap_failures = registry_counts()->unmap_failures;
    stats->app_maps = application_counts()->maps;
    stats->app_unmaps = application_counts()->unmaps;
    stats->app_map_failures = failures_count(FAILED_APP_MAP, 0);
    stats->app_unmap_failures = failures_count(FAILED_APP_UNMAP, 0);
    stats->lookups_cold = registry_counts()->lookups_cold;
    stats->lookups_refused = registry_counts()->lookups_refused;
    registry_exit();
    stats->memlock_limit = os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK);
}

const char *registry_counter(void)
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
int registry_snapshot(int fd)
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

size_t registry_ranges(uintptr_t *cursor, struct registry_range *ranges, size_t max)
{
    size_t n = 0;
    registry_enter();
    struct registration *reg = registration_from(*cursor);
    for (; reg && n < max; reg = registration_next(reg)) {
        *cursor = reg->start + reg->len;
        if (reg->mapped)
            ranges[n++] = (struct registry_range){reg->start, reg->len, reg->handed};
    }
    registry_exit();
    return n;
}

bool registry_range_at(uintptr_t start, size_t len, struct registry_range *range)
{
    registry_enter();
    struct registration *reg = registration_from(start);
    bool is_there = reg && reg->mapped && reg->start == start && reg->len == len;
    if (is_there)
        *range = (struct registry_range){start, len, reg->handed};
    registry_exit();
    return is_there;
}

void registry_publish(void)
{
    struct anydma_stats stats = {0};
    fill_containers(&stats);
    const struct live_numbers numbers = {
        .pinned = registry_counts()->pinned,
        .pinned_peak = registry_counts()->pinned_peak,
        .app_pinned = application_counts()->pinned,
        .app_pinned_peak = application_counts()->pinned_peak,
        .registrations = registrations_count(),
        .owed = registrations_owed(),
        .maps = registry_counts()->maps,
        .unmaps = registry_counts()->unmaps,
        .map_failures = registry_counts()->map_failures,
        .unmap_failures = registry_counts()->unmap_failures,
        .app_maps = application_counts()->maps,
        .app_unmaps = application_counts()->unmaps,
        .app_failures = failures_count(FAILED_APP_MAP, 0) + failures_count(FAILED_APP_UNMAP, 0),
        .refused = registry_counts()->lookups_refused,
        .containers = stats.containers,
        .entries_used = stats.entries_used,
        .entries_limit = stats.entries_limit,
    };
    live_write(&numbers);
}
