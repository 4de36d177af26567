/* SPDX-License-Identifier: MIT */
/* What happens to mappings, as records. Called with the registry's lock held or none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdatomic.h>

#include "base/os.h"
#include "base/probes.h"
#include "profile/capture.h"
#include "profile/live.h"
#include "profile/profile.h"

/* PAGEMAP_SCAN, since Linux 6.7, and later than the headers that this is built with. */
struct scan_region {
    uint64_t start, end, categories;
};

struct scan {
    uint64_t size, flags, start, end, walk_end, regions, nr_regions, max_pages;
    uint64_t inverted, wanted, any_of, returned;
};

#define PAGEMAP_SCAN_ _IOWR('f', 16, struct scan)
#define PAGE_IS_HUGE_ (UINT64_C(1) << 6)

/* Bytes of the range in huge pages, plus 1; 0: the kernel can't tell. Pinned pages stay what they are. */
static uint64_t huge_bytes(uintptr_t start, size_t len)
{
    static _Atomic bool is_unknown;
    enum { HUGE_BYTES = 2 << 20, NR_REGIONS = 32 };
    struct scan_region regions[NR_REGIONS];
    uint64_t total = 0;
    if (len < HUGE_BYTES)
        return 1;
    if (atomic_load_explicit(&is_unknown, memory_order_relaxed))
        return 0;
    int fd = os_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    struct scan scan = {.size = sizeof(scan),
                        .start = start & ~(OS_PAGE_SIZE - 1),
                        .end = os_page_up(start + len),
                        .regions = (uintptr_t)regions,
                        .nr_regions = NR_REGIONS,
                        .wanted = PAGE_IS_HUGE_,
                        .returned = PAGE_IS_HUGE_};
    for (uint64_t end = scan.end; fd >= 0 && scan.start < end; scan.start = scan.walk_end) {
        int n = os_ioctl(fd, PAGEMAP_SCAN_, &scan);
        if (n < 0 || scan.walk_end <= scan.start) {
            atomic_store_explicit(&is_unknown, n == -ENOTTY || n == -EINVAL, memory_order_relaxed);
            break;
        }
        for (int i = 0; i < n; i++)
            total += regions[i].end - regions[i].start;
    }
    if (fd >= 0)
        os_close(fd);
    return atomic_load_explicit(&is_unknown, memory_order_relaxed) || fd < 0 ? 0 : total + 1;
}

void (*profile_record_usage)(void);
_Atomic bool profile_is_usage_due;

/* All of it: at each new peak, but no more often than takes a hundredth of the time; and once a second while anything
 * changes. Under the capture's lock. */
static struct {
    uint64_t pinned, peak, recorded_peak, recorded_ns, took_ns;
    bool all;
    size_t nr_fresh;
    struct profile_range fresh[64]; /* registered, and not told of yet */
} usage;

static void note_due(bool all)
{
    usage.all |= all;
    atomic_store_explicit(&profile_is_usage_due, true, memory_order_relaxed);
}

static void note_pinned(uint64_t change, uint64_t now)
{
    usage.pinned += change;
    if (usage.pinned > usage.peak)
        usage.peak = usage.pinned;
    const uint64_t least_ns = 10000000, most_ns = 1000000000;
    uint64_t pause = usage.took_ns * 100 > least_ns ? usage.took_ns * 100 : least_ns;
    uint64_t passed = now - usage.recorded_ns;
    if (usage.peak > 2 * usage.recorded_peak || (usage.peak > usage.recorded_peak && passed > pause) ||
        passed > (pause > most_ns ? pause : most_ns)) {
        usage.recorded_peak = usage.peak;
        usage.recorded_ns = now;
        note_due(true);
    }
}

static void note_fresh(uintptr_t va, size_t len)
{
    if (usage.nr_fresh < sizeof(usage.fresh) / sizeof(usage.fresh[0]))
        usage.fresh[usage.nr_fresh++] = (struct profile_range){va, len};
    note_due(usage.nr_fresh == sizeof(usage.fresh) / sizeof(usage.fresh[0]));
}

size_t profile_take_fresh(struct profile_range *ranges, size_t max, bool *all)
{
    size_t nr = 0;
    atomic_store_explicit(&profile_is_usage_due, false, memory_order_relaxed);
    *all = live_take_request();
    if (!capture_begin())
        return 0;
    *all |= usage.all || usage.nr_fresh > max;
    for (; !*all && nr < usage.nr_fresh; nr++)
        ranges[nr] = usage.fresh[nr];
    usage.all = false;
    usage.nr_fresh = 0;
    capture_end();
    return nr;
}

void profile_end_door(void)
{
    profile_drop_stack();
    if (!profile_record_usage ||
        !(atomic_load_explicit(&profile_is_usage_due, memory_order_relaxed) || live_is_asked()))
        return;
    uint64_t began = os_monotonic_ns();
    profile_record_usage();
    if (!capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    if (now - began > usage.took_ns / 2) /* what is new takes less than all of it */
        usage.took_ns = now - began;
    capture_end();
}

uint32_t profile_record_site(void)
{
    uint32_t site = 0;
    if (capture_begin()) {
        site = capture_site(os_monotonic_ns());
        capture_end();
    }
    return site;
}

void profile_record_map(const struct profile_mapping *mapping)
{
    PROBE_REGISTER(mapping->va, mapping->len, mapping->iova, -mapping->error, mapping->owner,
                   mapping->container);
    if (!profile_is_on)
        return;
    uint64_t now = os_monotonic_ns(), huge = mapping->error ? 0 : huge_bytes(mapping->va, mapping->len);
    if (!capture_begin())
        return;
    uint32_t tid = capture_thread(now);
    uint32_t site = mapping->site ? mapping->site : capture_site(now);
    struct record *record = capture_event(RECORD_MAP, now);
    record_number(record, tid);
    record_number(record, site);
    record_number(record, mapping->owner);
    record_number(record, mapping->container);
    record_number(record, mapping->va);
    record_number(record, mapping->len);
    record_number(record, mapping->iova);
    record_number(record, now - mapping->began_ns);
    record_number(record, (uint64_t)-mapping->error);
    record_number(record, huge);
    capture_write(record, now);
    if (mapping->owner == OWNER_ANYDMA && !mapping->error) {
        note_fresh(mapping->va, mapping->len);
        note_pinned(mapping->len, now);
    }
    capture_end();
}

void profile_record_unmap(const struct profile_mapping *mapping)
{
    PROBE_UNREGISTER(mapping->va, mapping->len, mapping->iova, -mapping->error, mapping->owner,
                     mapping->container);
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    uint32_t tid = capture_thread(now), site = capture_site(now);
    struct record *record = capture_event(RECORD_UNMAP, now);
    record_number(record, tid);
    record_number(record, site);
    record_number(record, mapping->owner);
    record_number(record, mapping->container);
    record_number(record, mapping->iova);
    record_number(record, mapping->len);
    record_number(record, now - mapping->began_ns);
    record_number(record, (uint64_t)-mapping->error);
    capture_write(record, now);
    if (mapping->owner == OWNER_ANYDMA && !mapping->error)
        note_pinned(-mapping->len, now);
    capture_end();
}

void profile_record_owed(uint32_t site, uintptr_t va, size_t len)
{
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    uint32_t tid = capture_thread(now);
    struct record *record = capture_event(RECORD_OWED, now);
    record_number(record, tid);
    record_number(record, site);
    record_number(record, va);
    record_number(record, len);
    capture_write(record, now);
    capture_end();
}

void profile_record_unowed(uintptr_t va, size_t len)
{
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    struct record *record = capture_event(RECORD_UNOWED, now);
    record_number(record, va);
    record_number(record, len);
    capture_write(record, now);
    capture_end();
}

void profile_record_used(uintptr_t va, size_t len, const struct profile_usage *use)
{
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    struct record *record = capture_event(RECORD_USED, now);
    record_number(record, va);
    record_number(record, len);
    record_number(record, use->used);
    record_number(record, use->free);
    record_number(record, use->untouched);
    record_number(record, use->flags);
    capture_write(record, now);
    capture_end();
}

void profile_record_refused(uintptr_t va, int error)
{
    PROBE_REFUSE(va, -error);
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    uint32_t tid = capture_thread(now), site = capture_site(now);
    struct record *record = capture_event(RECORD_REFUSED, now);
    record_number(record, tid);
    record_number(record, site);
    record_number(record, va);
    record_number(record, (uint64_t)-error);
    capture_write(record, now);
    capture_end();
}

void profile_record_hazard(enum profile_hazard kind, uintptr_t va, size_t len, uint32_t holder)
{
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    uint32_t tid = capture_thread(now), site = capture_site(now);
    struct record *record = capture_event(RECORD_HAZARD, now);
    record_number(record, tid);
    record_number(record, site);
    record_number(record, kind);
    record_number(record, va);
    record_number(record, len);
    record_number(record, holder);
    capture_write(record, now);
    capture_end();
}

void profile_record_device(const char *name)
{
    if (!profile_is_on || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    struct record *record = capture_event(RECORD_DEVICE, now);
    record_text(record, name);
    capture_write(record, now);
    capture_end();
}
