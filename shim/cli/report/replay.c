/* SPDX-License-Identifier: MIT */
/* Applies a capture's records to a model, one by one. */
#include "cli/report/replay.h"

#include <stdlib.h>
#include <string.h>

#include "cli/memory.h"

static char *text_of(const struct reader_event *event, unsigned index)
{
    char *text = memory_take(event->text_len[index] + 1);
    if (event->text_len[index])
        memcpy(text, event->text[index], event->text_len[index]);
    for (size_t i = 0; i < event->text_len[index]; i++)
        if ((unsigned char)text[i] < ' ')
            text[i] = ' '; /* between the arguments of a command line, or a line break in one */
    return text;
}

/* --- sites and modules ---------------------------------------------------------------------------- */

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

static struct live *find_live(struct model *model, bool is_app, uint64_t container, uint64_t iova)
{
    struct live_key key = {.iova = iova, .container = (uint32_t)container, .is_app = is_app};
    struct live *live;
    HASH_FIND(hh, model->private->live, &key, sizeof(key), live);
    return live;
}

static void subtract(struct model_amount *from, const struct model_amount *amount)
{
    from->pinned -= amount->pinned;
    from->app_pinned -= amount->app_pinned;
    from->mappings -= amount->mappings;
    from->known -= amount->known;
    from->used -= amount->used;
    from->free -= amount->free;
    from->rounded -= amount->rounded;
    from->untouched -= amount->untouched;
    from->unasked -= amount->unasked;
    from->untold -= amount->untold;
    from->huge -= amount->huge;
    from->huge_known -= amount->huge_known;
}

/* The mapping amounts to `amount` from here on; NULL: it is gone. */
static void change(struct model *model, struct model_mapping *mapping, const struct model_amount *amount)
{
    static const struct model_amount none;
    struct model_site *site = mapping->site;
    uint64_t had = mapping->amount.pinned + mapping->amount.app_pinned;
    subtract(&site->now, &mapping->amount);
    subtract(&model->private->now, &mapping->amount);
    mapping->amount = amount ? *amount : none;
    model_add(&site->now, &mapping->amount);
    model_add(&model->private->now, &mapping->amount);
    if (!site->group)
        return;
    site->group->now += mapping->amount.pinned + mapping->amount.app_pinned - had;
    if (site->group->now > site->group->peak)
        site->group->peak = site->group->now;
}

/* How it ends is what a later pass takes for its whole life. */
static void note_fate(struct model *model, const struct model_mapping *mapping, struct fate fate)
{
    struct model_private *private = model->private;
    size_t had = private->fates_room;
    if (private->is_second)
        return;
    private->fates =
        memory_grow(private->fates, &private->fates_room, mapping->ordinal + 1, sizeof(*private->fates));
    for (; had < private->fates_room; had++)
    private->fates[had] = (struct fate){0, 0};
    private->fates[mapping->ordinal] = fate;
}

/* Step n shows what was true at n * every_ns. */
void replay_span(struct model *model, const struct model_mapping *mapping, uint64_t end_ns)
{
    struct model_private *private = model->private;
    if (!private->is_second || model->nr_steps < 2)
        return;
    size_t first = (size_t)((mapping->made_ns + model->every_ns - 1) / model->every_ns);
    size_t behind = (size_t)((end_ns + model->every_ns - 1) / model->every_ns);
    behind = behind < model->nr_steps ? behind : model->nr_steps;
    bool is_at_moment = mapping->made_ns <= model->at_ns && end_ns >= model->at_ns;
    if (first >= behind && !is_at_moment)
        return;
    if (model->nr_spans == MODEL_MAX_SPANS) {
        model->spans_left_out++;
        return;
    }
    model->spans =
        memory_grow(model->spans, &private->spans_room, model->nr_spans + 1, sizeof(*model->spans));
    model->spans[model->nr_spans++] = (struct model_span){*mapping, first, behind};
}

void replay_drop(struct model *model, struct live *live, uint64_t now)
{
    replay_span(model, &live->mapping, now);
    struct model_container *container = &model->containers[live->key.container % MODEL_MAX_CONTAINERS];
    HASH_DEL(model->private->live, live);
    if (!live->mapping.is_app)
        HASH_DELETE(by_place, model->private->placed_live, live);
    change(model, &live->mapping, NULL);
    if (strcmp(container->backend, "sim") == 0 && !live->is_beyond)
        model->private->sim_locked -= live->mapping.len;
    if (container->entries)
        container->entries--;
    free(live);
}

static struct model_failure *failure_of(struct model *model, struct model_site *site, enum failed_call what,
                                        int error)
{
    struct model_private *private = model->private;
    const struct failure_key key = {.site = site->id, .what = what, .error = error};
    struct failed *entry;
    HASH_FIND(hh, private->failed, &key, sizeof(key), entry);
    if (!entry) {
        entry = memory_take(sizeof(*entry));
        entry->key = key;
        entry->index = model->nr_failed++;
        HASH_ADD(hh, private->failed, key, sizeof(key), entry);
        model->failed =
            memory_grow(model->failed, &private->failed_room, model->nr_failed, sizeof(*model->failed));
        model->failed[entry->index] = (struct model_failure){.what = what, .error = error, .site = site};
    }
    return &model->failed[entry->index];
}

static void fail(struct model *model, struct model_site *site, enum failed_call what, uint64_t error,
                 uint64_t bytes, uint64_t now)
{
    if (model->private->is_second)
        return;
    struct model_failure *failure = failure_of(model, site, what, (int)(error & 4095));
    if (!failure->count++) {
        failure->first_ns = now;
        failure->pinned = model->private->now.pinned + model->private->now.app_pinned;
    }
    failure->last_ns = now;
    failure->bytes += bytes;
    if (what == FAILED_LOOKUP) {
        site->refused++;
        model->refused++;
    } else {
        site->failures++;
        model->failures++;
    }
    model->errors[error & 4095]++;
}

static void take_thread(struct model *model, const struct reader_event *event)
{
    struct model_private *private = model->private;
    uint32_t tid = (uint32_t)event->field[0];
    struct thread *thread;
    struct name *name;
    if (private->is_second)
        return;
    char *text = text_of(event, 0);
    HASH_FIND_STR(private->names, text, name);
    if (name) {
        free(text);
    } else {
        name = memory_take(sizeof(*name));
        name->text = text;
        HASH_ADD_KEYPTR(hh, private->names, name->text, strlen(name->text), name);
    }
    HASH_FIND(hh, private->threads, &tid, sizeof(tid), thread);
    if (!thread) {
        thread = memory_take(sizeof(*thread));
        thread->tid = tid;
        HASH_ADD(hh, private->threads, tid, sizeof(thread->tid), thread);
    }
    thread->name = name->text;
}

static void note_thread(struct model *model, struct model_site *site, uint32_t tid)
{
    struct thread *thread;
    HASH_FIND(hh, model->private->threads, &tid, sizeof(tid), thread);
    for (unsigned i = 0; thread && i < MODEL_SITE_THREADS; i++) {
        if (!site->threads[i])
            site->threads[i] = thread->name;
        if (site->threads[i] == thread->name)
            return;
    }
    site->has_more_threads |= thread != NULL;
}

/* What VFIO would have made of it: it locks the pages in the process's name. */
static void judge_simulated(struct model *model, struct live *live, const struct model_container *container)
{
    struct model_private *private = model->private;
    if (strcmp(container->backend, "sim") != 0)
        return;
    live->is_beyond =
        model->memlock != UINT64_MAX && private->sim_locked + live->mapping.len > model->memlock;
    if (!live->is_beyond)
    private->sim_locked += live->mapping.len;
    if (private->is_second)
        return;
    model->sim_maps++;
    model->sim_refused += live->is_beyond;
}

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

static void keep_told(struct model *model, const struct live *live, const uint64_t *f)
{
    struct model_private *private = model->private;
    struct told *told;
    if (private->is_second || live->mapping.amount.known || live->made_event >= private->changed_event)
        return;
    told = memory_take(sizeof(*told));
    told->ordinal = live->mapping.ordinal;
    memcpy(told->field, f, sizeof(told->field));
    HASH_ADD(hh, private->told, ordinal, sizeof(told->ordinal), told);
}

/* f: va len used free untouched flags */
static void tell_used(struct model *model, struct model_mapping *mapping, const uint64_t *f)
{
    const struct model_private *private = model->private;
    uint64_t live = at_most(f[2], mapping->len), rest = mapping->len - live;
    struct fate fate = {.untouched = at_most(f[4], live), .looked_up = (f[5] & USE_LOOKED_UP) != 0};
    struct model_amount amount = mapping->amount;
    model->looks_up |= (f[5] & USE_PROGRAM_LOOKS_UP) != 0;
    if (f[5] & USE_HAS_TOUCHED || !private->is_second)
        note_fate(model, mapping, fate);
    if (private->is_second && mapping->ordinal < private->fates_room)
        fate = private->fates[mapping->ordinal];
    amount.known = mapping->len;
    amount.free = f[5] & USE_HAS_FREE ? at_most(f[3], rest) : 0;
    amount.rounded = f[5] & USE_HAS_FREE ? rest - amount.free : 0;
    amount.untold = f[5] & USE_HAS_FREE ? 0 : rest;
    amount.untouched = at_most(fate.untouched, live);
    amount.unasked = f[5] & USE_HAS_FREE && model->looks_up && !fate.looked_up ? live - amount.untouched : 0;
    amount.used = live - amount.untouched - amount.unasked;
    change(model, mapping, &amount);
}

/* In the second pass: what is told of the mapping later, and too late for moments in between. */
static void tell_beforehand(struct model *model, struct live *live)
{
    struct told *told = NULL;
    if (model->private->is_second)
        HASH_FIND(hh, model->private->told, &live->mapping.ordinal, sizeof(live->mapping.ordinal), told);
    if (told)
        tell_used(model, &live->mapping, told->field);
}

static void take_map(struct model *model, const struct reader_event *event, uint64_t now)
{
    const uint64_t *f = event->field; /* tid site owner container va len iova duration error huge */
    struct model_private *private = model->private;
    struct model_site *site = replay_site(model, f[1]);
    bool is_app = f[2] != OWNER_ANYDMA;
    if (!private->is_second) {
        note_thread(model, site, (uint32_t)f[0]);
        site->app_maps += is_app;
        site->maps += !is_app;
        site->map_ns += f[7];
        add_call(model, is_app ? CALL_APP_MAP : CALL_MAP, f[7]);
    }
    if (f[8]) {
        fail(model, site, is_app ? FAILED_APP_MAP : FAILED_MAP, f[8], f[5], now);
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
        replay_drop(model, live, now);
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
                                           .huge = f[9],
                                           .ordinal = private->nr_maps++};
    live->made_event = private->event;
    live->place = (struct live_place){.va = f[4], .container = f[3]};
    HASH_ADD(hh, private->live, key, sizeof(live->key), live);
    if (!is_app)
        HASH_ADD(by_place, private->placed_live, place, sizeof(live->place), live);
    judge_simulated(model, live, container);
    const struct model_amount amount = {.pinned = is_app ? 0 : f[5],
                                        .app_pinned = is_app ? f[5] : 0,
                                        .mappings = 1,
                                        .huge = f[9] ? f[9] - 1 : 0,
                                        .huge_known = f[9] ? f[5] : 0};
    change(model, &live->mapping, &amount);
    tell_beforehand(model, live);
}

static void take_unmap(struct model *model, const struct reader_event *event, uint64_t now)
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
        fail(model, live ? live->mapping.site : replay_site(model, f[1]),
             is_app ? FAILED_APP_UNMAP : FAILED_UNMAP, f[7], f[5], now);
    else if (live)
        replay_drop(model, live, now);
}

/* Containers hold the same ranges. */
static void take_used(struct model *model, const struct reader_event *event)
{
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++) {
        const struct live_place place = {.va = event->field[0], .container = i};
        struct live *live = NULL;
        if (model->containers[i].entries)
            HASH_FIND(by_place, model->private->placed_live, &place, sizeof(place), live);
        if (!live || live->mapping.len != event->field[1])
            continue;
        keep_told(model, live, event->field);
        tell_used(model, &live->mapping, event->field);
    }
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

static void take_detach(struct model *model, const struct reader_event *event, uint64_t now)
{
    struct live *live, *next;
    model->containers[event->field[0] % MODEL_MAX_CONTAINERS].is_attached = false;
    HASH_ITER(hh, model->private->live, live, next)
    if (live->key.container == event->field[0])
        replay_drop(model, live, now);
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
    sample->size = f[3] ? f[3] : 1;
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

static int compare_placed(const struct placed *a, const struct placed *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE_INTERNAL(placed_tree, placed, by_start, compare_placed, __attribute__((unused)) static)

struct placed *replay_first_placed(struct model *model)
{
    return RB_MIN(placed_tree, &model->private->placed);
}

struct placed *replay_next_placed(struct placed *placed)
{
    return RB_NEXT(placed_tree, , placed);
}

static void count_placed(const struct placed *placed, int sign)
{
    uint64_t weight = (uint64_t)((double)(placed->end - placed->start) * placed->weight + 0.5);
    placed->site->sampled_now += sign > 0 ? weight : -weight;
    placed->site->samples_now += (uint64_t)(int64_t)sign;
}

static void place(struct model *model, uint64_t start, uint64_t end, struct model_site *site, double weight)
{
    struct placed *placed = memory_take(sizeof(*placed));
    *placed = (struct placed){.start = start, .end = end, .site = site, .weight = weight};
    RB_INSERT(placed_tree, &model->private->placed, placed);
    count_placed(placed, 1);
}

void replay_remove(struct model *model, uint64_t start, uint64_t end)
{
    struct placed *at = RB_ROOT(&model->private->placed), *found = NULL, *next;
    while (at) {
        if (start < at->end) {
            found = at;
            at = RB_LEFT(at, by_start);
        } else {
            at = RB_RIGHT(at, by_start);
        }
    }
    for (; found && found->start < end; found = next) {
        struct placed old = *found;
        next = RB_NEXT(placed_tree, , found);
        count_placed(found, -1);
        RB_REMOVE(placed_tree, &model->private->placed, found);
        free(found);
        if (old.start < start)
            place(model, old.start, start, old.site, old.weight);
        if (old.end > end)
            place(model, end, old.end, old.site, old.weight);
    }
}

static void take_placed(struct model *model, const struct reader_event *event)
{
    const uint64_t *f = event->field; /* tid site address len weight */
    if (!f[3] || f[2] + f[3] < f[2])
        return;
    model->samples += !model->private->is_second;
    replay_remove(model, f[2], f[2] + f[3]);
    place(model, f[2], f[2] + f[3], replay_site(model, f[1]), (double)f[4] / (double)f[3]);
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

static void take_once(struct model *model, const struct reader_event *event, uint64_t now)
{
    if (model->private->is_second)
        return;
    if (event->type == RECORD_REFUSED) {
        fail(model, replay_site(model, event->field[1]), FAILED_LOOKUP, event->field[3], 0, now);
    } else if (event->type == RECORD_FORK) {
        model->forks++;
        model->fork_bytes += event->field[0];
        if (model->nr_forks < MODEL_MAX_FORKS) {
            model->fork = memory_grow(model->fork, &model->private->forks_room, model->nr_forks + 1,
                                      sizeof(*model->fork));
            model->fork[model->nr_forks++] = (struct model_fork){
                now, event->field[0], event->field[1] ? replay_site(model, event->field[1]) : NULL};
        }
    } else if (event->type == RECORD_DEVICE) {
        model->devices = memory_grow(model->devices, &model->private->devices_room, model->nr_devices + 1,
                                     sizeof(*model->devices));
        model->devices[model->nr_devices++] = text_of(event, 0);
    } else if (event->type == RECORD_STATS) {
        model->has_stats = true;
        memcpy(model->stats, event->field, sizeof(model->stats));
    }
}

bool replay_is_change(enum record_type type)
{
    return type == RECORD_MAP || type == RECORD_UNMAP || type == RECORD_DETACH || type == RECORD_FREED ||
           type == RECORD_REMOVED;
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
    case RECORD_THREAD:
        take_thread(model, event);
        break;
    case RECORD_ATTACH:
        take_attach(model, event);
        break;
    case RECORD_DETACH:
        take_detach(model, event, now);
        break;
    case RECORD_MAP:
        take_map(model, event, now);
        break;
    case RECORD_UNMAP:
        take_unmap(model, event, now);
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
    case RECORD_PLACED:
        take_placed(model, event);
        break;
    case RECORD_REMOVED:
        if (event->field[0] + event->field[1] > event->field[0])
            replay_remove(model, event->field[0], event->field[0] + event->field[1]);
        break;
    default:
        take_once(model, event, now);
    }
}
