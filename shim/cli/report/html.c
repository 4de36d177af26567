/* SPDX-License-Identifier: MIT */
/* anydma report --html: one page that needs no network. Its parts (shim/cli/page, and the chart library that
 * the Makefile names) are embedded in the command; the data is the JSON report and what each call site pinned
 * at steps in time. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report/report.h"

/* A file as a string, from its first byte to a terminating zero. */
#define EMBED(name, path)                                                                                    \
    __asm__(".pushsection .rodata\n.global " #name "\n" #name ":\n.incbin \"" path                           \
            "\"\n.byte 0\n.popsection\n");                                                                   \
    extern const char name[] __attribute__((visibility("hidden")))

EMBED(page_html, "shim/cli/report/page/report.html");
EMBED(page_js, "shim/cli/report/page/report.js");
EMBED(page_chart, ANYDMA_CHART_JS);

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

/* What is pinned at each step, in all and by each row; a row's list has [step, numbers] where they change. Zeroes at a
 * list's end are left out. */
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

static void write_page(const char *json, FILE *to)
{
    static const struct {
        const char *mark;
        const char *text;
    } parts[] = {{"/*CHART*/", page_chart}, {"/*DATA*/", NULL}, {"/*PAGE*/", page_js}};
    const char *rest = page_html;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const char *mark = strstr(rest, parts[i].mark);
        if (!mark)
            return;
        fwrite(rest, 1, (size_t)(mark - rest), to);
        if (parts[i].text)
            fputs(parts[i].text, to);
        else
            write_data(json, to);
        rest = mark + strlen(parts[i].mark);
    }
    fputs(rest, to);
}

int report_html(const struct view *view, const char *path)
{
    char doubts[512];
    json_t *report = report_object(view);
    json_object_set_new(report, "steps", steps_of(view));
    json_object_set_new(report, "notes", json_string(view_doubts(doubts, sizeof(doubts), &view->model)));
    char *json = json_dumps(report, JSON_COMPACT);
    FILE *to = fopen(path, "we");
    int error = to ? 0 : errno;
    if (to && json)
        write_page(json, to);
    if (to && (ferror(to) | fclose(to)))
        error = errno ? errno : EIO;
    free(json);
    json_decref(report);
    if (!error)
        return 0;
    fprintf(stderr, "anydma report: %s: %s\n", path, strerror(error));
    return CLI_FAILED;
}
