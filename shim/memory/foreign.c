/* SPDX-License-Identifier: MIT */
/* Decides which memory outside the arena may be registered, and whether what was is still itself. Everything here is
 * under LOCK_REGISTRY, taken by the registry or by registry_locked. */
#include "memory/foreign.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "memory/contents.h"
#include "memory/files.h"
#include "memory/runs.h"
#include "memory/watch.h"

#define RW (PROT_READ | PROT_WRITE)
#define USER_END ((uintptr_t)1 << 47)

enum foreign_state {
    UNKNOWN,  /* never registered */
    USED = 2, /* registered, and still itself */
    LEAVING,  /* the same, while the program's call takes its pages */
    GONE,     /* registered before it was unmapped, moved, replaced or emptied */
    POISONED, /* registered, and purged behind the doors: the purger may not have begun yet, nor have ended long after */
    SUSPECT, /* so purged, in a watched mapping, and not registered: what it finds registered goes stale */
    NR_STATES
};

enum foreign_event {
    BEGUN,     /* the program's call is about to take the pages */
    STAYED,    /* it failed */
    WENT,      /* unmapped, moved or replaced */
    PURGED,    /* behind the doors */
    EMPTIED,   /* through a door: whatever purge is under way behind them goes on */
    UNWATCHED, /* nothing is reported of it any more */
    NR_EVENTS
};

/* What an event makes of a state. */
// clang-format off
static const uint8_t next_state[NR_EVENTS][NR_STATES] = {
    /*             UNKNOWN              USED      LEAVING   GONE      POISONED  SUSPECT */
    [BEGUN]     = {UNKNOWN, UNKNOWN, LEAVING,  LEAVING,  GONE,     POISONED, SUSPECT},
    [STAYED]    = {UNKNOWN, UNKNOWN, USED,     USED,     GONE,     POISONED, SUSPECT},
    [WENT]      = {UNKNOWN, UNKNOWN, GONE,     GONE,     GONE,     GONE,     UNKNOWN},
    [PURGED]    = {SUSPECT, UNKNOWN, POISONED, POISONED, POISONED, POISONED, SUSPECT}, /* where a page is GONE, the purge is of what came to its place */
    [EMPTIED]   = {UNKNOWN, UNKNOWN, GONE,     GONE,     GONE,     POISONED, SUSPECT},
    [UNWATCHED] = {UNKNOWN, UNKNOWN, POISONED, POISONED, GONE,     POISONED, SUSPECT},
};
// clang-format on

/* Of each page. */
static struct runs known;
static _Atomic bool has_known;

/* Areas that are watched, whole mappings: USED. */
static struct runs areas;

static int init_runs(void)
{
    if (atomic_load_explicit(&has_known, memory_order_relaxed))
        return 0;
    if (runs_init(&known, 0, USER_END) != 0 || runs_init(&areas, 0, USER_END) != 0)
        return -ENOMEM;
    atomic_store_explicit(&has_known, true, memory_order_release);
    return 0;
}

static struct page_kind kind_of(int state)
{
    return (struct page_kind){.state = (uint8_t)state};
}

/* Lets the event happen to each page of the range. */
static void change(uintptr_t start, uintptr_t end, enum foreign_event event)
{
    for (uintptr_t next; start < end && start < USER_END; start = next) {
        struct run *run = runs_at(&known, start);
        next = run->start + run->len < end ? run->start + run->len : end;
        runs_change(&known, run, start, next - start, kind_of(next_state[event][run->kind.state]));
    }
}

static void distrust_everything(void)
{
    for (struct run *area = runs_at(&areas, 0); area; area = runs_next(area))
        if (area->kind.state == USED)
            change(area->start, area->start + area->len, PURGED);
    change(0, USER_END, UNWATCHED);
}

/* What the kernel has reported since the last time. Purges within [*own, own_end) that come in the order of addresses are
 * the caller's, once each; *own moves on. */
static void take_events_but(uintptr_t *own, uintptr_t own_end)
{
    struct watch_event event;
    while (watch_next_event(&event)) {
        if (event.kind == WATCH_GONE) {
            change(event.start, event.end, WENT);
            runs_set(&areas, event.start, event.end - event.start,
                     kind_of(UNKNOWN)); /* its watch went with it */
        } else if (event.start >= *own && event.end <= own_end) {
            *own = event.end;
        } else {
            change(event.start, event.end, PURGED);
        }
    }
    if (watch_overflowed())
        distrust_everything();
}

static void take_events(void)
{
    uintptr_t none = USER_END;
    take_events_but(&none, 0);
}

/* --- what may be registered ------------------------------------------------------------------------------------------------- */

static int refuse(const struct procmaps_entry *entry, uintptr_t va, const char *why)
{
    log_write(LOG_INFO,
              "0x%lx lies in a mapping that %s (%s); use malloc or an anonymous private mmap, or set "
              "ANYDMA_FOREIGN=trust if nothing ever takes its pages away",
              va, why, entry->name[0] ? entry->name : "anonymous");
    return -EOPNOTSUPP;
}

static bool is_watched(uintptr_t va)
{
    return runs_at(&areas, va)->kind.state == USED;
}

static unsigned count_areas(void)
{
    unsigned nr = 0;
    for (struct run *area = runs_at(&areas, 0); area; area = runs_next(area))
        nr += area->kind.state == USED;
    return nr;
}

/* Starts the watch of the whole mapping: a part of it would split it in three. */
static int watch_mapping(const struct procmaps_entry *entry, uintptr_t va)
{
    if (is_watched(va))
        return 0;
    int error = watch_start(entry->start, entry->end);
    if (error == -ENOSPC) {
        watch_count_is(count_areas());
        error = watch_start(entry->start, entry->end);
    }
    if (!error)
        return runs_set(&areas, entry->start, entry->end - entry->start, kind_of(USED));
    return refuse(entry, va,
                  error == -EPERM    ? "can't be watched: userfaultfd is not permitted here"
                  : error == -EBUSY  ? "the program watches by a userfaultfd of its own"
                  : error == -ENOSPC ? "would be one watched area too many (a quarter of vm.max_map_count)"
                                     : "the kernel can't watch");
}

static int admit(uintptr_t va, uintptr_t *end)
{
    struct procmaps_entry entry;
    int error = procmaps_find(va, &entry);
    if (error)
        return error == -ENOENT ? -EFAULT : error;
    if ((entry.prot & RW) != RW)
        return -EFAULT;
    if (*end > entry.end)
        *end = entry.end;
    if (config.foreign == FOREIGN_TRUST)
        return 0;
    if (config.foreign == FOREIGN_REFUSE)
        return refuse(&entry, va, "anydma did not place (ANYDMA_FOREIGN=refuse)");
    if (entry.is_shared)
        return refuse(&entry, va,
                      "is shared: its pages can be taken away through another descriptor or process, unseen");
    if (entry.is_file)
        return refuse(&entry, va, "is a file's: the kernel can't watch it");
    return watch_mapping(&entry, va);
}

static int intact(uintptr_t va, uintptr_t *start, size_t *len)
{
    if (va >= USER_END || init_runs() != 0)
        return -EFAULT;
    int error = config.foreign == FOREIGN_TRUST ? 0 : watch_validate(va);
    take_events();
    if (error == -ENOENT) { /* replaced, and not always with an event: shmat(SHM_REMAP) sends none */
        uintptr_t page = va & ~(OS_PAGE_SIZE - 1);
        change(page, page + OS_PAGE_SIZE, EMPTIED);
        runs_set(&areas, page, OS_PAGE_SIZE, kind_of(UNKNOWN));
    }
    struct run *run = runs_at(&known, va);
    if (error || run->kind.state != USED)
        return -ESTALE;
    *start = run->start;
    *len = run->len;
    return 0;
}

/* Page-exact. */
static int plan(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len)
{
    uintptr_t end = os_page_up(va + want_len);
    if (va >= USER_END)
        return -EFAULT;
    if (init_runs() != 0)
        return -ENOMEM;
    take_events();
    struct run *run = runs_at(&known, va);
    if (run->kind.state != UNKNOWN)
        return -ESTALE;
    if (end > run->start + run->len)
        end = run->start + run->len;
    int error = admit(va, &end);
    *start = va & ~(OS_PAGE_SIZE - 1);
    *len = end - *start;
    return error;
}

/* It is registered as far as is asked for, at once. */
static bool lump(uintptr_t va, struct memory_lump *lump)
{
    return false;
}

/* Pages leave by other ways than our doors: no lookup is answered without asking. */
static bool is_owned(uintptr_t va)
{
    return false;
}

static void registered(uintptr_t start, size_t len)
{
    runs_set(&known, start, len, kind_of(USED));
}

static bool retire(uintptr_t start, size_t len)
{
    for (struct run *run = runs_at(&known, start); run && run->start < start + len; run = runs_next(run))
        if (run->kind.state == USED || run->kind.state == LEAVING || run->kind.state == POISONED)
            return false;
    return true;
}

static void release(uintptr_t start, size_t len)
{
    runs_set(&known, start, len, kind_of(UNKNOWN));
}

static void prepare(uintptr_t start, size_t len)
{
}

static bool expose(uintptr_t start, size_t len, bool exposed)
{
    return false;
}

static bool next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    return false;
}

const struct memory_ops foreign_memory_ops = {
    .plan = plan,
    .lump = lump,
    .intact = intact,
    .is_owned = is_owned,
    .registered = registered,
    .next_alive = next_alive,
    .prepare = prepare,
    .expose = expose,
    .retire = retire,
    .release = release,
};

/* --- the doors -------------------------------------------------------------------------------------------------------------- */

struct range_call {
    uintptr_t start;
    size_t len;
    int advice;
    int error;
};

static void mark(struct range_call *call, enum foreign_event event)
{
    take_events();
    change(call->start, call->start + call->len, event);
}

static void mark_begun(void *arg)
{
    mark(arg, BEGUN);
}

static void mark_stayed(void *arg)
{
    mark(arg, STAYED);
}

static void mark_went(void *arg)
{
    mark(arg, WENT);
}

void foreign_begin(uintptr_t start, size_t len)
{
    struct range_call call = {start, len, 0, 0};
    if (atomic_load_explicit(&has_known, memory_order_acquire))
        registry_locked(mark_begun, &call);
}

void foreign_end(uintptr_t start, size_t len, bool has_failed)
{
    struct range_call call = {start, len, 0, 0};
    if (!atomic_load_explicit(&has_known, memory_order_acquire))
        return;
    registry_locked(has_failed ? mark_stayed : mark_went, &call);
    if (!has_failed)
        registry_forget(start, len);
}

/* The kernel's own purge, whose events are no news: it is over when they are taken. */
static int purge_unregistered(uintptr_t start, size_t len, int advice)
{
    uintptr_t own = start;
    take_events();
    int error = os_madvise(start, len, advice);
    if (!watch_is_settled() || error)
        own = USER_END;
    take_events_but(&own, start + len);
    return error;
}

/* Of what is registered from `start` on; *next comes back to where the mapping ends. Shared memory loses nothing by it, a private
 * mapping of a file is as the file is from there on: without ANYDMA_FOREIGN=trust neither is registered. */
static int purge_registered(uintptr_t start, uintptr_t *next, int advice)
{
    struct procmaps_entry entry = {0};
    if (config.foreign == FOREIGN_TRUST && procmaps_find(start, &entry) == 0 && entry.end < *next)
        *next = entry.end;
    if (entry.is_shared)
        return os_madvise(start, *next - start, advice);
    if (advice == MADV_FREE && !entry.is_file)
        return 0;
    if (!entry.is_file && contents_zero(start, *next - start))
        return 0;
    int error = os_madvise(start, *next - start, advice);
    if (!error) /* also without /proc: lookups say no from here on */
        change(start, *next, EMPTIED);
    return error;
}

/* Under the registry's lock throughout: nothing becomes registered while it is being purged. */
static void purge(void *arg)
{
    struct range_call *call = arg;
    take_events();
    uintptr_t start = call->start, end = start + call->len, next;
    for (; start < end && (!call->error || call->error == -ENOMEM); start = next) {
        struct run *run = runs_at(&known, start);
        next = run->start + run->len < end ? run->start + run->len : end;
        int error = run->kind.state == USED ? purge_registered(start, &next, call->advice)
                                            : purge_unregistered(start, next - start, call->advice);
        call->error = error ? error : call->error;
    }
}

/* Under the lock throughout: of these purges the kernel sends no event. */
static void empty(void *arg)
{
    struct range_call *call = arg;
    take_events();
    change(call->start, call->start + call->len, EMPTIED);
    call->error = os_madvise(call->start, call->len, call->advice);
}

int foreign_advise(uintptr_t start, size_t len, int advice)
{
    enum { ADVICE_DONTNEED_LOCKED = 24, ADVICE_GUARD_INSTALL = 102 };
    struct range_call call = {start, len, advice, 0};
    bool is_purge = advice == MADV_DONTNEED || advice == MADV_FREE || advice == ADVICE_DONTNEED_LOCKED;
    if (advice == MADV_REMOVE)
        return files_remove(start, len);
    if ((!is_purge && advice != ADVICE_GUARD_INSTALL) || start + len > USER_END ||
        !atomic_load_explicit(&has_known, memory_order_acquire))
        return os_madvise(start, len, advice);
    registry_locked(is_purge ? purge : empty, &call);
    if (!is_purge)
        registry_forget(start, len);
    return call.error;
}

bool foreign_next_registered(uintptr_t *cursor, uintptr_t *start, uintptr_t *end)
{
    struct run *run =
        atomic_load_explicit(&has_known, memory_order_acquire) ? runs_at(&known, *cursor) : NULL;
    while (run && run->kind.state != USED)
        run = runs_next(run);
    if (!run)
        return false;
    *start = run->start > *cursor ? run->start : *cursor;
    *end = *cursor = run->start + run->len;
    return true;
}

void foreign_emptied(uintptr_t start, uintptr_t end)
{
    change(start, end, EMPTIED);
}

static void withdraw(void *arg)
{
    struct range_call *call = arg;
    take_events();
    watch_stop(call->start, call->start + call->len);
    runs_set(&areas, call->start, call->len, kind_of(UNKNOWN));
    change(call->start, call->start + call->len, UNWATCHED);
}

void foreign_withdraw(uintptr_t start, size_t len)
{
    struct range_call call = {start, len, 0, 0};
    if (atomic_load_explicit(&has_known, memory_order_acquire) && len && start + len > start &&
        start + len <= USER_END)
        registry_locked(withdraw, &call);
}

static void withdraw_all(void *arg)
{
    struct range_call everything = {0, USER_END, 0, 0};
    (void)arg;
    withdraw(&everything);
    watch_withdraw();
}

void foreign_withdraw_all(void)
{
    if (atomic_load_explicit(&has_known, memory_order_acquire))
        registry_locked(withdraw_all, NULL);
}

void foreign_reset(void)
{
    watch_reset();
    if (!atomic_load_explicit(&has_known, memory_order_relaxed))
        return;
    runs_set(&known, 0, USER_END, kind_of(UNKNOWN));
    runs_set(&areas, 0, USER_END, kind_of(UNKNOWN));
}
