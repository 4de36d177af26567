/* SPDX-License-Identifier: MIT */
/* The other shapes of a report. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "cli/report/view.h"

/* One screen of text; `top` call sites, 0: what fits, with `depth` callers each. */
void report_text(const struct view *view, FILE *to, size_t top, unsigned depth);
/* Everything, as JSON. Returns 0 or the exit status after a message. */
int report_json(const struct view *view, FILE *to);
/* The same, for the page. */
json_t *report_object(const struct view *view);
json_t *report_stack(const struct stack_view *stack);
json_t *report_timeline(const struct model *model);
/* The page of a comparison, of its data and its text. */
int report_diff_html(json_t *diff, const char *text, const struct model *model, const char *path);
/* One self-contained page; the view must have been loaded with steps. */
int report_html(const struct view *view, const char *path);

#endif
