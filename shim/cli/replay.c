/* SPDX-License-Identifier: MIT */
/* Applies a capture's records to a model, one by one. */
#include "cli/replay.h"

#include <stdlib.h>
#include <string.h>

#include "cli/memory.h"

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

struct model_site *replay_site(struct model *model, uint64_t number)
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
    struct model_site *site = replay_site(model, event->field[0]);
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

static void change_site(struct model_site *site, const struct model_mapping *mapping, int sign)
{
    uint64_t change = sign > 0 ? mapping->len : -mapping->len;
    if (mapping->is_app)
        site->now.app_pinned += change;
    else
        site->now.pinned += change;
    site->now.mappings += (uint64_t)(int64_t)sign;
    if (!site->group)
        return;
    site->group->now += change;
    if (site->group->now > site->group->peak)
        site->group->peak = site->group->now;
}

void replay_drop(struct model *model, struct live *live)
{
    struct model_container *container = &model->containers[live->key.container % MODEL_MAX_CONTAINERS];
    HASH_DEL(model->private->live, live);
    *sum_of(model, live->key.is_app) -= live->mapping.len;
    change_site(live->mapping.site, &live->mapping, -1);
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
    struct model_site *site = replay_site(model, f[1]);
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
        replay_drop(model, live);
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
    change_site(site, &live->mapping, 1);
}

static void take_unmap(struct model *model, const struct reader_event *event)
{
    const uint64_t *f = event->field; /* tid site owner container iova len duration error */
    bool is_app = f[2] != OWNER_ANYDMA;
    struct live *live = f[2] == OWNER_ALIAS ? NULL : find_live(model, is_app, f[3], f[4]);
    if (!model->private->is_second) {
        struct model_site *site = live ? live->mapping.site : replay_site(model, f[1]);
        site->app_unmaps += is_app;
        site->unmaps += !is_app;
        add_call(model, is_app ? CALL_APP_UNMAP : CALL_UNMAP, f[6]);
    }
    if (f[7])
        fail(model, live ? live->mapping.site : replay_site(model, f[1]), f[7]);
    else if (live)
        replay_drop(model, live);
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
        replay_drop(model, live);
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
                                                                .site = replay_site(model, f[1]),
                                                                .holder = replay_site(model, f[5])};
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
        sample->site->sampled_now -= sample->weight;
        sample->site->samples_now--;
    }
    sample->site = replay_site(model, f[1]);
    sample->weight = f[4];
    sample->site->sampled_now += sample->weight;
    sample->site->samples_now++;
}

static void take_freed(struct model *model, const struct reader_event *event)
{
    struct sample *sample;
    HASH_FIND(hh, model->private->samples, &event->field[0], sizeof(event->field[0]), sample);
    if (!sample)
        return;
    sample->site->sampled_now -= sample->weight;
    sample->site->samples_now--;
    HASH_DEL(model->private->samples, sample);
    free(sample);
}

static void take_owed(struct model *model, const struct reader_event *event)
{
    struct model_private *private = model->private;
    struct owed *owed;
    struct model_site *site = replay_site(model, event->field[1]);
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
        replay_site(model, event->field[1])->refused++;
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

void replay_event(struct model *model, const struct reader_event *event, uint64_t now)
{
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
}
