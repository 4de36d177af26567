/* SPDX-License-Identifier: MIT */
/* What is registered and counted, for anydma_stats, the summary and the snapshots. Each call takes LOCK_REGISTRY, but for what says
 * otherwise. */
#ifndef DMA_STATS_H
#define DMA_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct anydma_stats;

void stats_fill(struct anydma_stats *stats);
/* Whose pinned pages count against the limit on locked memory, by the container attached last; NULL: none was. No lock. */
const char *stats_counter(void);
/* A line for each registration, `fd` being written with no lock held: as they are when their turn comes. Returns 0 or -errno. */
int stats_snapshot(int fd);
struct stats_range {
    uintptr_t start;
    size_t len;
    bool is_handed; /* something in it was looked up, or is the application's own mapping, too */
};
/* The next up to `max` ranges that are mapped, from *cursor on. Returns how many; moves *cursor behind them. */
size_t stats_ranges(uintptr_t *cursor, struct stats_range *ranges, size_t max);
/* Whether [start, start + len) is such a range; *range gets it. */
bool stats_range_at(uintptr_t start, size_t len, struct stats_range *range);

#endif
