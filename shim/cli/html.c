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
#include "cli/report.h"

/* A file as a string, from its first byte to a terminating zero. */
#define EMBED(name, path)                                                                                    \
    __asm__(".pushsection .rodata\n.global " #name "\n" #name ":\n.incbin \"" path                           \
            "\"\n.byte 0\n.popsection\n");                                                                   \
    extern const char name[] __attribute__((visibility("hidden")))

EMBED(page_html, "shim/cli/page/report.html");
EMBED(page_js, "shim/cli/page/report.js");
EMBED(page_chart, ANYDMA_CHART_JS);

/* What each row pinned at each step; a row with nothing ever is null. */
static json_t *steps_of(const struct view *view)
{
    json_t *bytes = json_array(), *steps = json_object();
    for (size_t i = 0; i < view->nr_rows; i++) {
        const struct view_row *row = &view->rows[i];
        json_t *values = row->group->peak ? json_array() : json_null();
        for (size_t n = 0; row->group->peak && n < view->nr_steps; n++)
            json_array_append_new(values, json_integer((json_int_t)row->steps[n]));
        json_array_append_new(bytes, values);
    }
    json_object_set_new(steps, "every_ns", json_integer((json_int_t)view->model.every_ns));
    json_object_set_new(steps, "count", json_integer((json_int_t)view->nr_steps));
    json_object_set_new(steps, "bytes", bytes);
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
