/* SPDX-License-Identifier: MIT */
/* Each kind of waste has a change that ends it; of each kind the call site with the most of it is named. */
#include "cli/report/advice.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CANDIDATES = 16 };
#define WORTH_BYTES (UINT64_C(1) << 20)

struct candidates {
    struct advice advice[MOST_CANDIDATES];
    size_t nr;
};

static void add(struct candidates *to, uint64_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(struct candidates *to, uint64_t bytes, const char *format, ...)
{
    va_list args;
    if (bytes < WORTH_BYTES || to->nr == MOST_CANDIDATES)
        return;
    struct advice *advice = &to->advice[to->nr++];
    advice->bytes = bytes;
    va_start(args, format);
    vsnprintf(advice->text, sizeof(advice->text), format, args);
    va_end(args);
}

static const struct view_row *most(const struct view *view, uint64_t (*value)(const struct model_amount *at))
{
    const struct view_row *best = NULL;
    for (size_t i = 0; i < view->nr_rows; i++)
        if (value(&view->rows[i].at) && (!best || value(&view->rows[i].at) > value(&best->at)))
            best = &view->rows[i];
    return best;
}

static uint64_t rounded(const struct model_amount *at)
{
    return at->rounded;
}

static uint64_t freed(const struct model_amount *at)
{
    return at->free;
}

static uint64_t untouched(const struct model_amount *at)
{
    return at->untouched;
}

static uint64_t unasked(const struct model_amount *at)
{
    return at->unasked;
}

static uint64_t up_to(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* The largest power of two that one of the row's mappings fills: two of them hold what lies anywhere. */
static uint64_t unit_for(const struct view_row *row)
{
    uint64_t live =
        (row->at.known - row->at.free - row->at.rounded) / (row->at.mappings ? row->at.mappings : 1);
    uint64_t unit = 4096;
    while (unit * 2 <= live)
        unit *= 2;
    return unit;
}

/* What a smaller unit would leave unpinned of the row's mappings. */
static uint64_t saved_by(const struct view *view, const struct view_row *row, uint64_t unit)
{
    uint64_t saved = 0;
    for (size_t i = 0; i < view->model.nr_mappings; i++) {
        const struct model_mapping *m = &view->model.mappings[i];
        if (m->is_app || m->site->row != row->origin || !m->amount.known)
            continue;
        uint64_t needed = up_to(m->len - m->amount.free - m->amount.rounded, unit);
        saved += needed < m->len ? m->len - needed : 0;
    }
    return saved;
}

static void advise_rounded(const struct view *view, struct candidates *to)
{
    const struct view_row *row = most(view, rounded);
    char live[32], each[32], saved[32], unit_text[32], place[256];
    if (!row || row->at.rounded < row->at.known / 4)
        return;
    uint64_t unit = unit_for(row), nr = row->at.mappings, bytes = saved_by(view, row, unit);
    text_size(unit_text, unit);
    for (char *p = unit_text; *p; p++) /* "64 KiB" as the option takes it: 64K */
        if (*p == ' ')
            memmove(p, p + 1, strlen(p)), p[1] = '\0';
    add(to, bytes,
        nr == 1 ? "%" PRIu64
                  " registration by %s holds %s and keeps %s: allocate beside it what lives as long, or "
                  "`--granule=%s`: %s less"
                : "%" PRIu64
                  " registrations by %s hold %s each and keep %s each: allocate what they hold together, or "
                  "`--granule=%s`: %s less",
        nr, view_place(place, sizeof(place), row),
        text_size(live, (row->at.known - row->at.free - row->at.rounded) / nr),
        text_size(each, row->at.known / nr), unit_text, text_size(saved, bytes));
}

static void advise_waste(const struct view *view, struct candidates *to)
{
    const struct model_amount *at = &view->model.at;
    const struct view_row *row;
    char bytes[32], place[256];
    if ((row = most(view, freed)))
        add(to, at->free,
            "%s are free in the heap and stay pinned beside what lives, most in what %s registered: call "
            "malloc_trim(0) when a "
            "phase of the program is over, and allocate long-lived blocks first",
            text_size(bytes, at->free), view_place(place, sizeof(place), row));
    if ((row = most(view, untouched)))
        add(to, at->untouched,
            "%s are never written to, most in what %s registered: register less, or when it is needed",
            text_size(bytes, at->untouched), view_place(place, sizeof(place), row));
    if ((row = most(view, unasked)))
        add(to, at->unasked,
            "%s are never looked up, most in what %s registered: `--mode=lazy` pins at lookups only: %s less",
            text_size(bytes, at->unasked), view_place(place, sizeof(place), row), bytes);
}

static void advise_order(const struct view *view, struct candidates *to)
{
    const struct model *m = &view->model;
    uint64_t small = m->at.huge_known - m->at.huge;
    const uint64_t block = UINT64_C(2) << 20;
    char bytes[32];
    if (small > m->at.huge_known / 4)
        add(to, small / 8,
            "%s are pinned in pages of 4 KiB; as %" PRIu64 " huge pages they would take %" PRIu64
            " entries less of the IOMMU's page tables: `--thp=early` asks for those before memory is written "
            "to "
            "(`--thp=always` copies what was, which takes ten times as long as pinning it)",
            text_size(bytes, small), small / block, small / 4096 - small / block);
    if (m->forks)
        add(to, m->fork_bytes / m->forks,
            "%" PRIu64
            " fork%s copied %s of pinned memory in all: start children before memory is registered, or by "
            "posix_spawn or vfork",
            m->forks, m->forks == 1 ? "" : "s", text_size(bytes, m->fork_bytes));
}

static int by_bytes(const void *a, const void *b)
{
    const struct advice *left = a, *right = b;
    return left->bytes != right->bytes ? (left->bytes > right->bytes ? -1 : 1)
                                       : strcmp(left->text, right->text);
}

size_t advice_give(const struct view *view, struct advice *advice)
{
    struct candidates all = {.nr = 0};
    advise_rounded(view, &all);
    advise_waste(view, &all);
    advise_order(view, &all);
    qsort(all.advice, all.nr, sizeof(all.advice[0]), by_bytes);
    size_t nr = all.nr < ADVICE_MOST ? all.nr : ADVICE_MOST;
    memcpy(advice, all.advice, nr * sizeof(*advice));
    return nr;
}

struct advice_needs advice_needs(const struct model *model)
{
    const uint64_t mib = UINT64_C(1) << 20;
    struct advice_needs needs = {.memlock = up_to(model->peak + model->peak / 4, mib)};
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++)
        if (model->containers[i].entries_peak * 5 / 4 + 1 > needs.entries &&
            model->containers[i].was_attached)
            needs.entries = model->containers[i].entries_peak * 5 / 4 + 1;
    return needs;
}
