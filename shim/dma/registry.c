/* SPDX-License-Identifier: MIT */
/* Registrations: made by lookups, undone when nothing alive is left in them. Owns LOCK_REGISTRY. */
#include "dma/registry.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/config.h"
#include "base/lock.h"
#include "base/os.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/descriptors.h"
#include "dma/holds.h"
#include "dma/iova.h"
#include "dma/pagemap.h"
#include "profile/profile.h"

static struct lock lock = {.rank = LOCK_REGISTRY};
LOCK_ON_LIST(lock);
static const struct memory_ops *memory;
static const struct registry_clients *clients;

static int owner_pid; /* a vfork child shares this memory, but neither descriptors nor IOMMU state */
/* A forked child of a process with a device: an IOVA would lead to the parent's page. */
static bool had_parents;

void registry_has_device(void)
{
    had_parents = false;
}

void registry_init(const struct memory_ops *ops, const struct registry_clients *above)
{
    memory = ops;
    clients = above;
    owner_pid = os_getpid();
}

bool registry_is_sim(void)
{
    return config.iommu == IOMMU_SIM;
}

/* A simulated container has no descriptor that a vfork child could have closed; and a sandbox may not allow the question. */
static bool is_owner(void)
{
    return registry_is_sim() || os_getpid() == owner_pid;
}

/* --- entering and leaving ------------------------------------------------------------------------------------------ */

static bool is_complete(const struct registration *reg, uintptr_t start, uintptr_t end)
{
    return registration_has(reg, start, end) == containers_attached();
}

bool registry_try_again(int *error, unsigned *tries)
{
    enum { MOST_TRIES = 1000 };
    struct timespec moment = {.tv_nsec = 100000};
    if (*error != -EINPROGRESS)
        return false;
    if ((*tries)++ == MOST_TRIES) {
        *error = -EFAULT;
        return false;
    }
    registry_exit();
    os_call(SYS_nanosleep, (long)&moment, 0, 0, 0, 0, 0);
    registry_enter();
    return true;
}

static void undo_deferred(void)
{
    if (!containers_take_deferred())
        return;
    for (struct registration *reg = registration_from(0), *next; reg; reg = next) {
        uintptr_t start = reg->start;
        size_t len = reg->len;
        next = registration_next(reg);
        if (!reg->is_deferred)
            continue;
        reg->is_stuck = reg->is_deferred = false;
        if (registry_undo(reg))
            registry_released(start, len);
    }
}

void registry_enter(void)
{
    lock_take(&lock);
}

void registry_exit(void)
{
    lock_release(&lock);
}

void registry_leave(void)
{
    undo_deferred();
    clients->leaving();
    lock_release(&lock);
}

/* --- making ----------------------------------------------------------------------------------------------------- */

/* A record, registered nowhere yet, with the holds of who holds the range and the call site of who makes it; NULL: no memory. */
static struct registration *add(uintptr_t start, size_t len, uint64_t iova)
{
    struct registration *reg = registration_insert(start, len, iova);
    if (reg) {
        reg->pins = holds_over(start, len);
        reg->site = profile_site();
    }
    return reg;
}

/* Ends the record of what is registered nowhere any more. */
static void drop(struct registration *reg)
{
    if (!containers_attached())
        profile_record_unowed(reg->start, reg->len);
    registration_remove(reg);
}

int registry_complete(struct registration *reg)
{
    if (!reg->mapped)
        memory->prepare(reg->start, reg->len);
    int error = containers_map(reg);
    if (error != -EFAULT)
        return error;
    bool is_in_flight = memory->expose(reg->start, reg->len, true);
    error = containers_map(reg);
    memory->expose(reg->start, reg->len, false);
    return error == -EFAULT && is_in_flight ? -EINPROGRESS : error;
}

/* The same for [start, end), which lies in it and is intact, where the rest can't be pinned but another container has it: what was
 * registered whole is not cut. */
static int complete_part(struct registration *reg, uintptr_t start, uintptr_t end)
{
    int error = registry_complete(reg);
    return !error || (error == -EFAULT && reg->mapped) ? containers_map_part(reg, start, end) : error;
}

/* The next stretch of [*cursor, end) that still is what was registered; moves *cursor behind it. */
static bool next_intact(uintptr_t *cursor, uintptr_t end, uintptr_t *start, uintptr_t *stop)
{
    size_t len;
    for (uintptr_t va = *cursor; va < end; va += OS_PAGE_SIZE) {
        if (memory->intact(va, start, &len) != 0)
            continue;
        *stop = *start + len < end ? *start + len : end;
        *start = *start > *cursor ? *start : *cursor;
        *cursor = *stop;
        return true;
    }
    return false;
}

int registry_complete_intact(struct registration *reg)
{
    uintptr_t cursor = reg->start, end = reg->start + reg->len, start, stop;
    int first = -EFAULT;
    for (bool is_first = true; next_intact(&cursor, end, &start, &stop); is_first = false) {
        int error = containers_map_part(reg, start, stop);
        first = is_first || !first ? error : first;
    }
    return first;
}

/* Takes the pagemap's marks from the blocks of the range that no registration reaches into. */
static void unmark(uintptr_t start, size_t len)
{
    for (uintptr_t block = start & ~(PAGEMAP_BLOCK_SIZE - 1); block < start + len;
         block += PAGEMAP_BLOCK_SIZE) {
        struct registration *other = registration_from(block);
        if (!other || other->start >= block + PAGEMAP_BLOCK_SIZE)
            pagemap_unmark_pinned(block);
    }
}

static void discard(struct registration *reg)
{
    uintptr_t start = reg->start;
    size_t len = reg->len;
    drop(reg);
    unmark(start, len);
}

bool registry_undo(struct registration *reg)
{
    pagemap_clear(reg->start, reg->len);
    if (!containers_unmap(reg))
        return false;
    discard(reg);
    return true;
}

/* Cuts [*start, *end) back to the gap around `va` between registrations. */
static void clip_to_gap(uintptr_t va, uintptr_t *start, uintptr_t *end)
{
    struct registration *above = registration_from(va);
    struct registration *below = registration_before(va);
    if (above && above->start < *end)
        *end = above->start;
    if (below && below->start + below->len > *start)
        *start = below->start + below->len;
}

static int try_range(uintptr_t start, size_t len, enum purpose purpose, struct registration **made)
{
    uint64_t iova = start;
    int error = containers_attached() && purpose != FOR_EAGER ? iova_choose(start, len, &iova) : 0;
    if (error)
        return error;
    struct registration *reg = add(start, len, iova);
    if (!reg)
        return -ENOMEM;
    reg->handed = purpose == FOR_LOOKUP;
    if (!containers_attached())
        profile_record_owed(reg->site, start, len);
    if (containers_attached()) {
        error = pagemap_mark_pinned(start, len);
        if (!error) {
            memory->prepare(start, len);
            error = containers_map(reg);
        }
        if (error) {
            if (!reg->is_stuck)
                discard(reg);
            return error;
        }
        pagemap_mark_whole(start, len);
    }
    memory->registered(start, len);
    *made = reg;
    return 0;
}

/* What another process has mapped in the same container is in no record of ours. */
static int make_range(uintptr_t start, size_t len, enum purpose purpose, struct registration **made)
{
    enum { MOST_TRIES = 4 };
    int error = try_range(start, len, purpose, made);
    for (unsigned i = 0; error == -EEXIST && purpose != FOR_EAGER && i < MOST_TRIES; i++) {
        iova_go_apart();
        error = try_range(start, len, purpose, made);
    }
    if (error == -EEXIST)
        iova_come_together();
    return error;
}

/* Whether less may be had where all of it may not. */
static bool is_worth_less(int error)
{
    return error == -ENOMEM || error == -EFAULT || error == -EADDRNOTAVAIL;
}

/* What is free of [start, end) around `va`; *start and *end get which that is. */
static int make_clipped(uintptr_t va, uintptr_t *start, uintptr_t *end, enum purpose purpose,
                        struct registration **made)
{
    clip_to_gap(va, start, end);
    int error = purpose == FOR_EAGER ? iova_clip_to_identity(va, start, end) : 0;
    return error ? error : make_range(*start, *end - *start, purpose, made);
}

/* The unit, and more of the lump around it. False: there is no more, or not now. */
static bool make_wide(uintptr_t va, size_t want_len, uintptr_t start, uintptr_t end, enum purpose purpose,
                      struct registration **made, int *error)
{
    struct memory_lump lump;
    if (!memory->lump(va, &lump) || !lump_widen(&lump, va + want_len, purpose == FOR_LOOKUP, &start, &end))
        return false;
    *error = make_clipped(va, &start, &end, purpose, made);
    return !is_worth_less(*error) && *error != -EEXIST;
}

int registry_make(uintptr_t va, size_t want_len, enum purpose purpose, struct registration **made)
{
    uintptr_t start, end;
    size_t len;
    int error = memory->plan(va, want_len, &start, &len);
    if (!error && !containers_attached() && (had_parents || !memory->is_owned(va)))
        error = -ENODEV;
    if (error)
        return error;
    end = start + len;
    if (make_wide(va, want_len, start, end, purpose, made, &error))
        return error;
    error = make_clipped(va, &start, &end, purpose, made);
    if (!is_worth_less(error))
        return error;
    /* The whole unit can't be had: exactly the pages asked for, then. */
    uintptr_t exact_start = va & ~(OS_PAGE_SIZE - 1);
    bool is_one = purpose == FOR_EAGER && memory->is_owned(va);
    uintptr_t exact_end = is_one ? exact_start + OS_PAGE_SIZE : os_page_up(va + want_len);
    if (exact_end > end)
        exact_end = end;
    if (exact_start == start && exact_end == end)
        return error;
    return make_range(exact_start, exact_end - exact_start, purpose, made);
}

void registry_gather(struct registration *reg)
{
    struct memory_lump lump;
    if (memory->lump(reg->start, &lump) && reg->start >= lump.start)
        lump_join(&lump, reg);
}

void registry_released(uintptr_t start, size_t len)
{
    memory->release(start, len);
    clients->released(start, len);
}

void registry_release_unused(uint64_t iova, uint64_t len)
{
    struct registration *reg = registration_from_iova(iova), *next;
    for (; reg && reg->iova < iova + len; reg = next) {
        next = registration_next_iova(reg);
        uintptr_t start = reg->start;
        size_t reg_len = reg->len;
        if (reg->handed || reg->pins || !registry_undo(reg))
            continue;
        changes_tell(start, reg_len, MEMORY_LEFT_OUT);
        registry_released(start, reg_len);
    }
}

/* --- when memory leaves: told by memory/ before the system call ---------------------------------------------------- */

void registry_let_go(struct registration *reg)
{
    uintptr_t start = reg->start;
    size_t len = reg->len;
    if (reg->pins || reg->is_stuck || !is_owner() || !memory->retire(start, len))
        return;
    if (registry_undo(reg))
        registry_released(start, len);
}

void registry_hold(uintptr_t start, size_t len, int change)
{
    struct registration *reg = registration_from(start), *next;
    for (; reg && reg->start < start + len; reg = next) {
        next = registration_next(reg);
        reg->pins += (uint32_t)change;
        if (!reg->pins)
            registry_let_go(reg);
    }
}

static void insert_rest(const struct registration *of, uintptr_t start, uintptr_t end)
{
    struct registration *rest = start < end ? add(start, end - start, of->iova + (start - of->start)) : NULL;
    if (!rest)
        return;
    rest->handed = of->handed;
    rest->site = of->site;
}

/* What is only owed can be cut: no IOMMU has it yet. */
static void cut_owed(struct registration *reg, uintptr_t start, uintptr_t end)
{
    struct registration old = *reg;
    if (reg->pins)
        return;
    drop(reg);
    insert_rest(&old, old.start, start);
    insert_rest(&old, end, old.start + old.len);
}

bool registry_plan_again(struct registration *reg)
{
    struct registration old = *reg;
    uintptr_t end = old.start + old.len, cursor = old.start, start, stop;
    size_t len;
    if (old.mapped || old.is_stuck ||
        (memory->intact(old.start, &start, &len) == 0 && start <= old.start && start + len >= end))
        return false;
    drop(reg);
    while (next_intact(&cursor, end, &start, &stop))
        insert_rest(&old, start, stop);
    unmark(old.start, old.len);
    return true;
}

bool registry_has_any(void)
{
    return registrations_count() != 0;
}

bool registry_owes_any(void)
{
    return registry_has_any() && registrations_owed() != 0;
}

bool registry_has_promised(uintptr_t start, size_t len)
{
    bool is_promised = false;
    if (!registry_has_any())
        return false;
    registry_enter();
    struct registration *reg = registration_from(start);
    for (; reg && reg->start < start + len; reg = registration_next(reg))
        is_promised |= reg->handed || reg->pins;
    registry_exit();
    return is_promised;
}

void registry_hide(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return;
    uintptr_t end = start + len;
    registry_enter();
    struct registration *reg = registration_from(start);
    for (; reg && reg->start < end; reg = registration_next(reg)) {
        uintptr_t from = reg->start > start ? reg->start : start;
        uintptr_t to = reg->start + reg->len < end ? reg->start + reg->len : end;
        pagemap_clear(from, to - from);
    }
    registry_exit();
}

void registry_forget(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return;
    uintptr_t end = start + len;
    registry_enter();
    struct registration *reg = registration_from(start), *next;
    for (; reg && reg->start < end; reg = next) {
        next = registration_next(reg);
        uintptr_t from = reg->start > start ? reg->start : start;
        uintptr_t to = reg->start + reg->len < end ? reg->start + reg->len : end;
        pagemap_clear(from, to - from);
        if (reg->mapped || reg->is_stuck)
            registry_let_go(reg);
        else
            cut_owed(reg, from, to);
    }
    registry_leave();
}

void registry_settle(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return;
    registry_enter();
    struct registration *reg = registration_from(start), *next;
    for (; reg && reg->start < start + len; reg = next) {
        next = registration_next(reg);
        registry_let_go(reg);
    }
    registry_leave();
}

void registry_divide(uintptr_t start, size_t len, void (*tell)(uintptr_t start, size_t len, bool is_covered))
{
    uintptr_t end = start + len;
    if (!registry_has_any()) {
        tell(start, len, false);
        return;
    }
    registry_enter();
    while (start < end) {
        struct registration *reg = registration_from(start);
        uintptr_t next = reg && reg->start < end ? reg->start : end;
        bool is_covered = next == start || (reg && reg->start < start);
        if (is_covered)
            next = reg->start + reg->len < end ? reg->start + reg->len : end;
        tell(start, next - start, is_covered);
        start = next;
    }
    registry_leave(); /* what was waiting for the end of this */
}

bool registry_covers(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return false;
    uintptr_t end = start + len;
    registry_enter();
    struct registration *reg = registration_from(start);
    while (reg && reg->start < end && !reg->mapped && !reg->pins && !reg->is_stuck)
        reg = registration_next(reg);
    bool covers = reg && reg->start < end;
    registry_exit();
    return covers;
}

bool registry_is_foreign(uintptr_t va)
{
    return !memory->is_owned(va);
}

bool registry_has_ended(struct registration *reg)
{
    uintptr_t start = reg->start, unit;
    size_t len;
    if (memory->is_owned(start))
        return false;
    memory->intact(start, &unit, &len);
    registry_let_go(reg);
    struct registration *now = registration_from(start);
    return !now || now->start != start;
}

/* --- lookups ---------------------------------------------------------------------------------------------------- */

/* Finds the registration of `va`, made now if need be, and the stretch around it that still is what was registered. */
static int find_or_make(uintptr_t va, size_t want_len, struct registration **found, uintptr_t *start,
                        size_t *len)
{
    int error = 0;
    for (int tries = 0; tries < 2; tries++) {
        struct registration *reg = registration_at(va);
        error = reg ? 0 : registry_make(va, want_len, FOR_LOOKUP, &reg);
        if (error)
            return error;
        if (reg->is_stuck)
            return -ESTALE;
        *found = reg;
        error = memory->intact(va, start, len);
        if (error != -ESTALE)
            return error;
        registry_let_go(reg); /* if nothing of it is left, the address starts afresh */
        if (registration_at(va))
            return error;
    }
    return error;
}

/* The same, in every container, with [*start, *end) cut to the registration: it is now relied upon. */
static int hand_out(uintptr_t va, size_t want_len, struct registration **found, uintptr_t *start,
                    uintptr_t *end)
{
    struct registration *reg;
    size_t len;
    int error;
    do {
        error = find_or_make(va, want_len, found, start, &len);
        if (error)
            return error;
        reg = *found;
        *end = *start + len < reg->start + reg->len ? *start + len : reg->start + reg->len;
        *start = *start > reg->start ? *start : reg->start;
        if (is_complete(reg, *start, *end))
            break;
        error = complete_part(reg, *start, *end);
    } while (error == -EFAULT && registry_plan_again(reg));
    if (error)
        return error;
    reg->handed = true;
    return 0;
}

int registry_fill(uintptr_t start, size_t len)
{
    for (uintptr_t va = start, end = start + len, next; va < end; va = next) {
        struct registration *reg = NULL;
        uintptr_t from;
        int error = hand_out(va, end - va, &reg, &from, &next);
        if (error)
            return error;
    }
    return 0;
}

static int lookup_locked(uintptr_t va, size_t want_len, uint64_t *iova, size_t *run_len)
{
    struct registration *reg = NULL;
    uintptr_t start, end;
    int error = descriptors_count(DESCRIPTOR_UNSERVED) ? -ENODEV : hand_out(va, want_len, &reg, &start, &end);
    if (error)
        return error;
    if (containers_attached() && memory->is_owned(va))
        pagemap_publish(start, end - start, reg->iova - reg->start);
    *iova = va + (reg->iova - reg->start);
    *run_len = end - va;
    return 0;
}

int registry_lookup(uintptr_t va, size_t want_len, uint64_t *iova, size_t *run_len)
{
    unsigned tries = 0;
    int error;
    registry_enter();
    clients->looking();
    do
        error = lookup_locked(va, want_len, iova, run_len);
    while (registry_try_again(&error, &tries));
    registry_leave();
    return error;
}

uintptr_t registry_address(uint64_t iova)
{
    registry_enter();
    struct registration *reg = registration_from_iova(iova);
    uintptr_t va = reg && reg->iova <= iova ? reg->start + (iova - reg->iova) : 0;
    uintptr_t start;
    size_t len;
    if (va && memory->intact(va, &start, &len) != 0)
        va = 0;
    registry_exit();
    return va;
}

void registry_locked(void (*change)(void *arg), void *arg)
{
    registry_enter();
    change(arg);
    registry_exit();
}

/* --- what eager mode asks ------------------------------------------------------------------------------------------- */

bool registry_next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    return *cursor < end && memory->next_alive(cursor, end, start, len);
}

int registry_confirm(struct registration *reg, uintptr_t va, uintptr_t *end)
{
    uintptr_t start, reg_end = reg->start + reg->len;
    size_t len;
    int error = memory->intact(va, &start, &len);
    bool is_for_all = memory->is_owned(va) && is_complete(reg, reg->start, reg_end);
    *end = !error && !is_for_all && start + len < reg_end ? start + len : reg_end;
    if (!error && reg->iova != reg->start)
        error = -EADDRNOTAVAIL;
    uintptr_t from = start > reg->start ? start : reg->start;
    if (!error && !is_complete(reg, from, *end))
        error = complete_part(reg, from, *end);
    return error;
}

/* --- fork ------------------------------------------------------------------------------------------------------- */

void registry_reset(void)
{
    registrations_reset();
    holds_reset();
    owner_pid = os_getpid();
    had_parents |= containers_reset();
}
