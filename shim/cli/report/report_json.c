/* SPDX-License-Identifier: MIT */
/* A report for programs: all that the capture says, as one JSON object; anydma(1) names its members. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report/advice.h"
#include "cli/report/report.h"

/* JSON's numbers are exact to 2^53; no limit is null. */
static json_t *number(uint64_t value)
{
    return value == UINT64_MAX ? json_null() : json_integer((json_int_t)(value & INT64_MAX));
}

static json_t *address(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "0x%" PRIx64, value);
    return json_string(text);
}

/* Names and paths may be anything; JSON is UTF-8. */
static json_t *text(const char *value)
{
    json_t *string = value ? json_string(value) : json_null();
    if (string)
        return string;
    char ascii[512];
    size_t i = 0;
    for (; value[i] && i < sizeof(ascii) - 1; i++)
        ascii[i] = value[i] < 32 || value[i] > 126 ? '?' : value[i];
    ascii[i] = '\0';
    return json_string(ascii);
}

static void set(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, number(value));
}

json_t *report_stack(const struct stack_view *stack)
{
    json_t *frames = json_array();
    for (size_t i = 0; i < stack->nr; i++) {
        const struct symbol *symbol = stack->symbols[i];
        json_t *frame = json_object();
        json_object_set_new(frame, "function", text(symbol->function));
        json_object_set_new(frame, "file", text(symbol->file));
        json_object_set_new(frame, "line", symbol->line ? json_integer(symbol->line) : json_null());
        json_object_set_new(frame, "module", text(symbol->module));
        if (symbol->is_inlined)
            json_object_set_new(frame, "inlined", json_true());
        json_array_append_new(frames, frame);
    }
    return frames;
}

static void set_amount(json_t *object, const struct model_amount *amount)
{
    set(object, "pinned", amount->pinned);
    set(object, "app_pinned", amount->app_pinned);
    set(object, "mappings", amount->mappings);
    set(object, "used", amount->used);
    set(object, "used_known_of", amount->known);
    set(object, "waste", model_waste(amount));
    json_t *kinds = json_object();
    set(kinds, "free_in_heap", amount->free);
    set(kinds, "rounded_up", amount->rounded);
    set(kinds, "never_touched", amount->untouched);
    set(kinds, "never_looked_up", amount->unasked);
    if (amount->untold)
        set(kinds, "not_told", amount->untold);
    json_object_set_new(object, "waste_kinds", kinds);
    set(object, "huge", amount->huge);
    set(object, "huge_known_of", amount->huge_known);
}

static json_t *sites_of(const struct view *view)
{
    json_t *sites = json_array();
    for (size_t i = 0; i < view->nr_rows; i++) {
        const struct view_row *row = &view->rows[i];
        json_t *site = json_object();
        json_object_set_new(site, "label", text(row->label));
        json_t *threads = json_array();
        for (unsigned n = 0; n < MODEL_SITE_THREADS && row->threads[n]; n++)
            json_array_append_new(threads, text(row->threads[n]));
        if (row->has_more_threads)
            json_array_append_new(threads, json_string("..."));
        json_object_set_new(site, "threads", threads);
        set_amount(site, &row->at);
        set(site, "peak", row->group->peak);
        set(site, "maps", row->maps);
        set(site, "unmaps", row->unmaps);
        set(site, "app_maps", row->app_maps);
        set(site, "app_unmaps", row->app_unmaps);
        set(site, "failures", row->failures);
        set(site, "refused", row->refused);
        set(site, "owed", row->owed);
        set(site, "map_ns", row->map_ns);
        set(site, "sampled_live", row->sampled_live);
        set(site, "samples", row->samples);
        set(site, "shared", row->shared);
        json_object_set_new(site, "stack", report_stack(&row->stack));
        json_array_append_new(sites, site);
    }
    return sites;
}

json_t *report_timeline(const struct model *model)
{
    json_t *points = json_array();
    for (size_t i = 0; i < model->nr_points; i++) {
        json_t *point = json_array();
        json_array_append_new(point, number(model->points[i].time_ns));
        json_array_append_new(point, number(model->points[i].pinned));
        json_array_append_new(point, number(model->points[i].app_pinned));
        json_array_append_new(point, number(model->points[i].waste));
        json_array_append_new(points, point);
    }
    return points;
}

static json_t *calls_of(const struct model *model)
{
    static const char *const names[NR_CALLS] = {"map", "unmap", "app_map", "app_unmap"};
    json_t *calls = json_object();
    for (unsigned i = 0; i < NR_CALLS; i++) {
        const struct model_histogram *histogram = &model->calls[i];
        json_t *call = json_object(), *buckets = json_array();
        set(call, "count", histogram->count);
        set(call, "total_ns", histogram->total_ns);
        set(call, "longest_ns", histogram->longest_ns);
        set(call, "p50_ns", model_percentile(histogram, 50));
        set(call, "p99_ns", model_percentile(histogram, 99));
        for (unsigned n = 0; n < MODEL_BUCKETS; n++)
            if (histogram->bucket[n])
                json_array_append_new(
                    buckets, json_pack("[I, I]", (json_int_t)1 << n, (json_int_t)histogram->bucket[n]));
        json_object_set_new(call, "buckets_below_ns", buckets);
        json_object_set_new(calls, names[i], call);
    }
    return calls;
}

static json_t *mappings_of(const struct model *model)
{
    json_t *mappings = json_array();
    for (size_t i = 0; i < model->nr_mappings; i++) {
        const struct model_mapping *m = &model->mappings[i];
        json_t *mapping = json_object();
        json_object_set_new(mapping, "owner", json_string(m->is_app ? "application" : "anydma"));
        json_object_set_new(mapping, "address", address(m->va));
        json_object_set_new(mapping, "iova", address(m->iova));
        set(mapping, "bytes", m->len);
        set(mapping, "container", m->container);
        set(mapping, "made_ns", m->made_ns);
        set(mapping, "site", m->site->id);
        json_object_set_new(mapping, "huge", m->huge ? number(m->huge - 1) : json_null());
        json_object_set_new(mapping, "used", m->amount.known ? number(m->amount.used) : json_null());
        json_object_set_new(mapping, "waste",
                            m->amount.known ? number(model_waste(&m->amount)) : json_null());
        json_array_append_new(mappings, mapping);
    }
    return mappings;
}

static json_t *containers_of(const struct model *model)
{
    json_t *containers = json_array();
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++) {
        const struct model_container *c = &model->containers[i];
        if (!c->was_attached)
            continue;
        json_t *container = json_object();
        set(container, "container", i);
        json_object_set_new(container, "backend", text(c->backend));
        set(container, "mappings_peak", c->entries_peak);
        set(container, "mappings_limit", c->entries_limit);
        json_object_set_new(container, "iova_first", address(c->first));
        json_object_set_new(container, "iova_last", address(c->last));
        json_array_append_new(containers, container);
    }
    return containers;
}

static json_t *hazards_of(const struct view *view)
{
    static const char *const kinds[] = {"unmapped while pinned",
                                        "unmapped while the application had it mapped", "freed while pinned"};
    json_t *hazards = json_array();
    for (size_t i = 0; i < view->model.nr_hazards; i++) {
        const struct model_hazard *h = &view->model.hazards[i];
        struct stack_view by, holder;
        json_t *hazard = json_object();
        symbols_stack(view->symbols, h->site, &by);
        symbols_stack(view->symbols, h->holder, &holder);
        json_object_set_new(hazard, "kind", json_string(kinds[h->kind]));
        set(hazard, "time_ns", h->time_ns);
        set(hazard, "thread", h->tid);
        json_object_set_new(hazard, "address", address(h->va));
        set(hazard, "bytes", h->len);
        json_object_set_new(hazard, "by", report_stack(&by));
        json_object_set_new(hazard, "held_by", report_stack(&holder));
        json_array_append_new(hazards, hazard);
        symbols_free_stack(&by);
        symbols_free_stack(&holder);
    }
    return hazards;
}

static json_t *health_of(const struct model *model)
{
    const struct reader_health *h = &model->health;
    json_t *health = json_object();
    set(health, "blocks", h->blocks);
    set(health, "damaged", h->damaged);
    set(health, "unsealed", h->unsealed);
    set(health, "lost_events", h->lost_events);
    json_object_set_new(health, "lost_because",
                        h->lost_error ? json_string(strerror(h->lost_error)) : json_null());
    json_object_set_new(health, "is_cut", json_boolean(h->is_cut));
    json_object_set_new(health, "is_orderly", json_boolean(h->is_orderly));
    json_object_set_new(health, "is_snapshot", json_boolean(h->is_snapshot));
    return health;
}

static json_t *process_of(const struct model *model)
{
    json_t *process = json_object();
    set(process, "pid", model->pid);
    set(process, "ppid", model->ppid);
    json_object_set_new(process, "executable", text(model->exe));
    json_object_set_new(process, "command", text(model->command));
    set(process, "started_ns", model->start_wall_ns);
    set(process, "memlock_limit", model->memlock);
    set(process, "sample_mean", model->sample_mean);
    json_object_set_new(process, "anydma", text(model->shim_version));
    return process;
}

static json_t *errors_of(const struct model *model)
{
    json_t *errors = json_object();
    for (int i = 1; i < 4096; i++)
        if (model->errors[i])
            set(errors, strerror(i), model->errors[i]);
    return errors;
}

static json_t *failures_of(const struct view *view)
{
    static const char *const names[NR_FAILED] = {"map", "unmap", "app_map", "app_unmap", "lookup"};
    json_t *failures = json_array();
    for (size_t i = 0; i < view->model.nr_failed; i++) {
        const struct model_failure *f = &view->model.failed[i];
        struct stack_view by;
        json_t *failure = json_object();
        symbols_stack(view->symbols, f->site, &by);
        json_object_set_new(failure, "call", json_string(names[f->what]));
        json_object_set_new(failure, "error", json_string(view_error_name(f->error)));
        set(failure, "errno", (uint64_t)f->error);
        json_object_set_new(failure, "reason", json_string(failed_reason(f->what, f->error)));
        const char *remedy = failed_remedy(f->what, f->error);
        json_object_set_new(failure, "remedy", remedy ? json_string(remedy) : json_null());
        set(failure, "count", f->count);
        set(failure, "bytes", f->bytes);
        set(failure, "first_ns", f->first_ns);
        set(failure, "last_ns", f->last_ns);
        set(failure, "pinned_then", f->pinned);
        json_object_set_new(failure, "label", text(f->site->label));
        json_object_set_new(failure, "stack", report_stack(&by));
        json_array_append_new(failures, failure);
        symbols_free_stack(&by);
    }
    return failures;
}

static json_t *advice_of(const struct view *view)
{
    struct advice advice[ADVICE_MOST];
    json_t *list = json_array();
    size_t nr = advice_give(view, advice);
    for (size_t i = 0; i < nr; i++) {
        json_t *one = json_object();
        set(one, "bytes", advice[i].bytes);
        json_object_set_new(one, "text", text(advice[i].text));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *needs_of(const struct model *model)
{
    struct advice_needs needs = advice_needs(model);
    json_t *object = json_object();
    set(object, "memlock", needs.memlock);
    set(object, "mappings", needs.entries);
    return object;
}

static json_t *devices_of(const struct model *model)
{
    json_t *devices = json_array();
    for (size_t i = 0; i < model->nr_devices; i++)
        json_array_append_new(devices, text(model->devices[i]));
    return devices;
}

static json_t *forks_of(const struct view *view)
{
    struct view_fork forks[32];
    json_t *array = json_array();
    size_t nr = view_forks(view, forks, sizeof(forks) / sizeof(forks[0]));
    for (size_t i = 0; i < nr; i++) {
        json_t *object = json_object();
        set(object, "count", forks[i].count);
        set(object, "bytes", forks[i].bytes);
        json_object_set_new(object, "place", json_string(forks[i].place));
        json_array_append_new(array, object);
    }
    return array;
}

json_t *report_object(const struct view *view)
{
    const struct model *model = &view->model;
    json_t *report = json_object(), *at = json_object(), *peak = json_object();
    set(report, "format", 1);
    json_object_set_new(report, "process", process_of(model));
    json_object_set_new(report, "health", health_of(model));
    json_object_set_new(report, "nothing_because", text(view_nothing(model)));
    set(report, "duration_ns", model->end_ns);
    set(peak, "bytes", model->peak);
    set(peak, "time_ns", model->peak_ns);
    set(peak, "anydma_bytes", model->peak_ours);
    set(peak, "app_bytes", model->peak_app);
    json_object_set_new(report, "peak", peak);
    set_amount(at, &model->at);
    set(at, "time_ns", model->at_ns);
    if (model->sample_mean) {
        json_t *rest = json_object();
        set(at, "unattributed", model->rest.all);
        set(rest, "free_in_heap", model->rest.free);
        set(rest, "rounded_up", model->rest.rounded);
        set(rest, "in_no_sample", model->rest.unknown);
        json_object_set_new(at, "unattributed_kinds", rest);
    }
    json_object_set_new(report, "at", at);
    json_object_set_new(report, "sites", sites_of(view));
    json_object_set_new(report, "mappings", mappings_of(model));
    json_object_set_new(report, "timeline", report_timeline(model));
    json_object_set_new(report, "calls", calls_of(model));
    json_object_set_new(report, "containers", containers_of(model));
    json_object_set_new(report, "devices", devices_of(model));
    json_object_set_new(report, "hazards", hazards_of(view));
    set(report, "hazards_seen", model->hazards_seen);
    set(report, "failures", model->failures);
    set(report, "refused", model->refused);
    json_object_set_new(report, "failed", failures_of(view));
    json_object_set_new(report, "advice", advice_of(view));
    json_object_set_new(report, "needs", needs_of(model));
    set(report, "simulated_maps", model->sim_maps);
    set(report, "simulated_refused", model->sim_refused);
    set(report, "owed", model->owed);
    set(report, "forks", model->forks);
    set(report, "fork_bytes", model->fork_bytes);
    json_object_set_new(report, "forks_by_place", forks_of(view));
    json_object_set_new(report, "errors", errors_of(model));
    return report;
}

int report_json(const struct view *view, FILE *to)
{
    json_t *report = report_object(view);
    int error = json_dumpf(report, to, JSON_INDENT(2));
    fputc('\n', to);
    json_decref(report);
    if (!error)
        return 0;
    fprintf(stderr, "anydma report: the JSON could not be written\n");
    return CLI_FAILED;
}
