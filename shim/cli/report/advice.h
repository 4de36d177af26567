/* SPDX-License-Identifier: MIT */
/* What would help most, from the capture's own figures. */
#ifndef CLI_REPORT_ADVICE_H
#define CLI_REPORT_ADVICE_H

#include "cli/report/view.h"

enum { ADVICE_MOST = 3, ADVICE_TEXT = 512 };

struct advice {
    uint64_t bytes; /* what it would save of the memory pinned at the moment, or of copies */
    char text[ADVICE_TEXT];
};

/* At most ADVICE_MOST changes, the one that saves most first. Returns how many. */
size_t advice_give(const struct view *view, struct advice *advice);
/* What the program needs at its peak, with a quarter to spare. */
struct advice_needs {
    uint64_t memlock, entries;
};
struct advice_needs advice_needs(const struct model *model);

#endif
