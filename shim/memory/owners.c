/* SPDX-License-Identifier: MIT */
/* Splits ranges at the arena's borders, and sends questions to whom they are for. */
#include "memory/owners.h"

#include "dma/attachments.h"
#include "memory/arena.h"
#include "memory/foreign.h"
#include "memory/mappings.h"
#include "memory/shared.h"

bool owners_overlap_arena(uintptr_t start, size_t len)
{
    bool is_inside;
    return arena_split(start, start + len, &is_inside) != start + len || is_inside;
}

/* --- what the program does ---------------------------------------------------------------------------------------------- */

void owners_begin(uintptr_t start, size_t len, enum page_event event)
{
    for (uintptr_t end = start + len, next; start < end; start = next) {
        bool is_inside;
        next = arena_split(start, end, &is_inside);
        if (is_inside) {
            mappings_begin(start, next - start, event);
        } else {
            shared_begin(start, next - start);
            foreign_begin(start, next - start);
        }
    }
}

void owners_end(uintptr_t start, size_t len, enum page_event event, const struct page_kind *kind)
{
    for (uintptr_t end = start + len, next; start < end; start = next) {
        bool is_inside;
        next = arena_split(start, end, &is_inside);
        if (is_inside) {
            mappings_end(start, next - start, event, kind);
        } else {
            foreign_end(start, next - start, event == PAGE_FAILED);
            shared_end(start, next - start, event == PAGE_FAILED);
            attachments_mapping_left();
        }
    }
}

int owners_unmap(uintptr_t start, size_t len)
{
    bool is_inside;
    if (arena_split(start, start + len, &is_inside) == start + len && is_inside)
        return mappings_unmap(start, len);
    owners_begin(start, len, PAGE_LEAVING);
    int error = pages_ops->unmap(start, len);
    owners_end(start, len, error ? PAGE_FAILED : PAGE_LEFT, NULL);
    return error;
}

int owners_advise(uintptr_t start, size_t len, int advice)
{
    int error = 0;
    for (uintptr_t end = start + len, next; start < end && !error; start = next) {
        bool is_inside;
        next = arena_split(start, end, &is_inside);
        error = is_inside ? mappings_advise(start, next - start, advice)
                          : foreign_advise(start, next - start, advice);
    }
    return error;
}

int owners_protect(uintptr_t start, size_t len, int prot, int key)
{
    int error = 0;
    for (uintptr_t end = start + len, next; start < end && !error; start = next) {
        bool is_inside;
        next = arena_split(start, end, &is_inside);
        error = is_inside ? mappings_protect(start, next - start, prot, key)
                          : pages_ops->protect(start, next - start, prot, key);
        if (!is_inside && !error)
            shared_changed(start, next - start);
    }
    return error;
}

static void note_inside(uintptr_t start, size_t len, void (*note)(uintptr_t start, size_t len))
{
    for (uintptr_t end = start + len, next; start < end; start = next) {
        bool is_inside;
        next = arena_split(start, end, &is_inside);
        if (is_inside)
            note(start, next - start);
    }
}

void owners_advised(uintptr_t start, size_t len)
{
    note_inside(start, len, mappings_advised);
}

void owners_lent(uintptr_t start, size_t len)
{
    note_inside(start, len, mappings_lent);
}

/* --- what the registry asks --------------------------------------------------------------------------------------------- */

static const struct memory_ops *owner_of(uintptr_t va)
{
    return arena_contains(va) ? &arena_memory_ops : &foreign_memory_ops;
}

static int plan(uintptr_t va, size_t want_len, uintptr_t *start, size_t *len)
{
    return owner_of(va)->plan(va, want_len, start, len);
}

static bool lump(uintptr_t va, struct memory_lump *lump)
{
    return owner_of(va)->lump(va, lump);
}

static int intact(uintptr_t va, uintptr_t *start, size_t *len)
{
    return owner_of(va)->intact(va, start, len);
}

static void registered(uintptr_t start, size_t len)
{
    owner_of(start)->registered(start, len);
}

static void prepare(uintptr_t start, size_t len)
{
    owner_of(start)->prepare(start, len);
}

static bool expose(uintptr_t start, size_t len, bool exposed)
{
    return owner_of(start)->expose(start, len, exposed);
}

static bool retire(uintptr_t start, size_t len)
{
    return owner_of(start)->retire(start, len);
}

static void release(uintptr_t start, size_t len)
{
    owner_of(start)->release(start, len);
}

/* Whichever comes first. */
static bool next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    uintptr_t after = *cursor, shared_after = *cursor, shared_start;
    size_t shared_len;
    bool is_found = arena_memory_ops.next_alive(&after, end, start, len);
    if (!shared_next_alive(&shared_after, is_found ? *start : end, &shared_start, &shared_len)) {
        *cursor = after;
        return is_found;
    }
    *cursor = shared_after;
    *start = shared_start;
    *len = shared_len;
    return true;
}

const struct memory_ops owners_memory_ops = {
    .plan = plan,
    .lump = lump,
    .intact = intact,
    .is_owned = arena_contains,
    .registered = registered,
    .next_alive = next_alive,
    .prepare = prepare,
    .expose = expose,
    .retire = retire,
    .release = release,
};
