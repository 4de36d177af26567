/* SPDX-License-Identifier: MIT */
/* anydma report --html: one page that needs no network. Its parts (shim/cli/report/page, and D3, which
 * the Makefile names) are embedded in the command; the data is the JSON report and what each call site pinned
 * at steps in time. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/report/report.h"

/* A file as a string, from its first byte to a terminating zero. */
#define EMBED(name, path)                                                                                    \
    __asm__(".pushsection .rodata\n.global " #name "\n" #name ":\n.incbin \"" path                           \
            "\"\n.byte 0\n.popsection\n");                                                                   \
    extern const char name[] __attribute__((visibility("hidden")))

EMBED(page_html, "shim/cli/report/page/report.html");
EMBED(page_js, "shim/cli/report/page/report.js");
EMBED(diff_html, "shim/cli/report/page/diff.html");
EMBED(diff_js, "shim/cli/report/page/diff.js");
EMBED(page_d3_notice, "shim/cli/report/page/d3-notice.txt");
EMBED(page_d3, ANYDMA_D3_JS);

/* Zeroes at the end are left out. */
static json_t *numbers_of(const struct model_amount *at, uint64_t shared)
{
    const uint64_t values[] = {at->pinned, at->app_pinned, at->mappings,  at->known,   at->used,
                               at->free,   at->rounded,    at->untouched, at->unasked, at->untold,
                               at->huge,   at->huge_known, shared};
    size_t nr = sizeof(values) / sizeof(values[0]);
    json_t *numbers = json_array();
    while (nr > 1 && !values[nr - 1])
        nr--;
    for (size_t i = 0; i < nr; i++)
        json_array_append_new(numbers, json_integer((json_int_t)values[i]));
    return numbers;
}

/* The mappings as columns of numbers, by address: 65,535 of them are a few bytes each. */
static json_t *spans_of(const struct view *view)
{
    const struct model *model = &view->model;
    static const char *const names[] = {"first",     "behind", "address",   "bytes", "iova_off", "row",
                                        "container", "is_app", "at_moment", "huge",  "used",     "made_us"};
    enum { NR = sizeof(names) / sizeof(names[0]) };
    json_t *columns[NR], *spans = json_object();
    size_t *rows = calloc(view->nr_all_rows + 1, sizeof(*rows));
    unsigned char *at_moment = calloc(model->nr_mappings_ever + 1, 1);
    for (int c = 0; c < NR; c++)
        json_object_set_new(spans, names[c], columns[c] = json_array());
    for (size_t i = 0; rows && i < view->nr_all_rows; i++)
        rows[i] = SIZE_MAX;
    for (size_t i = 0; rows && i < view->nr_rows; i++)
        rows[view->rows[i].origin] = i;
    for (size_t i = 0; at_moment && i < model->nr_mappings; i++)
        at_moment[model->mappings[i].ordinal] = 1;
    uint64_t last = 0;
    for (size_t i = 0; rows && at_moment && i < model->nr_spans; i++) {
        const struct model_span *span = &model->spans[i];
        const struct model_mapping *m = &span->mapping;
        if (rows[m->site->row] == SIZE_MAX) /* filtered out */
            continue;
        const json_int_t values[NR] = {(json_int_t)span->first,
                                       (json_int_t)span->last,
                                       (json_int_t)(m->va - last),
                                       (json_int_t)m->len,
                                       (json_int_t)(m->iova - m->va),
                                       (json_int_t)rows[m->site->row],
                                       (json_int_t)m->container,
                                       m->is_app,
                                       at_moment[m->ordinal],
                                       m->huge ? (json_int_t)(m->huge - 1) : -1,
                                       m->amount.known ? (json_int_t)m->amount.used : -1,
                                       (json_int_t)(m->made_ns / 1000)};
        last = m->va;
        for (int c = 0; c < NR; c++)
            json_array_append_new(columns[c], json_integer(values[c]));
    }
    json_object_set_new(spans, "left_out", json_integer((json_int_t)model->spans_left_out));
    free(rows);
    free(at_moment);
    return spans;
}

/* What is pinned at each step, in all and by each row; a row's list has [step, numbers] where they change. */
static json_t *steps_of(const struct view *view)
{
    json_t *rows = json_array(), *totals = json_array(), *steps = json_object();
    static const char *const names[] = {"pinned", "app_pinned",    "mappings",  "used_known_of", "used",
                                        "free",   "rounded",       "untouched", "unasked",       "untold",
                                        "huge",   "huge_known_of", "shared"};
    json_t *fields = json_array();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_array_append_new(fields, json_string(names[i]));
    for (size_t n = 0; n < view->nr_steps; n++)
        json_array_append_new(totals, numbers_of(&view->totals[n].at, view->totals[n].rest.all));
    for (size_t i = 0; i < view->nr_rows; i++) {
        const struct view_row *row = &view->rows[i];
        json_t *changes = json_array();
        for (size_t n = 0; n < row->nr_steps; n++) {
            json_array_append_new(changes, json_integer((json_int_t)row->steps[n].step));
            json_array_append_new(changes, numbers_of(&row->steps[n].at, row->steps[n].shared));
        }
        json_array_append_new(rows, changes);
    }
    json_object_set_new(steps, "every_ns", json_integer((json_int_t)view->model.every_ns));
    json_object_set_new(steps, "count", json_integer((json_int_t)view->nr_steps));
    json_object_set_new(steps, "fields", fields);
    json_object_set_new(steps, "totals", totals);
    json_object_set_new(steps, "rows", rows);
    json_object_set_new(steps, "mappings", spans_of(view));
    return steps;
}

/* "</script" must not end the element that the data is in. */
static int write_data(const char *json, FILE *to)
{
    for (; *json; json++) {
        if (*json == '<')
            fputs("\\u003c", to);
        else
            fputc(*json, to);
    }
    return 0;
}

/* As text inside an element. */
static void write_escaped(const char *text, FILE *to)
{
    for (; *text; text++)
        if (*text == '<' || *text == '&')
            fputs(*text == '<' ? "&lt;" : "&amp;", to);
        else
            fputc(*text, to);
}

struct page {
    const char *title, *text, *json;
    const char *html, *js;
};

static void write_page(const struct page *page, FILE *to)
{
    const struct {
        const char *mark;
        const char *text;
        bool is_escaped;
    } parts[] = {{"@D3_NOTICE@", page_d3_notice, false},
                 {"@TITLE@", page->title, true},
                 {"@TEXT@", page->text, true},
                 {"/*D3*/", page_d3, false},
                 {"/*DATA*/", NULL, false},
                 {"/*PAGE*/", page->js, false}};
    const char *rest = page->html;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const char *mark = strstr(rest, parts[i].mark);
        if (!mark)
            return;
        fwrite(rest, 1, (size_t)(mark - rest), to);
        if (parts[i].is_escaped)
            write_escaped(parts[i].text, to);
        else if (parts[i].text)
            fputs(parts[i].text, to);
        else
            write_data(page->json, to);
        rest = mark + strlen(parts[i].mark);
    }
    fputs(rest, to);
}

/* Writes it to `path`, "-" being stdout; `what` it is, for a person. */
static int put_page(const struct page *page, const char *path, const char *command, const char *what)
{
    FILE *to = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    int error = to ? 0 : errno;
    if (to && page->json)
        write_page(page, to);
    if (to && (fflush(to) | ferror(to) | (to != stdout && fclose(to))))
        error = errno ? errno : EIO;
    if (!error && to != stdout && isatty(1))
        printf("%s: %s; open it in a browser\n", path, what);
    if (!error)
        return 0;
    fprintf(stderr, "anydma %s: %s: %s\n", command, path, strerror(error));
    return CLI_FAILED;
}

/* The program's name as it was called: the file may be a link to another. */
static const char *name_of(const struct model *model, char *name, size_t size)
{
    const char *command = *model->command ? model->command : model->exe, *base = command;
    for (const char *p = command; *p && *p != ' '; p++)
        if (*p == '/')
            base = p + 1;
    snprintf(name, size, "%.*s", (int)strcspn(base, " "), base);
    return name;
}

int report_html(const struct view *view, const char *path)
{
    char doubts[512], title[512], name[256], size[32], what[64], *text = NULL;
    size_t len;
    json_t *report = report_object(view);
    json_object_del(report, "mappings"); /* in columns */
    json_object_set_new(report, "steps", steps_of(view));
    json_object_set_new(report, "notes", json_string(view_doubts(doubts, sizeof(doubts), &view->model)));
    char *json = json_dumps(report, JSON_COMPACT);
    FILE *memory = open_memstream(&text, &len);
    if (memory) {
        report_text(view, memory, 20, 3);
        fclose(memory);
    }
    snprintf(title, sizeof(title), "%s: %s pinned", name_of(&view->model, name, sizeof(name)),
             text_size(size, view->model.at.pinned + view->model.at.app_pinned));
    snprintf(what, sizeof(what), "the report of process %" PRIu64, view->model.pid);
    const struct page page = {title, text ? text : "", json, page_html, page_js};
    int status = put_page(&page, path, "report", what);
    free(json);
    free(text);
    json_decref(report);
    return status;
}

int report_diff_html(json_t *diff, const char *text, const struct model *model, const char *path)
{
    char title[512], name[256];
    char *json = json_dumps(diff, JSON_COMPACT);
    snprintf(title, sizeof(title), "%s: two captures compared", name_of(model, name, sizeof(name)));
    const struct page page = {title, text, json, diff_html, diff_js};
    int status = put_page(&page, path, "diff", "the comparison");
    free(json);
    return status;
}
