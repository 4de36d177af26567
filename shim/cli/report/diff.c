/* SPDX-License-Identifier: MIT */
/* anydma diff: what two captures of a program pinned at their peaks, call site by call site. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/memory.h"
#include "cli/report/report.h"
#include "cli/report/view.h"

static FILE *out; /* where the text goes */

struct pair {
    const char *key;
    const struct view_row *row[2];
    UT_hash_handle hh;
};

static uint64_t pinned_of(const struct view_row *row)
{
    return row ? row->at.pinned + row->at.app_pinned : 0;
}

static int64_t change_of(const struct pair *pair)
{
    return (int64_t)(pinned_of(pair->row[1]) - pinned_of(pair->row[0]));
}

static int by_change(const void *a, const void *b)
{
    int64_t x = llabs(change_of(*(struct pair *const *)a)), y = llabs(change_of(*(struct pair *const *)b));
    return x != y ? (x > y ? -1 : 1)
                  : strcmp((*(struct pair *const *)a)->key, (*(struct pair *const *)b)->key);
}

static const char *signed_size(char *buf, int64_t bytes)
{
    buf[0] = bytes < 0 ? '-' : '+';
    text_size(buf + 1, (uint64_t)llabs(bytes));
    return bytes ? buf : strcpy(buf, "=");
}

static void print_line(const char *what, uint64_t before, uint64_t after)
{
    char a[33], b[33], c[33];
    fprintf(out, "%-10s %10s -> %10s  %11s\n", what, text_size(a, before), text_size(b, after),
            signed_size(c, (int64_t)(after - before)));
}

static void print_count(const char *what, uint64_t before, uint64_t after)
{
    fprintf(out, "%-10s %10" PRIu64 " -> %10" PRIu64 "  %+11" PRId64 "\n", what, before, after,
            (int64_t)(after - before));
}

static uint64_t calls_of(const struct model *model)
{
    uint64_t calls = 0;
    for (unsigned i = 0; i < NR_CALLS; i++)
        calls += model->calls[i].count;
    return calls;
}

static void print_pair(const struct pair *pair)
{
    char a[33], b[33], c[33], place[512];
    const struct view_row *row = pair->row[1] ? pair->row[1] : pair->row[0];
    fprintf(out, "%11s  %10s -> %10s  %s%s%s%s\n", signed_size(c, change_of(pair)),
            pair->row[0] ? text_size(a, pinned_of(pair->row[0])) : "new",
            pair->row[1] ? text_size(b, pinned_of(pair->row[1])) : "gone", row->label[0] ? "[" : "",
            row->label, row->label[0] ? "] " : "", view_place(place, sizeof(place), row));
    for (size_t i = 1; i < row->stack.nr && i < 4; i++)
        fprintf(out, "%39s <- %s\n", "", row->stack.symbols[i]->function);
}

/* Every call site of either, the largest change first; *table owns them. */
static struct pair **match(const struct view *views, struct pair **table, size_t *nr)
{
    struct pair *pair, *next, **sorted;
    *table = NULL;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < views[side].nr_rows; i++) {
            const struct view_row *row = &views[side].rows[i];
            HASH_FIND_STR(*table, row->key, pair);
            if (!pair) {
                pair = memory_take(sizeof(*pair));
                pair->key = row->key;
                HASH_ADD_KEYPTR(hh, *table, pair->key, strlen(pair->key), pair);
            }
            pair->row[side] = row;
        }
    sorted = memory_take((HASH_COUNT(*table) + 1) * sizeof(struct pair *));
    *nr = 0;
    HASH_ITER(hh, *table, pair, next) sorted[(*nr)++] = pair;
    qsort(sorted, *nr, sizeof(struct pair *), by_change);
    return sorted;
}

enum { MOST_FIGURES = 8 };
struct figure {
    const char *name;
    uint64_t side[2];
    bool is_bytes;
};

static void take_figures(const struct view *views, struct figure *figures)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct model *m = &views[i].model;
        const struct figure all[MOST_FIGURES] = {{"pinned", {m->at.pinned}, true},
                                                 {"its own", {m->at.app_pinned}, true},
                                                 {"peak", {m->peak}, true},
                                                 {"waste", {model_waste(&m->at)}, true},
                                                 {"mappings", {m->at.mappings}, false},
                                                 {"calls", {calls_of(m)}, false},
                                                 {"failures", {m->failures + m->refused}, false},
                                                 {"hazards", {m->hazards_seen}, false}};
        for (unsigned n = 0; n < MOST_FIGURES; n++) {
            uint64_t value = all[n].side[0], before = i ? figures[n].side[0] : value;
            figures[n] = all[n];
            figures[n].side[0] = before;
            figures[n].side[1] = value;
        }
    }
}

static void print_diff(const struct figure *figures, struct pair **sorted, size_t nr, size_t top)
{
    size_t shown = 0;
    for (unsigned i = 0; i < MOST_FIGURES; i++)
        (figures[i].is_bytes ? print_line : print_count)(figures[i].name, figures[i].side[0],
                                                         figures[i].side[1]);
    fprintf(out, "\n%11s  %10s    %10s  call site\n", "change", "before", "after");
    for (size_t i = 0; i < nr && shown < top && change_of(sorted[i]); i++, shown++)
        print_pair(sorted[i]);
    if (!shown)
        fprintf(out, "%11s  no call site pins more or less\n", "");
}

static json_t *side_of(const struct model *model)
{
    json_t *side = json_object();
    json_t *command = json_string(model->command);
    json_object_set_new(side, "command", command ? command : json_string("?"));
    json_object_set_new(side, "duration_ns", json_integer((json_int_t)model->end_ns));
    json_object_set_new(side, "peak", json_integer((json_int_t)model->peak));
    json_object_set_new(side, "timeline", report_timeline(model));
    return side;
}

static json_t *object_of(const struct view *views, char **names, const struct figure *figures,
                         struct pair **sorted, size_t nr)
{
    json_t *diff = json_object(), *list = json_array(), *sites = json_array();
    json_object_set_new(diff, "names", json_pack("[s, s]", names[0], names[1]));
    json_object_set_new(diff, "before", side_of(&views[0].model));
    json_object_set_new(diff, "after", side_of(&views[1].model));
    for (unsigned i = 0; i < MOST_FIGURES; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:b}", "name", figures[i].name, "before",
                                        (json_int_t)figures[i].side[0], "after",
                                        (json_int_t)figures[i].side[1], "is_bytes", figures[i].is_bytes));
    json_object_set_new(diff, "figures", list);
    for (size_t i = 0; i < nr; i++) {
        const struct pair *pair = sorted[i];
        const struct view_row *row = pair->row[1] ? pair->row[1] : pair->row[0];
        json_t *site =
            json_pack("{s:I, s:I, s:b, s:b}", "before", (json_int_t)pinned_of(pair->row[0]), "after",
                      (json_int_t)pinned_of(pair->row[1]), "is_new", !pair->row[0], "is_gone", !pair->row[1]);
        json_t *label = json_string(row->label);
        json_object_set_new(site, "label", label ? label : json_string("?"));
        json_object_set_new(site, "stack", report_stack(&row->stack));
        json_array_append_new(sites, site);
    }
    json_object_set_new(diff, "sites", sites);
    return diff;
}

/* As a page, or as JSON on stdout where `html` is NULL. */
static int write_object(const struct view *views, char **names, const struct figure *figures,
                        struct pair **sorted, size_t nr, const char *html)
{
    char *text = NULL;
    size_t len;
    int status = 0;
    json_t *diff = object_of(views, names, figures, sorted, nr);
    if (html && (out = open_memstream(&text, &len))) {
        print_diff(figures, sorted, nr, 20);
        fclose(out);
        status = report_diff_html(diff, text, &views[1].model, html);
    } else if (json_dumpf(diff, stdout, JSON_INDENT(2)) != 0 || putchar('\n') == EOF) {
        status = CLI_FAILED;
    }
    free(text);
    json_decref(diff);
    return status;
}

struct options {
    enum model_moment moment;
    uint64_t time_ns, top;
    const char *html;
    bool is_json;
};

static int parse(int argc, char **argv, struct options *o)
{
    int choice;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        if (choice == '?')
            return CLI_FAILED;
        o->html = choice == 'H' ? optarg : o->html;
        o->is_json |= choice == 'j';
        if ((choice == 'n' && text_parse_count(optarg, &o->top)) ||
            (choice == 'a' && view_parse_moment(optarg, &o->moment, &o->time_ns))) {
            fprintf(stderr, "anydma diff: --%s does not take '%s'\n", choice == 'n' ? "top" : "at", optarg);
            return CLI_FAILED;
        }
    }
    if (optind + 2 == argc)
        return 0;
    cli_usage(argv[0], stderr);
    return CLI_FAILED;
}

int cli_diff(int argc, char **argv)
{
    struct options options = {.moment = MOMENT_PEAK, .top = 20};
    size_t nr;
    struct figure figures[MOST_FIGURES];
    struct pair *table, **sorted;
    struct view views[2];
    int status = parse(argc, argv, &options);
    if (status || (status = view_load(&views[0], argv[optind], options.moment, options.time_ns, 0)))
        return status;
    if ((status = view_load(&views[1], argv[optind + 1], options.moment, options.time_ns, 0))) {
        view_free(&views[0]);
        return status;
    }
    take_figures(views, figures);
    sorted = match(views, &table, &nr);
    out = stdout;
    if (options.html || options.is_json)
        status = write_object(views, argv + optind, figures, sorted, nr, options.html);
    else
        print_diff(figures, sorted, nr, options.top);
    for (size_t i = 0; i < nr; i++) {
        HASH_DEL(table, sorted[i]);
        free(sorted[i]);
    }
    free(sorted);
    view_free(&views[0]);
    view_free(&views[1]);
    return status;
}
