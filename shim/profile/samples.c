/* SPDX-License-Identifier: MIT */
/* Chooses and remembers the samples. Under the capture's lock. */
#include "profile/samples.h"

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/real.h"
#include "base/settings.h"
#include "profile/capture.h"
#include "profile/profile.h"
#include "profile/table.h"

struct sample {
    const void *address;
    UT_hash_handle hh;
};

size_t samples_near_len;
_Thread_local int64_t samples_bytes_left;
_Atomic uint8_t *samples_near, *samples_filter;

/* With auto: a thread that comes by samples faster than one in PACE_NS has them twice as far apart, up to
 * MOST_DOUBLINGS; judged by every JUDGED samples. At 4 us a sample that is at most a hundredth of its time. */
enum { JUDGED = 64, MOST_DOUBLINGS = 5 };
#define PACE_NS UINT64_C(400000)

static _Thread_local struct {
    uint64_t random;   /* 0: the thread has had no sample */
    unsigned doubled;  /* the mean of the gap that ends next is the setting's, doubled so often */
    uint64_t mean;     /* that of the gap that ended last */
    unsigned nr;       /* samples since `since_ns` */
    uint64_t since_ns; /* of the thread's own time: other load changes nothing */
} thread __attribute__((tls_model("initial-exec")));
static struct sample *table;
static struct pool pool = POOL_OF(struct sample);
static uintptr_t heap_start;

void samples_start(uintptr_t start, size_t len)
{
    if (!profile_is_on || !config.sample_bytes)
        return;
    if (len > SAMPLES_NEAR_BYTES)
        len = SAMPLES_NEAR_BYTES;
    samples_filter = pool_map((size_t)1 << SAMPLES_FILTER_BITS);
    samples_near = pool_map((len >> SAMPLES_NEAR_BITS) + 1);
    if (!samples_filter || !samples_near) {
        log_write(LOG_WARNING, "no memory for sampling: allocations are not attributed");
        return;
    }
    heap_start = start;
    samples_near_len = len;
}

static uint64_t next_random(void)
{
    thread.random ^= thread.random << 13;
    thread.random ^= thread.random >> 7;
    return thread.random ^= thread.random << 17;
}

/* Bytes to the next chosen one. */
static int64_t next_gap(void)
{
    double uniform = ((double)(next_random() >> 11) + 1) / 9007199254740993.0; /* in (0, 1] */
    double gap = -real_log(uniform) * (double)(config.sample_bytes << thread.doubled);
    return gap < 1 ? 1 : gap > 9e18 ? INT64_MAX : (int64_t)gap;
}

/* Looks back only: a mean that knew of the bytes to come would choose among them. */
static void keep_pace(void)
{
    thread.mean = config.sample_bytes << thread.doubled;
    if (config.sample_bytes != settings[SETTING_SAMPLE].automatic || ++thread.nr < JUDGED)
        return;
    uint64_t now = os_thread_ns(), took = now - thread.since_ns;
    if (took < JUDGED * PACE_NS && thread.doubled < MOST_DOUBLINGS)
        thread.doubled++;
    else if (took > 4 * JUDGED * PACE_NS && thread.doubled)
        thread.doubled--;
    thread.nr = 0;
    thread.since_ns = now;
}

static void count_up(_Atomic uint8_t *count)
{
    uint8_t seen = atomic_load_explicit(count, memory_order_relaxed);
    if (seen != UINT8_MAX) /* from there on it stays: such addresses are always looked up */
        atomic_store_explicit(count, (uint8_t)(seen + 1), memory_order_relaxed);
}

static void count_down(_Atomic uint8_t *count)
{
    uint8_t seen = atomic_load_explicit(count, memory_order_relaxed);
    if (seen != UINT8_MAX)
        atomic_store_explicit(count, (uint8_t)(seen - 1), memory_order_relaxed);
}

/* Brings the two filters up to date. */
static void count(const void *ptr, void (*change)(_Atomic uint8_t *))
{
    size_t offset = (uintptr_t)ptr - heap_start;
    change(&samples_filter[samples_hash(ptr)]);
    if (offset < samples_near_len)
        change(&samples_near[offset >> SAMPLES_NEAR_BITS]);
}

static bool remember(const void *ptr)
{
    struct sample *sample;
    unsigned hash = table_hash(&ptr, sizeof(ptr));
    HASH_FIND_BYHASHVALUE(hh, table, &ptr, sizeof(ptr), hash, sample);
    if (sample)
        return true;
    sample = pool_take(&pool);
    if (!sample)
        return false;
    sample->address = ptr;
    HASH_ADD_BYHASHVALUE(hh, table, address, sizeof(sample->address), hash, sample);
    if (!sample->hh.tbl)
        return false;
    count(ptr, count_up);
    return true;
}

uint64_t samples_weight(size_t size)
{
    if (size <= thread.mean / 64) /* the series' first terms, to 1 in 40,000 */
        return thread.mean + size / 2;
    double chance = 1 - real_exp_minus((double)size / (double)thread.mean);
    return chance > 0 ? (uint64_t)((double)size / chance + 0.5) : size;
}

/* The thread's first: a gap, and maybe this one is in it. */
static bool choose_first(size_t size)
{
    thread.since_ns = os_thread_ns();
    thread.random = os_monotonic_ns() ^ (uint64_t)os_gettid() << 40 ^ (uintptr_t)&thread;
    thread.random |= 1;
    for (int i = 0; i < 8; i++)
        next_random();
    samples_bytes_left = next_gap() - (int64_t)size;
    return samples_bytes_left <= 0;
}

bool samples_choose(size_t size)
{
    if (!thread.random && !choose_first(size))
        return false;
    keep_pace();
    samples_bytes_left = next_gap();
    return true;
}

void samples_become_child(void)
{
    thread.random = 0;
    samples_bytes_left = 0;
}

static void write_sample(const void *ptr, size_t size)
{
    uint64_t now = os_monotonic_coarse_ns();
    uint32_t tid = capture_thread(now), site = capture_site(now);
    if (!remember(ptr))
        return;
    struct record *record = capture_event(RECORD_SAMPLE, now);
    record_number(record, tid);
    record_number(record, site);
    record_number(record, (uintptr_t)ptr);
    record_number(record, size);
    record_number(record, samples_weight(size));
    capture_write(record, now);
}

__attribute__((noinline, cold)) void *samples_take(void *ptr, size_t size)
{
    if (!samples_choose(size) || !ptr)
        return ptr;
    profile_take_stack();
    if (capture_begin()) {
        write_sample(ptr, size);
        capture_end();
    }
    profile_drop_stack();
    return ptr;
}

__attribute__((noinline, cold)) void samples_forget(void *ptr)
{
    struct sample *sample;
    const void *address = ptr;
    if (!capture_begin())
        return;
    HASH_FIND_PTR(table, &address, sample);
    if (sample) {
        uint64_t now = os_monotonic_coarse_ns();
        HASH_DEL(table, sample);
        pool_give(&pool, sample);
        count(ptr, count_down);
        struct record *record = capture_event(RECORD_FREED, now);
        record_number(record, (uintptr_t)ptr);
        capture_write(record, now);
    }
    capture_end();
}
