/* SPDX-License-Identifier: MIT */
/* Keeps the sampled mappings that are there, so that only their ends are told. Under the capture's lock. */
#include "profile/placed.h"

#include <bsd/sys/tree.h>
#include <stdatomic.h>

#include "base/config.h"
#include "base/os.h"
#include "base/pool.h"
#include "profile/capture.h"
#include "profile/profile.h"
#include "profile/samples.h"

/* From here on a mapping is told of anyway: next to the faults of its pages that costs little. */
enum { LARGE_BYTES = 64 << 10 };

struct placed {
    RB_ENTRY(placed) by_start;
    uintptr_t start, end;
};

static int compare(const struct placed *a, const struct placed *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}

RB_HEAD(placed_tree, placed);
RB_GENERATE_INTERNAL(placed_tree, placed, by_start, compare, __attribute__((unused)) static)

bool placed_is_on;
static struct placed_tree tree;
static struct pool pool = POOL_OF(struct placed);
static _Atomic size_t nr_placed;

void placed_start(void)
{
    placed_is_on = profile_is_on && config.sample_bytes;
}

/* The first that ends above `start`. */
static struct placed *placed_from(uintptr_t start)
{
    struct placed *at = RB_ROOT(&tree), *found = NULL;
    while (at) {
        if (start < at->end) {
            found = at;
            at = RB_LEFT(at, by_start);
        } else {
            at = RB_RIGHT(at, by_start);
        }
    }
    return found;
}

static bool insert(uintptr_t start, uintptr_t end)
{
    struct placed *placed = pool_take(&pool);
    if (!placed)
        return false;
    placed->start = start;
    placed->end = end;
    if (RB_INSERT(placed_tree, &tree, placed)) { /* its end was missed */
        pool_give(&pool, placed);
        return false;
    }
    atomic_fetch_add_explicit(&nr_placed, 1, memory_order_relaxed);
    return true;
}

/* Cuts the range out. Returns whether anything was in it. */
static bool cut(uintptr_t start, uintptr_t end)
{
    struct placed *placed = placed_from(start), *next;
    bool found = false;
    for (; placed && placed->start < end; placed = next) {
        uintptr_t rest = placed->end;
        next = RB_NEXT(placed_tree, , placed);
        found = true;
        if (placed->start < start) {
            placed->end = start;
        } else {
            RB_REMOVE(placed_tree, &tree, placed);
            pool_give(&pool, placed);
            atomic_fetch_sub_explicit(&nr_placed, 1, memory_order_relaxed);
        }
        if (rest > end)
            insert(end, rest);
    }
    return found;
}

void placed_add(uintptr_t start, size_t len)
{
    bool is_large = len >= LARGE_BYTES;
    if (!is_large && (samples_pass_by(len) || !samples_choose(len)))
        return;
    profile_take_stack();
    if (capture_begin()) {
        uint64_t now = os_monotonic_coarse_ns();
        uint32_t tid = capture_thread(now), site = capture_site(now);
        cut(start, start + len);
        if (insert(start, start + len)) {
            struct record *record = capture_event(RECORD_PLACED, now);
            record_number(record, tid);
            record_number(record, site);
            record_number(record, start);
            record_number(record, len);
            record_number(record, is_large ? len : samples_weight(len));
            capture_write(record, now);
        }
        capture_end();
    }
    profile_drop_stack();
}

bool placed_remove(uintptr_t start, size_t len)
{
    bool found = false;
    if (!atomic_load_explicit(&nr_placed, memory_order_relaxed) || !capture_begin())
        return false;
    found = cut(start, start + len);
    if (found) {
        uint64_t now = os_monotonic_coarse_ns();
        struct record *record = capture_event(RECORD_REMOVED, now);
        record_number(record, start);
        record_number(record, len);
        capture_write(record, now);
    }
    capture_end();
    return found;
}
