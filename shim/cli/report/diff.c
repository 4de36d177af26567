/* SPDX-License-Identifier: MIT */
/* anydma diff: what two captures of a program pinned at their peaks, call site by call site. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/memory.h"
#include "cli/report/view.h"

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
    printf("%-10s %10s -> %10s  %11s\n", what, text_size(a, before), text_size(b, after),
           signed_size(c, (int64_t)(after - before)));
}

static void print_count(const char *what, uint64_t before, uint64_t after)
{
    printf("%-10s %10" PRIu64 " -> %10" PRIu64 "  %+11" PRId64 "\n", what, before, after,
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
    printf("%11s  %10s -> %10s  %s%s%s%s\n", signed_size(c, change_of(pair)),
           pair->row[0] ? text_size(a, pinned_of(pair->row[0])) : "new",
           pair->row[1] ? text_size(b, pinned_of(pair->row[1])) : "gone", row->label[0] ? "[" : "",
           row->label, row->label[0] ? "] " : "", view_place(place, sizeof(place), row));
    for (size_t i = 1; i < row->stack.nr && i < 4; i++)
        printf("%39s <- %s\n", "", row->stack.symbols[i]->function);
}

static void print_diff(const struct view *views, size_t top)
{
    struct pair *table = NULL, *pair, *next, **sorted;
    size_t nr = 0, shown = 0;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < views[side].nr_rows; i++) {
            const struct view_row *row = &views[side].rows[i];
            HASH_FIND_STR(table, row->key, pair);
            if (!pair) {
                pair = memory_take(sizeof(*pair));
                pair->key = row->key;
                HASH_ADD_KEYPTR(hh, table, pair->key, strlen(pair->key), pair);
            }
            pair->row[side] = row;
        }
    sorted = memory_take((HASH_COUNT(table) + 1) * sizeof(struct pair *));
    HASH_ITER(hh, table, pair, next) sorted[nr++] = pair;
    qsort(sorted, nr, sizeof(struct pair *), by_change);
    printf("\n%11s  %10s    %10s  call site\n", "change", "before", "after");
    for (size_t i = 0; i < nr && shown < top && change_of(sorted[i]); i++, shown++)
        print_pair(sorted[i]);
    if (!shown)
        printf("%11s  no call site pins more or less\n", "");
    for (size_t i = 0; i < nr; i++) {
        HASH_DEL(table, sorted[i]);
        free(sorted[i]);
    }
    free(sorted);
}

int cli_diff(int argc, char **argv)
{
    enum model_moment moment = MOMENT_PEAK;
    uint64_t time_ns = 0;
    size_t top = 20;
    struct view views[2];
    int choice, status;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        if (choice == 'n')
            top = strtoul(optarg, NULL, 10);
        if (choice == '?' || (choice == 'a' && view_parse_moment(optarg, &moment, &time_ns)))
            return CLI_FAILED;
    }
    if (optind + 2 != argc) {
        cli_usage(argv[0], stderr);
        return CLI_FAILED;
    }
    if ((status = view_load(&views[0], argv[optind], moment, time_ns, 0)))
        return status;
    if ((status = view_load(&views[1], argv[optind + 1], moment, time_ns, 0))) {
        view_free(&views[0]);
        return status;
    }
    print_line("pinned", views[0].model.at.pinned, views[1].model.at.pinned);
    print_line("its own", views[0].model.at.app_pinned, views[1].model.at.app_pinned);
    print_line("peak", views[0].model.peak, views[1].model.peak);
    print_line("waste", model_waste(&views[0].model.at), model_waste(&views[1].model.at));
    print_count("mappings", views[0].model.at.mappings, views[1].model.at.mappings);
    print_count("calls", calls_of(&views[0].model), calls_of(&views[1].model));
    print_count("failures", views[0].model.failures + views[0].model.refused,
                views[1].model.failures + views[1].model.refused);
    print_count("hazards", views[0].model.hazards_seen, views[1].model.hazards_seen);
    print_diff(views, top);
    view_free(&views[0]);
    view_free(&views[1]);
    return 0;
}
