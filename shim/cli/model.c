/* SPDX-License-Identifier: MIT */
/* Replays a capture twice: once for what happened and when the peak was, once for the chosen moment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cli/memory.h"
#include "cli/replay.h"

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
    else if (private->pinned + private->app_pinned < last->pinned + last->app_pinned)
        return;
    *last = (struct model_point){time_ns, private->pinned, private->app_pinned};
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
    uint64_t total = private->pinned + private->app_pinned;
    if (total > model->peak) {
        model->peak = total;
        model->peak_ns = now;
        private->peak_event = private->event;
    }
    if (private->pinned > model->peak_ours)
        model->peak_ours = private->pinned;
    if (private->app_pinned > model->peak_app)
        model->peak_app = private->app_pinned;
    add_point(model, now);
}

static void add_up(struct model_amount *amount, const struct model_mapping *mapping)
{
    amount->used += mapping->used;
    amount->known += mapping->known;
    amount->huge += mapping->huge ? mapping->huge - 1 : 0;
    amount->huge_known += mapping->huge ? mapping->len : 0;
}

static int by_address(const void *a, const void *b)
{
    const struct model_mapping *left = a, *right = b;
    return left->va < right->va ? -1 : left->va > right->va;
}

static int by_sample_address(const void *a, const void *b)
{
    const struct sample *left = *(struct sample *const *)a, *right = *(struct sample *const *)b;
    return left->address < right->address ? -1 : left->address > right->address;
}

/* Gives each mapping's bytes to the sites whose samples lie in it, by their weights; what is left is
 * nobody's. Shares and the rest add up to all that is pinned. model->mappings is sorted by address, a range
 * once a container. */
static void share_out(struct model *model)
{
    struct sample *sample, *next, **sorted;
    size_t nr = 0, first = 0;
    sorted = memory_take((HASH_COUNT(model->private->samples) + 1) * sizeof(struct sample *));
    HASH_ITER(hh, model->private->samples, sample, next) sorted[nr++] = sample;
    qsort(sorted, nr, sizeof(struct sample *), by_sample_address);
    for (size_t i = 0; i < model->nr_mappings; i++) {
        const struct model_mapping *mapping = &model->mappings[i];
        uint64_t total = 0, given = 0;
        if (mapping->is_app)
            continue;
        while (first < nr && sorted[first]->address < mapping->va)
            first++;
        size_t end = first;
        for (; end < nr && sorted[end]->address - mapping->va < mapping->len; end++)
            total += sorted[end]->weight;
        for (size_t n = first; n < end; n++) {
            double part = total > mapping->len ? (double)mapping->len / (double)total : 1;
            uint64_t bytes = (uint64_t)((double)sorted[n]->weight * part);
            bytes = bytes < mapping->len - given ? bytes : mapping->len - given;
            sorted[n]->site->shared += bytes;
            given += bytes;
        }
        model->unattributed += mapping->len - given;
    }
    free(sorted);
}

static void take_moment(struct model *model)
{
    struct model_private *private = model->private;
    struct live *live, *next;
    size_t n = 0;
    private->is_taken = true;
    model->nr_mappings = HASH_COUNT(private->live);
    model->mappings = memory_take((model->nr_mappings + 1) * sizeof(*model->mappings));
    HASH_ITER(hh, private->live, live, next)
    {
        model->mappings[n++] = live->mapping;
        add_up(&live->mapping.site->now, &live->mapping);
        add_up(&model->at, &live->mapping);
    }
    model->at.pinned = private->pinned;
    model->at.app_pinned = private->app_pinned;
    model->at.mappings = n;
    model->at_ns = private->moment == MOMENT_PEAK  ? model->peak_ns
                   : private->moment == MOMENT_END ? model->end_ns
                                                   : private->stop_ns;
    for (size_t i = 0; i < model->nr_sites; i++) {
        struct model_site *site = model->sites[i];
        site->at = site->now;
        site->sampled_live = site->sampled_now;
        site->samples = site->samples_now;
        site->now.used = site->now.known = site->now.huge = site->now.huge_known = 0;
    }
    qsort(model->mappings, n, sizeof(*model->mappings), by_address);
    if (model->sample_mean)
        share_out(model);
}

/* Whether the chosen moment is past. What is told of the peak's mappings follows the peak. */
static bool is_over(const struct model_private *private, enum record_type type, uint64_t now)
{
    if (private->moment == MOMENT_TIME)
        return now > private->stop_ns;
    bool is_change = type == RECORD_MAP || type == RECORD_UNMAP || type == RECORD_DETACH;
    return private->moment == MOMENT_PEAK && is_change && private->event > private->peak_event;
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
    replay_event(model, event, now);
    if (!private->is_second) {
        if (event->type == RECORD_MAP || event->type == RECORD_UNMAP || event->type == RECORD_DETACH)
            note_peaks(model, now);
        if (now > model->end_ns && event->type != RECORD_PROCESS)
            model->end_ns = now;
    }
    return true;
}

/* --- the chosen moment
 * -------------------------------------------------------------------------------------------------- */

static void forget_live(struct model *model)
{
    struct model_private *private = model->private;
    struct live *live, *next_live;
    struct sample *sample, *next_sample;
    struct owed *owed, *next_owed;
    HASH_ITER(hh, private->live, live, next_live) replay_drop(model, live);
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
    for (size_t i = 0; i < model->nr_sites; i++)
        model->sites[i]->sampled_now = model->sites[i]->samples_now = 0;
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
    free(model->mappings);
    free(model->sites);
    free(model->exe);
    free(model->command);
    free(model->shim_version);
    free(private);
}
