/* SPDX-License-Identifier: MIT */
/* anydma export: a capture in the formats of other tools. The text ones are here; pprof.c has its own. */
#include "cli/report/export.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/memory.h"

static const struct format {
    const char *name;
    int (*write)(const struct view *view, FILE *to);
    const char *help;
} formats[] = {
    {"folded", export_folded, "a line a call site and its bytes, for flame graphs"},
    {"pprof", export_pprof, "gzipped profile.proto, for pprof"},
    {"speedscope", export_speedscope, "for speedscope"},
    {"chrome", export_chrome, "pinned bytes over time, for Perfetto and chrome://tracing"},
    {"openmetrics", export_openmetrics, "text, for Prometheus and others"},
};
enum { NR_FORMATS = sizeof(formats) / sizeof(formats[0]) };

static uint64_t pinned_of(const struct view_row *row)
{
    return row->at.pinned + row->at.app_pinned;
}

int export_folded(const struct view *view, FILE *to)
{
    for (size_t i = 0; i < view->nr_rows; i++)
        if (pinned_of(&view->rows[i]))
            fprintf(to, "%s %" PRIu64 "\n", view->rows[i].key, pinned_of(&view->rows[i]));
    return 0;
}

static int dump(json_t *json, FILE *to)
{
    int error = json_dumpf(json, to, JSON_COMPACT);
    json_decref(json);
    fputc('\n', to);
    return error ? -EIO : 0;
}

static json_t *text(const char *value)
{
    json_t *string = json_string(value);
    return string ? string : json_string("?"); /* not UTF-8 */
}

/* https://www.speedscope.app/file-format-schema.json: one "sampled" profile, weighted by bytes. */
int export_speedscope(const struct view *view, FILE *to)
{
    json_t *frames = json_array(), *samples = json_array(), *weights = json_array(), *known = json_object();
    uint64_t total = 0;
    for (size_t i = 0; i < view->nr_rows; i++) {
        const struct view_row *row = &view->rows[i];
        json_t *sample = json_array();
        for (size_t n = row->stack.nr; n > 0; n--) {
            const struct symbol *symbol = row->stack.symbols[n - 1];
            char key[32];
            snprintf(key, sizeof(key), "%p", (const void *)symbol);
            json_t *index = json_object_get(known, key);
            if (!index) {
                json_t *frame = json_object();
                json_object_set_new(frame, "name", text(symbol->function));
                if (symbol->file)
                    json_object_set_new(frame, "file", text(symbol->file));
                if (symbol->line)
                    json_object_set_new(frame, "line", json_integer(symbol->line));
                json_object_set_new(known, key, json_integer((json_int_t)json_array_size(frames)));
                index = json_object_get(known, key);
                json_array_append_new(frames, frame);
            }
            json_array_append(sample, index);
        }
        json_array_append_new(samples, sample);
        json_array_append_new(weights, json_integer((json_int_t)pinned_of(row)));
        total += pinned_of(row);
    }
    json_decref(known);
    return dump(json_pack("{s:s, s:s, s:s, s:{s:o}, s:[{s:s, s:s, s:s, s:i, s:I, s:o, s:o}]}", "$schema",
                          "https://www.speedscope.app/file-format-schema.json", "exporter",
                          "anydma " ANYDMA_VERSION, "name", "pinned memory", "shared", "frames", frames,
                          "profiles", "type", "sampled", "name", "pinned bytes", "unit", "bytes",
                          "startValue", 0, "endValue", (json_int_t)total, "samples", samples, "weights",
                          weights),
                to);
}

/* Counter events of the Trace Event Format; times in microseconds. */
int export_chrome(const struct view *view, FILE *to)
{
    const struct model *model = &view->model;
    json_t *events = json_array();
    json_int_t pid = (json_int_t)model->pid;
    json_t *name = json_pack("{s:s}", "name", "");
    json_object_set_new(name, "name", text(model->command));
    json_array_append_new(events, json_pack("{s:s, s:s, s:I, s:o}", "name", "process_name", "ph", "M", "pid",
                                            pid, "args", name));
    for (size_t i = 0; i < model->nr_points; i++)
        json_array_append_new(events,
                              json_pack("{s:s, s:s, s:I, s:f, s:{s:I, s:I}}", "name", "pinned bytes", "ph",
                                        "C", "pid", pid, "ts", (double)model->points[i].time_ns / 1e3, "args",
                                        "anydma", (json_int_t)model->points[i].pinned, "application",
                                        (json_int_t)model->points[i].app_pinned));
    for (size_t i = 0; i < model->nr_mappings; i++) {
        const struct model_mapping *m = &model->mappings[i];
        char place[64];
        snprintf(place, sizeof(place), "%" PRIu64 " bytes at 0x%" PRIx64, m->len, m->va);
        json_array_append_new(
            events,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f}", "name", place, "cat", "mapping", "ph", "X",
                      "pid", pid, "tid", (json_int_t)m->site->id, "ts", (double)m->made_ns / 1e3, "dur",
                      (double)(model->at_ns > m->made_ns ? model->at_ns - m->made_ns : 0) / 1e3));
    }
    for (size_t i = 0; i < model->nr_hazards; i++)
        json_array_append_new(events,
                              json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "name", "hazard", "ph", "i", "s",
                                        "p", "pid", pid, "tid", (json_int_t)model->hazards[i].tid, "ts",
                                        (double)model->hazards[i].time_ns / 1e3));
    return dump(json_pack("{s:s, s:o}", "displayTimeUnit", "ms", "traceEvents", events), to);
}

/* --- OpenMetrics ---------------------------------------------------------------------------------- */

static void metric(FILE *to, const char *name, const char *type, const char *unit, const char *help)
{
    fprintf(to, "# TYPE %s %s\n", name, type);
    if (unit)
        fprintf(to, "# UNIT %s %s\n", name, unit);
    fprintf(to, "# HELP %s %s\n", name, help);
}

/* A label's value: backslash, quote and line feed escaped. */
static void label(FILE *to, const char *value)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            fputc('\\', to);
        if (*value == '\n')
            fputs("\\n", to);
        else
            fputc(*value, to);
    }
}

static void write_sites(const struct view *view, FILE *to)
{
    metric(to, "anydma_site_pinned_bytes", "gauge", "bytes",
           "Bytes pinned by a call site at the moment exported.");
    for (size_t i = 0; i < view->nr_rows; i++) {
        const struct view_row *row = &view->rows[i];
        if (!pinned_of(row))
            continue;
        fputs("anydma_site_pinned_bytes{stack=\"", to);
        label(to, row->key);
        fprintf(to, "\"} %" PRIu64 "\n", pinned_of(row));
    }
}

static void write_calls(const struct model *model, FILE *to)
{
    static const char *const names[NR_CALLS] = {"map", "unmap", "app_map", "app_unmap"};
    metric(to, "anydma_call_seconds", "histogram", "seconds", "Time of the map and unmap calls.");
    for (unsigned i = 0; i < NR_CALLS; i++) {
        const struct model_histogram *h = &model->calls[i];
        uint64_t below = 0;
        for (unsigned n = 0; n < MODEL_BUCKETS; n++) {
            below += h->bucket[n];
            if (h->bucket[n])
                fprintf(to, "anydma_call_seconds_bucket{call=\"%s\",le=\"%.9g\"} %" PRIu64 "\n", names[i],
                        (double)(UINT64_C(1) << n) / 1e9, below);
        }
        fprintf(to, "anydma_call_seconds_bucket{call=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", names[i], h->count);
        fprintf(to, "anydma_call_seconds_count{call=\"%s\"} %" PRIu64 "\n", names[i], h->count);
        fprintf(to, "anydma_call_seconds_sum{call=\"%s\"} %.9f\n", names[i], (double)h->total_ns / 1e9);
    }
}

static void gauge(FILE *to, const char *name, const char *unit, const char *help, uint64_t value)
{
    metric(to, name, "gauge", unit, help);
    if (value == UINT64_MAX)
        fprintf(to, "%s +Inf\n", name);
    else
        fprintf(to, "%s %" PRIu64 "\n", name, value);
}

static void counter(FILE *to, const char *name, const char *help, uint64_t value)
{
    metric(to, name, "counter", NULL, help);
    fprintf(to, "%s_total %" PRIu64 "\n", name, value);
}

int export_openmetrics(const struct view *view, FILE *to)
{
    const struct model *m = &view->model;
    metric(to, "anydma_pinned_bytes", "gauge", "bytes",
           "Bytes pinned at the moment exported, by who asked the IOMMU for them.");
    fprintf(to, "anydma_pinned_bytes{owner=\"anydma\"} %" PRIu64 "\n", m->at.pinned);
    fprintf(to, "anydma_pinned_bytes{owner=\"application\"} %" PRIu64 "\n", m->at.app_pinned);
    gauge(to, "anydma_peak_pinned_bytes", "bytes", "Most bytes pinned at once.", m->peak);
    gauge(to, "anydma_waste_bytes", "bytes",
          "Bytes pinned by anydma in no live allocation or mapping, where known.", model_waste(&m->at));
    gauge(to, "anydma_huge_bytes", "bytes", "Bytes pinned in huge pages.", m->at.huge);
    gauge(to, "anydma_memlock_limit_bytes", "bytes", "What the process may pin.", m->memlock);
    gauge(to, "anydma_mappings", NULL, "Mappings at the moment exported.", m->at.mappings);
    counter(to, "anydma_failures", "Map and unmap calls that failed.", m->failures);
    counter(to, "anydma_refused_lookups", "Lookups that gave no IOVA.", m->refused);
    counter(to, "anydma_hazards", "Times memory went away that a device could still reach.", m->hazards_seen);
    write_calls(m, to);
    write_sites(view, to);
    fputs("# EOF\n", to);
    return 0;
}

/* --- the command
 * ----------------------------------------------------------------------------------------------------------
 */

static const struct format *find_format(const char *name)
{
    for (int i = 0; i < NR_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    fprintf(stderr, "anydma export: there is no format '%s'; `anydma export --help` lists them\n", name);
    return NULL;
}

static int write_out(const struct view *view, const struct format *format, const char *out)
{
    FILE *to = out ? fopen(out, "we") : stdout;
    int error = to ? format->write(view, to) : -errno;
    if (to && (fflush(to) != 0 || ferror(to)))
        error = -errno;
    if (to && out)
        fclose(to);
    if (!error)
        return 0;
    fprintf(stderr, "anydma export: %s: %s\n", out ? out : "stdout", strerror(-error));
    return CLI_FAILED;
}

int cli_export(int argc, char **argv)
{
    const struct format *format = NULL;
    enum model_moment moment = MOMENT_PEAK;
    const char *out = NULL;
    uint64_t time_ns = 0;
    struct view view;
    int choice, status;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        if (choice == 'o')
            out = optarg;
        if (choice == '?' || (choice == 'f' && !(format = find_format(optarg))) ||
            (choice == 'a' && view_parse_moment(optarg, &moment, &time_ns)))
            return CLI_FAILED;
    }
    if (!format || optind + 1 != argc) {
        cli_usage(argv[0], stderr);
        return CLI_FAILED;
    }
    if ((status = view_load(&view, argv[optind], moment, time_ns, 0)))
        return status;
    status = write_out(&view, format, out);
    view_free(&view);
    return status;
}
