/* SPDX-License-Identifier: MIT */
/* Replays a capture twice: once for what happened and when the peak was, once for the chosen moment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cli/memory.h"
#include "cli/report/replay.h"

static uint64_t since_start(const struct model *model, const struct reader_event *event)
{
    return event->time_ns > model->start_ns ? event->time_ns - model->start_ns : 0;
}

/* Steps of equal length, each with the most that was pinned in it; doubled when there are too many. */
static void add_point(struct model *model, uint64_t time_ns)
{
    const struct model_private *private = model->private;
    if (!model->step_ns)
        model->step_ns = 1000;
    while (time_ns / model->step_ns >= MODEL_MAX_POINTS) {
        size_t kept = 0;
        model->step_ns *= 2;
        for (size_t i = 0; i < model->nr_points; i++) {
            struct model_point *point = &model->points[i], *last = kept ? &model->points[kept - 1] : NULL;
            if (last && last->time_ns / model->step_ns == point->time_ns / model->step_ns) {
                if (point->pinned + point->app_pinned >= last->pinned + last->app_pinned) {
                    last->pinned = point->pinned;
                    last->app_pinned = point->app_pinned;
                    last->waste = point->waste;
                }
            } else {
                model->points[kept++] = *point;
            }
        }
        model->nr_points = kept;
    }
    struct model_point *last = model->nr_points ? &model->points[model->nr_points - 1] : NULL;
    if (!last || last->time_ns / model->step_ns < time_ns / model->step_ns)
        last =
            &model->points[model->nr_points < MODEL_MAX_POINTS ? model->nr_points++ : MODEL_MAX_POINTS - 1];
    else if (private->now.pinned + private->now.app_pinned < last->pinned + last->app_pinned)
        return;
    *last = (struct model_point){time_ns, private->now.pinned, private->now.app_pinned,
                                 model_waste(&private->now)};
}

uint64_t model_percentile(const struct model_histogram *histogram, unsigned percent)
{
    uint64_t below = 0, wanted = (histogram->count * percent + 99) / 100;
    for (unsigned i = 0; i < MODEL_BUCKETS; i++) {
        below += histogram->bucket[i];
        if (below >= wanted && below) {
            uint64_t bound = UINT64_C(1) << i;
            return bound < histogram->longest_ns ? bound : histogram->longest_ns;
        }
    }
    return 0;
}

static void note_peaks(struct model *model, uint64_t now)
{
    struct model_private *private = model->private;
    uint64_t total = private->now.pinned + private->now.app_pinned;
    if (total > model->peak) {
        model->peak = total;
        model->peak_ns = now;
        private->peak_event = private->event;
    }
    if (private->now.pinned > model->peak_ours)
        model->peak_ours = private->now.pinned;
    if (private->now.app_pinned > model->peak_app)
        model->peak_app = private->now.app_pinned;
}

void model_add(struct model_amount *to, const struct model_amount *from)
{
    to->pinned += from->pinned;
    to->app_pinned += from->app_pinned;
    to->mappings += from->mappings;
    to->known += from->known;
    to->used += from->used;
    to->free += from->free;
    to->rounded += from->rounded;
    to->untouched += from->untouched;
    to->unasked += from->unasked;
    to->untold += from->untold;
    to->huge += from->huge;
    to->huge_known += from->huge_known;
}

const struct model_amount *model_now(const struct model *model)
{
    return &model->private->now;
}

static int by_address(const void *a, const void *b)
{
    const struct model_mapping *left = a, *right = b;
    return left->va < right->va ? -1 : left->va > right->va;
}

/* A sampled block or mapping. */
struct block {
    uint64_t start, end;
    struct model_site *site;
    double weight; /* of a byte: what it stands for over its length */
};

static int by_start(const void *a, const void *b)
{
    const struct block *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* What each of its bytes stands for. From four means on (1.0187) hardly one of its size is ever passed by: itself. */
static double stands_for(const struct sample *sample)
{
    double weight = (double)sample->weight / (double)sample->size;
    return weight < 1.0187 ? 1 : weight;
}

static struct block *sorted_blocks(struct model *model, size_t *nr)
{
    struct sample *sample, *next;
    size_t n = HASH_COUNT(model->private->samples);
    for (struct placed *p = replay_first_placed(model); p; p = replay_next_placed(p))
        n++;
    struct block *blocks = memory_take((n + 1) * sizeof(*blocks));
    *nr = 0;
    HASH_ITER(hh, model->private->samples, sample, next)
    blocks[(*nr)++] =
        (struct block){sample->address, sample->address + sample->size, sample->site, stands_for(sample)};
    for (struct placed *p = replay_first_placed(model); p; p = replay_next_placed(p))
        blocks[(*nr)++] = (struct block){p->start, p->end, p->site, p->weight};
    qsort(blocks, *nr, sizeof(*blocks), by_start);
    return blocks;
}

static uint64_t overlap(const struct block *block, const struct model_mapping *mapping)
{
    uint64_t start = block->start > mapping->va ? block->start : mapping->va;
    uint64_t end = block->end < mapping->va + mapping->len ? block->end : mapping->va + mapping->len;
    return end > start ? end - start : 0;
}

/* The first block that ends above `address`: live blocks don't overlap. */
static size_t first_above(const struct block *blocks, size_t nr, uint64_t address)
{
    size_t low = 0, high = nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blocks[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Gives a mapping's live bytes to the sites whose blocks lie in it: first what is certain, by what of it does; then by what
 * the small ones stand for. */
static void share_mapping(const struct model_mapping *mapping, const struct block *blocks, size_t nr,
                          struct model_rest *rest)
{
    const struct model_amount *amount = &mapping->amount;
    size_t first = first_above(blocks, nr, mapping->va), end = first;
    uint64_t live = mapping->len - amount->free - amount->rounded - amount->untold, given = 0;
    double total = 0;
    for (; end < nr && blocks[end].start < mapping->va + mapping->len; end++) {
        uint64_t bytes = overlap(&blocks[end], mapping);
        if (blocks[end].weight != 1) {
            total += (double)bytes * blocks[end].weight;
            continue;
        }
        bytes = bytes < live - given ? bytes : live - given;
        blocks[end].site->shared_now += bytes;
        given += bytes;
    }
    double part = total > (double)(live - given) ? (double)(live - given) / total : 1;
    for (size_t n = first; n < end; n++) {
        double weight = (double)overlap(&blocks[n], mapping) * blocks[n].weight;
        if (blocks[n].weight == 1)
            continue;
        uint64_t bytes = (uint64_t)(weight * part + 0.5);
        bytes = bytes < live - given ? bytes : live - given;
        blocks[n].site->shared_now += bytes;
        blocks[n].site->left_now += weight - (double)bytes;
        given += bytes;
    }
    rest->all += mapping->len - given;
    rest->free += amount->free;
    rest->rounded += amount->rounded;
    rest->unknown += live - given + amount->untold;
}

/* A sample stands for others like it, which may lie in mappings that hold no sample. */
static void share_left(struct model *model, struct model_rest *rest)
{
    double left = 0;
    uint64_t unknown = rest->unknown;
    for (size_t i = 0; i < model->nr_sites; i++)
        left += model->sites[i]->left_now > 0 ? model->sites[i]->left_now : 0;
    for (size_t i = 0; left > 0 && i < model->nr_sites; i++) {
        struct model_site *site = model->sites[i];
        double part = left > (double)unknown ? (double)unknown / left : 1;
        uint64_t bytes = site->left_now > 0 ? (uint64_t)(site->left_now * part) : 0;
        bytes = bytes < rest->unknown ? bytes : rest->unknown;
        site->shared_now += bytes;
        rest->unknown -= bytes;
        rest->all -= bytes;
    }
}

struct model_rest model_share_now(struct model *model)
{
    struct model_rest rest = {0};
    struct live *live, *next;
    size_t nr;
    struct block *blocks = sorted_blocks(model, &nr);
    for (size_t i = 0; i < model->nr_sites; i++)
        model->sites[i]->shared_now = 0, model->sites[i]->left_now = 0;
    HASH_ITER(hh, model->private->live, live, next)
    if (!live->mapping.is_app)
        share_mapping(&live->mapping, blocks, nr, &rest);
    free(blocks);
    share_left(model, &rest);
    return rest;
}

static void take_moment(struct model *model)
{
    struct model_private *private = model->private;
    struct live *live, *next;
    size_t n = 0;
    private->is_taken = true;
    model->nr_mappings = HASH_COUNT(private->live);
    model->mappings = memory_take((model->nr_mappings + 1) * sizeof(*model->mappings));
    HASH_ITER(hh, private->live, live, next) model->mappings[n++] = live->mapping;
    model->at = private->now;
    model->at_ns = private->moment == MOMENT_PEAK  ? model->peak_ns
                   : private->moment == MOMENT_END ? model->end_ns
                                                   : private->stop_ns;
    if (model->sample_mean)
        model->rest = model_share_now(model);
    for (size_t i = 0; i < model->nr_sites; i++) {
        struct model_site *site = model->sites[i];
        site->at = site->now;
        site->sampled_live = site->sampled_now;
        site->samples = site->samples_now;
        site->shared = site->shared_now;
    }
    qsort(model->mappings, n, sizeof(*model->mappings), by_address);
}

/* Whether the chosen moment is past. What is told of the peak's mappings, and of whose they are, follows the peak. */
static bool is_over(const struct model_private *private, enum record_type type, uint64_t now)
{
    if (private->moment == MOMENT_TIME)
        return now > private->stop_ns;
    return private->moment == MOMENT_PEAK && replay_is_change(type) && private->event > private->peak_event;
}

static bool apply(void *arg, const struct reader_event *event)
{
    struct model *model = arg;
    struct model_private *private = model->private;
    uint64_t now = since_start(model, event);
    private->event++;
    if (private->is_second && !private->is_taken && is_over(private, event->type, now))
        take_moment(model);
    while (private->is_second && private->step < model->nr_steps && now > private->step * model->every_ns)
        model->at_step(model->step_arg, private->step++);
    if (replay_is_change(event->type))
    private->changed_event = private->event;
    replay_event(model, event, now);
    bool is_change = event->type == RECORD_MAP || event->type == RECORD_UNMAP || event->type == RECORD_DETACH;
    if (private->is_second && (is_change || event->type == RECORD_USED))
        add_point(model, now);
    if (!private->is_second) {
        if (is_change)
            note_peaks(model, now);
        if (now > model->end_ns && event->type != RECORD_PROCESS)
            model->end_ns = now;
    }
    return true;
}

/* --- the chosen moment ---------------------------------------------------------------------------- */

static void forget_live(struct model *model)
{
    struct model_private *private = model->private;
    struct live *live, *next_live;
    struct sample *sample, *next_sample;
    struct owed *owed, *next_owed;
    HASH_ITER(hh, private->live, live, next_live) replay_drop(model, live, UINT64_MAX);
    HASH_ITER(hh, private->samples, sample, next_sample)
    {
        HASH_DEL(private->samples, sample);
        free(sample);
    }
    HASH_ITER(hh, private->owed, owed, next_owed)
    {
        HASH_DEL(private->owed, owed);
        free(owed);
    }
    replay_remove(model, 0, UINT64_MAX);
    for (size_t i = 0; i < model->nr_sites; i++)
        model->sites[i]->sampled_now = model->sites[i]->samples_now = 0;
    private->nr_maps = 0;
}

static int by_count(const void *a, const void *b)
{
    const struct model_failure *left = a, *right = b;
    return left->count != right->count        ? (left->count > right->count ? -1 : 1)
           : left->first_ns < right->first_ns ? -1
                                              : 1;
}

static void sort_failures(struct model *model)
{
    struct failed *entry, *next;
    HASH_ITER(hh, model->private->failed, entry, next)
    {
        HASH_DEL(model->private->failed, entry);
        free(entry);
    }
    if (model->nr_failed)
        qsort(model->failed, model->nr_failed, sizeof(*model->failed), by_count);
}

int model_scan(struct model *model, const char *path, enum model_moment moment, uint64_t time_ns)
{
    struct model_private *private;
    memset(model, 0, sizeof(*model));
    private = model->private = memory_take(sizeof(*private));
    private->moment = moment;
    private->stop_ns = time_ns;
    int error = reader_read(path, apply, model, &model->health);
    if (!error && !model->version)
        error = -EPROTO;
    forget_live(model);
    sort_failures(model);
    if (!error)
        return 0;
    fprintf(stderr, "anydma: %s: %s\n", path,
            error == -EPROTO ? "not a capture of anydma, or of a later version, or nothing in it is whole"
                             : strerror(-error));
    return 2;
}

void model_replay(struct model *model, const char *path)
{
    struct reader_health ignored;
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++)
        model->containers[i].entries = 0;
    model->private->is_second = true;
    model->private->event = 0;
    reader_read(path, apply, model, &ignored);
    if (!model->private->is_taken)
        take_moment(model);
    while (model->private->step < model->nr_steps)
        model->at_step(model->step_arg, model->private->step++);
    struct live *live, *next;
    HASH_ITER(hh, model->private->live, live, next)
    replay_span(model, &live->mapping, UINT64_MAX - model->every_ns);
    model->nr_mappings_ever = model->private->nr_maps;
    model->private->is_second = false;           /* nothing that follows is part of the replay */
    for (size_t i = 0; i < model->nr_sites; i++) /* they may end before the model does */
        model->sites[i]->group = NULL;
}

void model_free(struct model *model)
{
    struct model_private *private = model->private;
    struct by_id *entry, *next;
    if (!private)
        return;
    forget_live(model);
    HASH_ITER(hh, private->sites, entry, next)
    {
        HASH_DEL(private->sites, entry);
        free(entry->site->frames);
        free(entry->site->label);
        free(entry->site);
        free(entry);
    }
    for (size_t i = 0; i < model->nr_modules; i++) {
        free(model->modules[i]->path);
        free(model->modules[i]);
    }
    for (size_t i = 0; i < model->nr_devices; i++)
        free(model->devices[i]);
    free(model->modules);
    free(model->devices);
    free(model->hazards);
    free(model->failed);
    free(model->fork);
    free(private->fates);
    free(model->spans);
    struct told *told, *next_told;
    struct thread *thread, *next_thread;
    struct name *name, *next_name;
    HASH_ITER(hh, private->told, told, next_told)
    {
        HASH_DEL(private->told, told);
        free(told);
    }
    HASH_ITER(hh, private->threads, thread, next_thread)
    {
        HASH_DEL(private->threads, thread);
        free(thread);
    }
    HASH_ITER(hh, private->names, name, next_name)
    {
        HASH_DEL(private->names, name);
        free(name->text);
        free(name);
    }
    free(model->mappings);
    free(model->sites);
    free(model->exe);
    free(model->command);
    free(model->shim_version);
    free(private);
}
