/* SPDX-License-Identifier: MIT */
/* Replays a capture twice: once for what happened and when the peak was, once up to the chosen moment. */
#include "cli/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cli/memory.h"

struct live_key {
    uint64_t iova;
    uint32_t container;
    uint32_t is_app;
};

struct live {
    struct live_key key;
    struct model_mapping mapping;
    UT_hash_handle hh;
};

struct by_id {
    uint32_t id;
    struct model_site *site;
    UT_hash_handle hh;
};

struct sample {
    uint64_t address;
    struct model_site *site;
    uint64_t weight;
    UT_hash_handle hh;
};

struct owed {
    uint64_t va;
    struct model_site *site;
    UT_hash_handle hh;
};

struct model_private {
    struct live *live;
    struct by_id *sites;
    struct sample *samples;
    struct owed *owed;
    uint64_t pinned, app_pinned;
    uint64_t event, stop_event, peak_event; /* ordinals */
    enum model_moment moment;
    uint64_t stop_ns; /* since the start */
    bool is_second;
    size_t sites_room, modules_room, devices_room, hazards_room;
};

static char *text_of(const struct reader_event *event, unsigned index)
{
    char *text = memory_take(event->text_len[index] + 1);
    if (event->text_len[index])
        memcpy(text, event->text[index], event->text_len[index]);
    for (size_t i = 0; i < event->text_len[index]; i++)
        if (!text[i])
            text[i] = ' '; /* between the arguments of a command line */
    return text;
}

/* --- sites and modules
 * --------------------------------------------------------------------------------------------- */

static struct model_site *site_of(struct model *model, uint64_t number)
{
    struct model_private *private = model->private;
    struct by_id *entry;
    uint32_t id = (uint32_t)number;
    HASH_FIND(hh, private->sites, &id, sizeof(id), entry);
    if (entry)
        return entry->site;
    entry = memory_take(sizeof(*entry));
    entry->id = id;
    entry->site = memory_take(sizeof(*entry->site));
    entry->site->id = id;
    HASH_ADD(hh, private->sites, id, sizeof(entry->id), entry);
    model->sites =
        memory_grow(model->sites, &private->sites_room, model->nr_sites + 1, sizeof(*model->sites));
    model->sites[model->nr_sites++] = entry->site;
    return entry->site;
}

static const struct model_module *module_at(const struct model *model, uint64_t address)
{
    for (size_t i = model->nr_modules; i > 0; i--) /* the latest to be mapped there */
        if (address - model->modules[i - 1]->start <
            model->modules[i - 1]->end - model->modules[i - 1]->start)
            return model->modules[i - 1];
    return NULL;
}

static void take_site(struct model *model, const struct reader_event *event)
{
    struct model_site *site = site_of(model, event->field[0]);
    if (model->private->is_second || site->depth || !event->field[1])
        return;
    site->depth = (unsigned)event->field[1];
    site->frames = memory_take(site->depth * sizeof(*site->frames));
    for (unsigned i = 0; i < site->depth; i++) {
        site->frames[i].address = event->field[2 + i] ? event->field[2 + i] - 1 : 0;
        site->frames[i].module = module_at(model, site->frames[i].address);
    }
    site->label = text_of(event, 0);
}

static void take_module(struct model *model, const struct reader_event *event)
{
    if (model->private->is_second)
        return;
    struct model_module *module = memory_take(sizeof(*module));
    module->start = event->field[0];
    module->end = event->field[1];
    module->file_offset = event->field[2];
    module->build_id_len =
        (unsigned)(event->text_len[0] < sizeof(module->build_id) ? event->text_len[0]
                                                                 : sizeof(module->build_id));
    if (module->build_id_len)
        memcpy(module->build_id, event->text[0], module->build_id_len);
    module->path = text_of(event, 1);
    model->modules = memory_grow(model->modules, &model->private->modules_room, model->nr_modules + 1,
                                 sizeof(*model->modules));
    model->modules[model->nr_modules++] = module;
}

static void take_process(struct model *model, const struct reader_event *event)
{
    if (model->private->is_second || model->version)
        return;
    model->version = event->field[0];
    model->pid = event->field[1];
    model->ppid = event->field[2];
    model->start_wall_ns = event->field[3];
    model->start_ns = event->field[4];
    model->page_size = event->field[5];
    model->memlock = event->field[6];
    model->sample_mean = event->field[7];
    model->exe = text_of(event, 0);
    model->command = text_of(event, 1);
    model->shim_version = text_of(event, 2);
}

/* --- over time
 * ---------------------------------------------------------------------------------------------------------
 */

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

static void add_call(struct model *model, enum model_call call, uint64_t ns)
{
    struct model_histogram *histogram = &model->calls[call];
    unsigned bucket = 0;
    while (bucket < MODEL_BUCKETS - 1 && ns >> bucket)
        bucket++;
    histogram->bucket[bucket]++;
    histogram->count++;
    histogram->total_ns += ns;
    if (ns > histogram->longest_ns)
        histogram->longest_ns = ns;
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

/* --- mappings
 * ------------------------------------------------------------------------------------------------------------
 */

static uint64_t *sum_of(struct model *model, bool is_app)
{
    return is_app ? &model->private->app_pinned : &model->private->pinned;
}

static struct live *find_live(struct model *model, bool is_app, uint64_t container, uint64_t iova)
{
    struct live_key key = {.iova = iova, .container = (uint32_t)container, .is_app = is_app};
    struct live *live;
    HASH_FIND(hh, model->private->live, &key, sizeof(key), live);
    return live;
}

static void change_amount(struct model_amount *amount, const struct model_mapping *mapping, int sign)
{
    uint64_t change = sign > 0 ? mapping->len : -mapping->len;
    if (mapping->is_app)
        amount->app_pinned += change;
    else
        amount->pinned += change;
    amount->mappings += (uint64_t)(int64_t)sign;
}

static void drop_live(struct model *model, struct live *live)
{
    struct model_container *container = &model->containers[live->key.container % MODEL_MAX_CONTAINERS];
    HASH_DEL(model->private->live, live);
    *sum_of(model, live->key.is_app) -= live->mapping.len;
    change_amount(&live->mapping.site->at, &live->mapping, -1);
    if (container->entries)
        container->entries--;
    free(live);
}

static void fail(struct model *model, struct model_site *site, uint64_t error)
{
    if (model->private->is_second)
        return;
    site->failures++;
    model->failures++;
    model->errors[error & 4095]++;
}

static void take_map(struct model *model, const struct reader_event *event, uint64_t now)
{
    const uint64_t *f = event->field; /* tid site owner container va len iova duration error huge */
    struct model_private *private = model->private;
    struct model_site *site = site_of(model, f[1]);
    bool is_app = f[2] != OWNER_ANYDMA;
    if (!private->is_second) {
        site->app_maps += is_app;
        site->maps += !is_app;
        site->map_ns += f[7];
        add_call(model, is_app ? CALL_APP_MAP : CALL_MAP, f[7]);
    }
    if (f[8]) {
        fail(model, site, f[8]);
        return;
    }
    if (f[2] == OWNER_ALIAS)
        return; /* ours pins it */
    struct owed *owed;
    HASH_FIND(hh, private->owed, &f[4], sizeof(f[4]), owed);
    if (owed) {
        HASH_DEL(private->owed, owed);
        free(owed);
    }
    struct live *live = find_live(model, is_app, f[3], f[6]);
    if (live) /* its end was lost with a damaged block */
        drop_live(model, live);
    struct model_container *container = &model->containers[f[3] % MODEL_MAX_CONTAINERS];
    if (++container->entries > container->entries_peak)
        container->entries_peak = container->entries;
    live = memory_take(sizeof(*live));
    live->key = (struct live_key){.iova = f[6], .container = (uint32_t)f[3], .is_app = is_app};
    live->mapping = (struct model_mapping){.is_app = is_app,
                                           .container = (unsigned)f[3],
                                           .va = f[4],
                                           .len = f[5],
                                           .iova = f[6],
                                           .made_ns = now,
                                           .site = site,
                                           .huge = f[9]};
    HASH_ADD(hh, private->live, key, sizeof(live->key), live);
    *sum_of(model, is_app) += f[5];
    change_amount(&site->at, &live->mapping, 1);
    if (site->at.pinned + site->at.app_pinned > site->peak)
        site->peak = site->at.pinned + site->at.app_pinned;
}

static void take_unmap(struct model *model, const struct reader_event *event)
{
    const uint64_t *f = event->field; /* tid site owner container iova len duration error */
    bool is_app = f[2] != OWNER_ANYDMA;
    struct live *live = f[2] == OWNER_ALIAS ? NULL : find_live(model, is_app, f[3], f[4]);
    if (!model->private->is_second) {
        struct model_site *site = live ? live->mapping.site : site_of(model, f[1]);
        site->app_unmaps += is_app;
        site->unmaps += !is_app;
        add_call(model, is_app ? CALL_APP_UNMAP : CALL_UNMAP, f[6]);
    }
    if (f[7])
        fail(model, live ? live->mapping.site : site_of(model, f[1]), f[7]);
    else if (live)
        drop_live(model, live);
}

static void take_used(struct model *model, const struct reader_event *event)
{
    struct live *live, *next;
    /* Seldom, and by address: containers hold the same. Identity is the common case. */
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++) {
        live = model->containers[i].is_attached ? find_live(model, false, i, event->field[0]) : NULL;
        if (live && live->mapping.va == event->field[0] && live->mapping.len == event->field[1])
            goto found;
    }
    HASH_ITER(hh, model->private->live, live, next)
    if (!live->mapping.is_app && live->mapping.va == event->field[0] && live->mapping.len == event->field[1])
        goto found;
    return;
found:
    live->mapping.used = event->field[2] < live->mapping.len ? event->field[2] : live->mapping.len;
    live->mapping.known = live->mapping.len;
}

/* --- the rest
 * -------------------------------------------------------------------------------------------------------------
 */

static void take_attach(struct model *model, const struct reader_event *event)
{
    struct model_container *container = &model->containers[event->field[0] % MODEL_MAX_CONTAINERS];
    size_t len = event->text_len[0] < sizeof(container->backend) - 1 ? event->text_len[0]
                                                                     : sizeof(container->backend) - 1;
    *container = (struct model_container){.is_attached = true,
                                          .was_attached = true,
                                          .entries_limit = event->field[1],
                                          .first = event->field[2],
                                          .last = event->field[3],
                                          .entries_peak = container->entries_peak};
    if (len)
        memcpy(container->backend, event->text[0], len);
}

static void take_detach(struct model *model, const struct reader_event *event)
{
    struct live *live, *next;
    model->containers[event->field[0] % MODEL_MAX_CONTAINERS].is_attached = false;
    HASH_ITER(hh, model->private->live, live, next)
    if (live->key.container == event->field[0])
        drop_live(model, live);
}

static void take_hazard(struct model *model, const struct reader_event *event, uint64_t now)
{
    const uint64_t *f = event->field; /* tid site kind va len holder */
    if (model->private->is_second)
        return;
    model->hazards_seen++;
    if (model->nr_hazards == MODEL_MAX_HAZARDS)
        return;
    model->hazards = memory_grow(model->hazards, &model->private->hazards_room, model->nr_hazards + 1,
                                 sizeof(*model->hazards));
    model->hazards[model->nr_hazards++] = (struct model_hazard){.kind = (enum profile_hazard)(f[2] % 3),
                                                                .time_ns = now,
                                                                .tid = (uint32_t)f[0],
                                                                .va = f[3],
                                                                .len = f[4],
                                                                .site = site_of(model, f[1]),
                                                                .holder = site_of(model, f[5])};
}

static void take_sample(struct model *model, const struct reader_event *event)
{
    const uint64_t *f = event->field; /* tid site address size weight */
    struct sample *sample;
    model->samples += !model->private->is_second;
    HASH_FIND(hh, model->private->samples, &f[2], sizeof(f[2]), sample);
    if (!sample) {
        sample = memory_take(sizeof(*sample));
        sample->address = f[2];
        HASH_ADD(hh, model->private->samples, address, sizeof(sample->address), sample);
    } else {
        sample->site->sampled_live -= sample->weight;
        sample->site->samples--;
    }
    sample->site = site_of(model, f[1]);
    sample->weight = f[4];
    sample->site->sampled_live += sample->weight;
    sample->site->samples++;
}

static void take_freed(struct model *model, const struct reader_event *event)
{
    struct sample *sample;
    HASH_FIND(hh, model->private->samples, &event->field[0], sizeof(event->field[0]), sample);
    if (!sample)
        return;
    sample->site->sampled_live -= sample->weight;
    sample->site->samples--;
    HASH_DEL(model->private->samples, sample);
    free(sample);
}

static void take_owed(struct model *model, const struct reader_event *event)
{
    struct model_private *private = model->private;
    struct owed *owed;
    struct model_site *site = site_of(model, event->field[1]);
    if (!private->is_second) {
        site->owed++;
        model->owed++;
    }
    HASH_FIND(hh, private->owed, &event->field[2], sizeof(event->field[2]), owed);
    if (!owed) {
        owed = memory_take(sizeof(*owed));
        owed->va = event->field[2];
        HASH_ADD(hh, private->owed, va, sizeof(owed->va), owed);
    }
    owed->site = site;
}

static void take_once(struct model *model, const struct reader_event *event)
{
    if (model->private->is_second)
        return;
    if (event->type == RECORD_REFUSED) {
        site_of(model, event->field[1])->refused++;
        model->refused++;
        model->errors[event->field[3] & 4095]++;
    } else if (event->type == RECORD_FORK) {
        model->forks++;
        model->fork_bytes += event->field[0];
    } else if (event->type == RECORD_DEVICE) {
        model->devices = memory_grow(model->devices, &model->private->devices_room, model->nr_devices + 1,
                                     sizeof(*model->devices));
        model->devices[model->nr_devices++] = text_of(event, 0);
    } else if (event->type == RECORD_STATS) {
        model->has_stats = true;
        memcpy(model->stats, event->field, sizeof(model->stats));
    }
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
    if (private->is_second && is_over(private, event->type, now))
        return false;
    switch (event->type) {
    case RECORD_PROCESS:
        take_process(model, event);
        break;
    case RECORD_MODULE:
        take_module(model, event);
        break;
    case RECORD_SITE:
        take_site(model, event);
        break;
    case RECORD_ATTACH:
        take_attach(model, event);
        break;
    case RECORD_DETACH:
        take_detach(model, event);
        break;
    case RECORD_MAP:
        take_map(model, event, now);
        break;
    case RECORD_UNMAP:
        take_unmap(model, event);
        break;
    case RECORD_USED:
        take_used(model, event);
        break;
    case RECORD_HAZARD:
        take_hazard(model, event, now);
        break;
    case RECORD_SAMPLE:
        take_sample(model, event);
        break;
    case RECORD_FREED:
        take_freed(model, event);
        break;
    case RECORD_OWED:
        take_owed(model, event);
        break;
    default:
        take_once(model, event);
    }
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
    HASH_ITER(hh, private->live, live, next_live) drop_live(model, live);
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
        model->sites[i]->sampled_live = model->sites[i]->samples = 0;
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

static int by_size(const void *a, const void *b)
{
    const struct model_site *left = *(struct model_site *const *)a, *right = *(struct model_site *const *)b;
    uint64_t x = left->at.pinned + left->at.app_pinned, y = right->at.pinned + right->at.app_pinned;
    if (x == y)
        return left->id < right->id ? -1 : left->id > right->id;
    return x > y ? -1 : 1;
}

static void take_moment(struct model *model)
{
    struct model_private *private = model->private;
    struct live *live, *next;
    size_t n = 0;
    model->nr_mappings = HASH_COUNT(private->live);
    model->mappings = memory_take((model->nr_mappings + 1) * sizeof(*model->mappings));
    HASH_ITER(hh, private->live, live, next)
    {
        model->mappings[n++] = live->mapping;
        add_up(&live->mapping.site->at, &live->mapping);
        add_up(&model->at, &live->mapping);
    }
    model->at.pinned = private->pinned;
    model->at.app_pinned = private->app_pinned;
    model->at.mappings = n;
    model->at_ns = private->moment == MOMENT_PEAK  ? model->peak_ns
                   : private->moment == MOMENT_END ? model->end_ns
                                                   : private->stop_ns;
    qsort(model->mappings, n, sizeof(*model->mappings), by_address);
    qsort(model->sites, model->nr_sites, sizeof(*model->sites), by_size);
}

int model_load(struct model *model, const char *path, enum model_moment moment, uint64_t time_ns)
{
    struct reader_health ignored;
    struct model_private *private;
    memset(model, 0, sizeof(*model));
    private = model->private = memory_take(sizeof(*private));
    private->moment = moment;
    private->stop_ns = time_ns;
    int error = reader_read(path, apply, model, &model->health);
    if (!error && !model->version)
        error = -EPROTO;
    if (error) {
        fprintf(stderr, "anydma: %s: %s\n", path,
                error == -EPROTO ? "not a capture of anydma, or of a later version, or nothing in it is whole"
                                 : strerror(-error));
        return 2;
    }
    forget_live(model);
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++)
        model->containers[i].entries = 0;
    private->is_second = true;
    private->event = 0;
    reader_read(path, apply, model, &ignored);
    take_moment(model);
    return 0;
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
