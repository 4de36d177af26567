/* SPDX-License-Identifier: MIT */
/* Two trees over one pool, and lists of pieces. */
#include "dma/registrations.h"

#include <stdatomic.h>

#include "base/pool.h"

RB_HEAD(regs_by_va, registration);
RB_HEAD(regs_by_iova, registration);

static struct regs_by_va by_va;
static struct regs_by_iova by_iova;
static struct pool pool = POOL_OF(struct registration), piece_pool = POOL_OF(struct piece);
static _Atomic uint64_t nr, nr_owed, nr_peak;

static int compare_va(const struct registration *a, const struct registration *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}

static int compare_iova(const struct registration *a, const struct registration *b)
{
    return a->iova < b->iova ? -1 : a->iova > b->iova;
}

RB_GENERATE_INTERNAL(regs_by_va, registration, by_va, compare_va, __attribute__((unused)) static)
RB_GENERATE_INTERNAL(regs_by_iova, registration, by_iova, compare_iova, __attribute__((unused)) static)

struct registration *registration_from(uintptr_t va)
{
    struct registration *reg = RB_ROOT(&by_va), *found = NULL;
    while (reg) {
        if (va < reg->start + reg->len) {
            found = reg;
            reg = RB_LEFT(reg, by_va);
        } else {
            reg = RB_RIGHT(reg, by_va);
        }
    }
    return found;
}

struct registration *registration_at(uintptr_t va)
{
    struct registration *reg = registration_from(va);
    return reg && reg->start <= va ? reg : NULL;
}

size_t registrations_in(uintptr_t start, uintptr_t end, size_t enough)
{
    size_t sum = 0;
    struct registration *reg = registration_from(start);
    for (; reg && reg->start < end && sum < enough; reg = registration_next(reg)) {
        uintptr_t from = reg->start > start ? reg->start : start;
        uintptr_t to = reg->start + reg->len < end ? reg->start + reg->len : end;
        sum += to - from;
    }
    return sum;
}

struct registration *registration_before(uintptr_t va)
{
    struct registration *above = registration_from(va);
    return above ? RB_PREV(regs_by_va, , above) : RB_MAX(regs_by_va, &by_va);
}

struct registration *registration_next(struct registration *reg)
{
    return RB_NEXT(regs_by_va, , reg);
}

struct registration *registration_from_iova(uint64_t iova)
{
    struct registration *reg = RB_ROOT(&by_iova), *found = NULL;
    while (reg) {
        if (iova < reg->iova + reg->len) {
            found = reg;
            reg = RB_LEFT(reg, by_iova);
        } else {
            reg = RB_RIGHT(reg, by_iova);
        }
    }
    return found;
}

struct registration *registration_before_iova(uint64_t iova)
{
    struct registration *above = registration_from_iova(iova);
    return above ? RB_PREV(regs_by_iova, , above) : RB_MAX(regs_by_iova, &by_iova);
}

struct registration *registration_next_iova(struct registration *reg)
{
    return RB_NEXT(regs_by_iova, , reg);
}

struct registration *registration_insert(uintptr_t start, size_t len, uint64_t iova)
{
    struct registration *reg = pool_take(&pool);
    if (!reg)
        return NULL;
    reg->start = start;
    reg->len = len;
    reg->iova = iova;
    RB_INSERT(regs_by_va, &by_va, reg);
    RB_INSERT(regs_by_iova, &by_iova, reg);
    uint64_t now = atomic_fetch_add_explicit(&nr, 1, memory_order_relaxed) + 1;
    if (now > atomic_load_explicit(&nr_peak, memory_order_relaxed))
        atomic_store_explicit(&nr_peak, now, memory_order_relaxed);
    nr_owed++;
    return reg;
}

struct registration *registration_cut(struct registration *reg, uintptr_t at)
{
    size_t first = at - reg->start;
    struct registration *rest = registration_insert(at, reg->len - first, reg->iova + first);
    if (!rest)
        return NULL;
    rest->handed = reg->handed;
    rest->site = reg->site;
    reg->len = first;
    return rest;
}

void registration_join(struct registration *reg)
{
    struct registration *next = registration_next(reg);
    size_t len = next->len;
    reg->handed |= next->handed;
    registration_remove(next);
    reg->len += len;
}

void registration_remove(struct registration *reg)
{
    RB_REMOVE(regs_by_va, &by_va, reg);
    RB_REMOVE(regs_by_iova, &by_iova, reg);
    if (!reg->mapped)
        nr_owed--;
    atomic_fetch_sub_explicit(&nr, 1, memory_order_relaxed);
    pool_give(&pool, reg);
}

void registration_set_mapped(struct registration *reg, unsigned index, bool is_mapped)
{
    bool was_owed = !reg->mapped;
    reg->mapped = is_mapped ? reg->mapped | 1u << index : reg->mapped & ~(1u << index);
    if (was_owed && reg->mapped)
        nr_owed--;
    else if (!was_owed && !reg->mapped)
        nr_owed++;
}

struct piece *registration_piece(const struct registration *reg, unsigned index, uintptr_t va)
{
    struct piece *piece = reg->pieces;
    while (piece && (piece->container != index || piece->start + piece->len <= va))
        piece = piece->next;
    return piece;
}

uint32_t registration_has(const struct registration *reg, uintptr_t start, uintptr_t end)
{
    uint32_t has = reg->mapped;
    for (uint32_t left = reg->divided; left; left &= left - 1) {
        unsigned index = (unsigned)__builtin_ctz(left);
        const struct piece *piece;
        uintptr_t va = start;
        while (va < end && (piece = registration_piece(reg, index, va)) && piece->start <= va)
            va = piece->start + piece->len;
        if (va < end)
            has &= ~(1u << index);
    }
    return has;
}

struct piece *registration_add_piece(struct registration *reg, unsigned index, uintptr_t start, size_t len)
{
    struct piece *piece = pool_take(&piece_pool), **link = &reg->pieces;
    if (!piece)
        return NULL;
    while (*link && (*link)->start < start)
        link = &(*link)->next;
    *piece = (struct piece){.next = *link, .start = start, .len = len, .container = index};
    *link = piece;
    reg->divided |= 1u << index;
    registration_set_mapped(reg, index, true);
    return piece;
}

void registration_remove_piece(struct registration *reg, struct piece *piece)
{
    struct piece **link = &reg->pieces;
    unsigned index = piece->container;
    while (*link != piece)
        link = &(*link)->next;
    *link = piece->next;
    pool_give(&piece_pool, piece);
    if (registration_piece(reg, index, 0))
        return;
    reg->divided &= ~(1u << index);
    registration_set_mapped(reg, index, false);
}

/* Acquires what the thread that made one did after it, its marks in the pagemap among it. */
uint64_t registrations_count(void)
{
    return atomic_load_explicit(&nr, memory_order_acquire);
}

uint64_t registrations_owed(void)
{
    return atomic_load_explicit(&nr_owed, memory_order_acquire);
}

uint64_t registrations_peak(void)
{
    return atomic_load_explicit(&nr_peak, memory_order_relaxed);
}

void registrations_reset(void)
{
    RB_INIT(&by_va);
    RB_INIT(&by_iova);
    nr = nr_owed = nr_peak = 0;
}
