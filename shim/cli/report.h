/* SPDX-License-Identifier: MIT */
/* The other shapes of a report. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdio.h>

#include "cli/view.h"

/* Everything, as JSON. Returns 0 or the exit status after a message. */
int report_json(const struct view *view, FILE *to);

#endif
