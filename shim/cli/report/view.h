/* SPDX-License-Identifier: MIT */
/* What report, export, diff and check share: their options, and sites as a person knows them. */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "cli/report/model.h"
#include "cli/report/symbols.h"
#include "cli/text.h"

/* What a row pinned from one of the view's steps on. */
struct view_step {
    size_t step;
    uint64_t shared;
    struct model_amount at;
};

/* All of it, at a step. */
struct view_total {
    struct model_amount at;
    struct model_rest rest;
};

/* Call sites with the same named stack and label are one to a reader. */
struct view_row {
    char *key; /* the label and the stack, outermost first, ";" between: as folded stacks have it */
    const char *label;
    struct stack_view stack;
    struct model_amount at;
    struct model_group *group; /* whose peak is the row's own */
    struct view_step *steps;   /* where what it pins changed, in order */
    size_t nr_steps, steps_room;
    size_t origin; /* the row's number before rows were sorted: what its sites' `row` is */
    const char *threads[MODEL_SITE_THREADS];
    bool has_more_threads;
    uint64_t maps, unmaps, failures, refused, app_maps, app_unmaps, map_ns, owed, sampled_live, samples,
        shared;
};

struct view {
    struct model model;
    struct symbols *symbols;
    struct view_row *rows;       /* most pinned first */
    size_t nr_rows, nr_all_rows; /* without and with those that a filter left out */
    size_t nr_steps;
    struct view_total *totals; /* at each step */
    struct view_step *taken;   /* while a step is taken: each row's sum */
};

/* Loads the capture, with what each row pinned at `nr_steps` moments over the whole time. Returns 0, or the
 * exit status after a message. */
int view_load(struct view *view, const char *path, enum model_moment moment, uint64_t time_ns,
              size_t nr_steps);
/* Leaves out all rows but the first `nr`. */
void view_keep_rows(struct view *view, size_t nr);
void view_free(struct view *view);

/* "peak", "end" or a time such as 1.5s, 200ms, since the start. Returns 0 or -EINVAL. */
int view_parse_moment(const char *text, enum model_moment *moment, uint64_t *time_ns);
/* "function file:line" of a row's innermost function; "(no call stack)" where there is none. */
const char *view_place(char *buf, size_t size, const struct view_row *row);
/* The same of a site's innermost function. */
const char *view_site_place(const struct view *view, const struct model_site *site, char *buf, size_t size);
/* Forks that copied pinned memory, by the function that made them: those that are first in the capture. Returns how many. */
struct view_fork {
    char place[256];
    uint64_t count, bytes;
};
size_t view_forks(const struct view *view, struct view_fork *forks, size_t most);
/* "ENOMEM", or "error 512". */
const char *view_error_name(int error);
/* Why nothing was ever pinned, in words; NULL: something was. */
const char *view_nothing(const struct model *model);
/* What the state of the file makes uncertain, in words; "" when nothing. `buf` of at least 512 bytes,
 * returned. */
const char *view_doubts(char *buf, size_t size, const struct model *model);

#endif
