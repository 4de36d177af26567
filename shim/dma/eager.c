/* SPDX-License-Identifier: MIT */
/* How far eager mode goes: up to the limit, by default half of the memory that is available, looked at again as it
 * fills. Memory that a program may never touch is left out: what is NORESERVE, what is inaccessible, and a single mapping
 * above an eighth of what is available, which by experience is a reserve. */
#include "dma/eager.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/available.h"
#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/counts.h"
#include "dma/iova.h"
#include "dma/pagemap.h"
#include "profile/profile.h"

#define MIB(bytes) ((bytes) >> 20)

/* Why something could not be registered. */
enum obstacle {
    OBSTACLE_LIMIT,
    OBSTACLE_RESERVE,
    OBSTACLE_MEMLOCK,
    OBSTACLE_TABLE,
    OBSTACLE_MEMORY,
    OBSTACLE_IOVA,
    OBSTACLE_REPLACED,
    OBSTACLE_BUSY,
    OBSTACLE_OTHER,
    OBSTACLE_WAY,
    NR_OBSTACLES
};

static _Atomic bool is_on;
static bool has_stopped; /* what comes is not registered; never in refuse mode */
static enum obstacle stopped_by;
static uint64_t limit;         /* of pinned bytes */
static uint64_t largest;       /* single mapping */
static uint64_t look_again_at; /* pinned bytes */
static bool was_told[NR_OBSTACLES];
static uintptr_t released_start, released_end; /* the hull of what eager_refill looks at */
static _Atomic uint64_t nr_left_out, bytes_left_out;

static _Atomic bool is_left_to_program;

void eager_note_lookup(void)
{
    if (!atomic_load_explicit(&is_left_to_program, memory_order_relaxed))
        atomic_store_explicit(&is_left_to_program, true, memory_order_relaxed);
}

bool eager_is_left_to_program(void)
{
    return atomic_load_explicit(&is_left_to_program, memory_order_relaxed);
}

void eager_reset(void)
{
    eager_end();
    is_left_to_program = false;
}

bool eager_is_on(void)
{
    return atomic_load_explicit(&is_on, memory_order_acquire);
}

/* --- limits ------------------------------------------------------------------------------------------------------ */

static bool refuses(void)
{
    return config.on_limit == LIMIT_REFUSE;
}

/* Pinned pages, however many containers have them. */
static uint64_t pinned_now(void)
{
    return counts_of(COUNTS_OURS)->pinned / (containers_nr_pinning() ? containers_nr_pinning() : 1);
}

/* What is pinned counts as still available: the limit is half of what was there before. */
static void look_at_memory(void)
{
    uint64_t pinned = pinned_now(), available = available_memory() + pinned;
    limit = config.limit_bytes ? config.limit_bytes : available / 2;
    largest = config.limit_bytes ? config.limit_bytes : available / 8;
    look_again_at = pinned + available / 32;
}

/* Whether `len` more bytes may be pinned. */
static bool has_room(size_t len)
{
    uint64_t after = pinned_now() + len;
    if (after > look_again_at || after > limit)
        look_at_memory();
    return after <= limit;
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

static enum obstacle obstacle_of(int error)
{
    switch (error) {
    case -EDQUOT: /* of our own: the limit */
        return OBSTACLE_LIMIT;
    case -ENOSPC:
        return OBSTACLE_TABLE;
    case -EADDRNOTAVAIL:
        return OBSTACLE_IOVA;
    case -ESTALE:
        return OBSTACLE_REPLACED;
    case -ENOMEM:
        return os_can_lock_all() ? OBSTACLE_MEMORY : OBSTACLE_MEMLOCK;
    default:
        return OBSTACLE_OTHER;
    }
}

static const char *why(enum obstacle obstacle)
{
    static const char *const reasons[NR_OBSTACLES] = {
        [OBSTACLE_LIMIT] =
            "eager mode's limit is reached (ANYDMA_LIMIT; by default half of the memory that is "
            "available to this process): raise it",
        [OBSTACLE_RESERVE] = "it is larger than an eighth of the memory that is available, which eager mode "
                             "takes for a reserve: set ANYDMA_LIMIT to have it registered up to there",
        [OBSTACLE_MEMLOCK] = "the memlock limit is reached: raise `ulimit -l`",
        [OBSTACLE_TABLE] =
            "the IOMMU's table of mappings is full: raise vfio_iommu_type1.dma_entry_limit, or "
            "ANYDMA_GRANULE",
        [OBSTACLE_MEMORY] = "there is no memory to pin it",
        [OBSTACLE_IOVA] = "its address is no IOVA of its own: the application has mapped something there, or "
                          "the device can't reach it",
        [OBSTACLE_REPLACED] = "it replaces memory that was unmapped within a live registration: unmap whole "
                              "mappings",
        [OBSTACLE_BUSY] = "another thread is unmapping memory of the same registration, and comes to no end",
        [OBSTACLE_OTHER] = "the kernel refuses to map it",
        [OBSTACLE_WAY] = "a mapping of the application's own found no room and was given that of everything "
                         "else",
    };
    return reasons[obstacle];
}

/* Each obstacle once; everything is counted. */
static void leave_out(enum obstacle obstacle, uintptr_t start, size_t len, int error)
{
    atomic_fetch_add_explicit(&nr_left_out, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes_left_out, len, memory_order_relaxed);
    if (was_told[obstacle])
        return;
    was_told[obstacle] = true;
    log_write(LOG_WARNING,
              "eager mode can't register 0x%lx (%zu bytes): %s. %lu MiB are pinned of %lu MiB (error %d). %s",
              start, len, why(obstacle), MIB(pinned_now()), MIB(limit), -error,
              refuses()
                  ? "Allocations that can't be registered fail with ENOMEM"
                  : "A device that uses its address faults, or loses data: look it up (anydma_iova), or let "
                    "such allocations fail (ANYDMA_ON_LIMIT=refuse)");
}

void eager_pass_shared(uintptr_t start, size_t len, const char *why)
{
    static bool is_told;
    registry_enter();
    bool tells = containers_attached() && !is_told;
    is_told |= tells;
    if (containers_attached() && !refuses()) { /* it is not refused: what was is counted then */
        atomic_fetch_add_explicit(&nr_left_out, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&bytes_left_out, len, memory_order_relaxed);
    }
    registry_exit();
    if (tells)
        log_write(LOG_WARNING,
                  "eager mode does not register shared memory (0x%lx, %zu bytes): %s. A device that uses its "
                  "address "
                  "faults, or loses data",
                  start, len, why);
}

void eager_tell_end(void)
{
    uint64_t nr = atomic_load_explicit(&nr_left_out, memory_order_relaxed);
    if (!nr)
        return;
    log_write(LOG_WARNING,
              refuses() ? "eager mode refused %lu allocations (%lu MiB) that could not be registered"
                        : "eager mode left %lu allocations (%lu MiB) unregistered: a device that used their "
                          "addresses did not reach them",
              nr, MIB(atomic_load_explicit(&bytes_left_out, memory_order_relaxed) + 0xfffff));
}

/* What comes is not tried any more: each try would be a system call that fails. */
static void stop(enum obstacle obstacle)
{
    if (refuses() || obstacle == OBSTACLE_IOVA || obstacle == OBSTACLE_REPLACED || obstacle == OBSTACLE_OTHER)
        return;
    stopped_by = obstacle;
    has_stopped = true;
}

/* --- registering ------------------------------------------------------------------------------------------------- */

/* The stretch from `va` on that one registration covers, or none; registered, if it can be. Returns where it ends, and
 * *error. */
static uintptr_t register_stretch(uintptr_t va, uintptr_t end, int *error)
{
    struct registration *reg = registration_from(va);
    if (reg && reg->start <= va) {
        uintptr_t confirmed;
        *error = registry_confirm(reg, va, &confirmed);
        return confirmed < end ? confirmed : end;
    }
    uintptr_t gap_end = reg && reg->start < end ? reg->start : end;
    bool is_foreign = registry_is_foreign(va); /* it is registered as it is asked for, in no units */
    size_t own_len = is_foreign ? iova_reach(va, va) : 0;
    if (own_len) /* DPDK's huge pages */
        return own_len < gap_end - va ? va + own_len : gap_end;
    if (!has_room(gap_end - va)) {
        *error = -EDQUOT;
        return end;
    }
    *error = registry_make(va, gap_end - va, FOR_EAGER, &reg);
    if (*error)
        return is_foreign ? gap_end : (va & ~(OS_PAGE_SIZE - 1)) + OS_PAGE_SIZE;
    return reg->start + reg->len < end ? reg->start + reg->len : end;
}

/* How much of the range is not registered. */
static size_t missing_of(uintptr_t start, size_t len)
{
    return len - registrations_in(start, start + len, len);
}

/* Returns 0; -ENOMEM when some of it could not be registered; -EINPROGRESS when a part of a registration is just being
 * unmapped: to be tried again. */
static int register_range(uintptr_t start, size_t len)
{
    size_t left_out = has_stopped ? missing_of(start, len) : 0;
    enum obstacle obstacle = stopped_by;
    int first = 0;
    for (uintptr_t va = start, end = start + len, next; va < end && !has_stopped; va = next) {
        int error = 0;
        next = register_stretch(va, end, &error);
        if (error == -EINPROGRESS)
            return error;
        if (!error || error == -EFAULT || error == -ENODEV) /* gone meanwhile, the memory or the container */
            continue;
        if (!first)
            obstacle = obstacle_of(first = error);
        stop(obstacle_of(error));
        left_out += has_stopped ? missing_of(va, end - va) : next - va;
        if (refuses())
            break;
    }
    if (!left_out)
        return 0;
    changes_tell(start, len, MEMORY_LEFT_OUT);
    leave_out(obstacle, start, left_out, first);
    return -ENOMEM;
}

static int offer(uintptr_t start, size_t len)
{
    if (len <= largest || refuses())
        return register_range(start, len);
    changes_tell(start, len, MEMORY_LEFT_OUT);
    leave_out(OBSTACLE_RESERVE, start, missing_of(start, len), 0);
    return 0;
}

/* Registers what is alive in [start, end); the next refill does where another thread is unmapping a part: the lock can't be let
 * go here. */
static void fill(uintptr_t cursor, uintptr_t end)
{
    uintptr_t start;
    size_t len;
    while (registry_next_alive(&cursor, end, &start, &len))
        if (offer(start, len) == -EINPROGRESS)
            eager_released(start, len);
}

void eager_start(void)
{
    if (eager_is_on())
        return;
    if (config.heap == HEAP_SYSTEM)
        log_write(LOG_WARNING,
                  "eager mode registers nothing with ANYDMA_HEAP=system, which leaves memory where it was: a "
                  "device that uses its addresses faults. Use ANYDMA_HEAP=own, or look memory up "
                  "(anydma_iova)");
    has_stopped = false;
    look_at_memory();
    atomic_store_explicit(&is_on, true, memory_order_seq_cst);
    fill(0, UINTPTR_MAX);
}

void eager_end(void)
{
    atomic_store_explicit(&is_on, false, memory_order_release);
    has_stopped = false;
    released_start = released_end = 0;
}

void eager_released(uintptr_t start, size_t len)
{
    if (!eager_is_on())
        return;
    released_start = released_end && released_start < start ? released_start : start;
    released_end = released_end > start + len ? released_end : start + len;
}

void eager_refill(void)
{
    uintptr_t start = released_start, end = released_end;
    released_start = released_end = 0;
    if (end && eager_is_on() && containers_attached() && !has_stopped)
        fill(start, end);
}

void eager_gave_way(void)
{
    if (!eager_is_on())
        return;
    leave_out(OBSTACLE_WAY, 0, 0, 0);
    stop(OBSTACLE_WAY);
}

/* Another thread was to unmap a part, and has not come to an end. */
static int leave_out_busy(uintptr_t start, size_t len)
{
    changes_tell(start, len, MEMORY_LEFT_OUT);
    leave_out(OBSTACLE_BUSY, start, len, -EINPROGRESS);
    return -ENOMEM;
}

static int offer_alive(uintptr_t start, size_t len)
{
    uintptr_t cursor = start, end = start + len, from;
    size_t part;
    int error = 0;
    while (error != -EINPROGRESS && registry_next_alive(&cursor, end, &from, &part)) {
        int result = offer(from, part);
        error = result ? result : error;
    }
    return error;
}

static int offer_by(int (*offers)(uintptr_t start, size_t len), uintptr_t start, size_t len)
{
    unsigned tries = 0;
    int error;
    profile_enter();
    registry_enter();
    do
        error = eager_is_on() && containers_attached() ? offers(start, len) : 0;
    while (registry_try_again(&error, &tries));
    if (error == -EFAULT)
        error = leave_out_busy(start, len);
    registry_leave();
    profile_leave();
    return refuses() ? error : 0;
}

int eager_offer(uintptr_t start, size_t len)
{
    return eager_is_on() && !pagemap_is_registered(start, len) ? offer_by(offer, start, len) : 0;
}

int eager_offer_alive(uintptr_t start, size_t len)
{
    return eager_is_on() ? offer_by(offer_alive, start, len) : 0;
}

int eager_admit(uintptr_t start, size_t len)
{
    if (!refuses() || !eager_is_on())
        return 0;
    registry_enter();
    bool is_admitted =
        !eager_is_on() || !containers_attached() || has_room(start ? missing_of(start, len) : len);
    if (!is_admitted)
        leave_out(OBSTACLE_LIMIT, start, len, 0);
    registry_exit();
    return is_admitted ? 0 : -ENOMEM;
}
