/* SPDX-License-Identifier: MIT */
/* What becomes of registrations when memory leaves: told by memory/ around the system call. Takes LOCK_REGISTRY. */
#include "base/os.h"
#include "dma/pagemap.h"
#include "dma/registration.h"

void registration_settle(struct registration *reg)
{
    uintptr_t start = reg->start;
    size_t len = reg->len;
    if (reg->pins || reg->is_stuck || !registry_is_owner() || !registry.memory->retire(start, len))
        return;
    if (registration_undo(reg))
        registration_released(start, len);
}

static void insert_piece(const struct registration *of, uintptr_t start, uintptr_t end)
{
    struct registration *piece =
        start < end ? registration_add(start, end - start, of->iova + (start - of->start)) : NULL;
    if (!piece)
        return;
    piece->handed = of->handed;
    piece->site = of->site;
}

/* What is only owed can be cut: no IOMMU has it yet. */
static void cut_owed(struct registration *reg, uintptr_t start, uintptr_t end)
{
    struct registration old = *reg;
    if (reg->pins)
        return;
    registration_drop(reg);
    insert_piece(&old, old.start, start);
    insert_piece(&old, end, old.start + old.len);
}

bool registration_plan_again(struct registration *reg)
{
    struct registration old = *reg;
    uintptr_t end = old.start + old.len, done = old.start, start;
    size_t len;
    if (old.mapped || old.is_stuck ||
        (registry.memory->intact(old.start, &start, &len) == 0 && start <= old.start && start + len >= end))
        return false;
    registration_drop(reg);
    for (uintptr_t va = old.start, next; va < end; va = next) {
        next = va + OS_PAGE_SIZE;
        if (registry.memory->intact(va, &start, &len) != 0)
            continue;
        next = start + len < end ? start + len : end;
        insert_piece(&old, start > done ? start : done, next);
        done = next;
    }
    registration_unmark(old.start, old.len);
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
    lock_take(&registry.lock);
    struct registration *reg = registration_from(start);
    for (; reg && reg->start < start + len; reg = registration_next(reg))
        is_promised |= reg->handed || reg->pins;
    lock_release(&registry.lock);
    return is_promised;
}

void registry_hide(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return;
    uintptr_t end = start + len;
    lock_take(&registry.lock);
    struct registration *reg = registration_from(start);
    for (; reg && reg->start < end; reg = registration_next(reg)) {
        uintptr_t from = reg->start > start ? reg->start : start;
        uintptr_t to = reg->start + reg->len < end ? reg->start + reg->len : end;
        pagemap_clear(from, to - from);
    }
    lock_release(&registry.lock);
}

void registry_forget(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return;
    uintptr_t end = start + len;
    lock_take(&registry.lock);
    struct registration *reg = registration_from(start), *next;
    for (; reg && reg->start < end; reg = next) {
        next = registration_next(reg);
        uintptr_t from = reg->start > start ? reg->start : start;
        uintptr_t to = reg->start + reg->len < end ? reg->start + reg->len : end;
        pagemap_clear(from, to - from);
        if (reg->mapped || reg->is_stuck)
            registration_settle(reg);
        else
            cut_owed(reg, from, to);
    }
    registry_leave();
}

void registry_settle(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return;
    lock_take(&registry.lock);
    struct registration *reg = registration_from(start), *next;
    for (; reg && reg->start < start + len; reg = next) {
        next = registration_next(reg);
        registration_settle(reg);
    }
    registry_leave();
}

void registry_divide(uintptr_t start, size_t len, void (*piece)(uintptr_t start, size_t len, bool is_covered))
{
    uintptr_t end = start + len;
    if (!registry_has_any()) {
        piece(start, len, false);
        return;
    }
    lock_take(&registry.lock);
    while (start < end) {
        struct registration *reg = registration_from(start);
        uintptr_t next = reg && reg->start < end ? reg->start : end;
        bool is_covered = next == start || (reg && reg->start < start);
        if (is_covered)
            next = reg->start + reg->len < end ? reg->start + reg->len : end;
        piece(start, next - start, is_covered);
        start = next;
    }
    registry_leave(); /* what was waiting for the end of this */
}

bool registry_covers(uintptr_t start, size_t len)
{
    if (!registry_has_any())
        return false;
    uintptr_t end = start + len;
    lock_take(&registry.lock);
    struct registration *reg = registration_from(start);
    while (reg && reg->start < end && !reg->mapped && !reg->pins && !reg->is_stuck)
        reg = registration_next(reg);
    bool covers = reg && reg->start < end;
    lock_release(&registry.lock);
    return covers;
}
