/* SPDX-License-Identifier: MIT */
/* Draws the bar over itself. */
#include "cli/report/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct progress progress_begin(const char *what)
{
    return (struct progress){.what = what, .since = time(NULL)};
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    enum { WIDTH = 40 };
    static const char bar[WIDTH + 1] = "########################################";
    bool is_over = done >= total;
    if (!total || !isatty(2) || (!progress->is_shown && (is_over || time(NULL) - progress->since < 2)))
        return;
    if (is_over)
        fprintf(stderr, "\r%*s\r", WIDTH + (int)strlen(progress->what) + 3, "");
    else
        fprintf(stderr, "\r%s [%-*.*s]", progress->what, WIDTH, (int)(done * WIDTH / total), bar);
    progress->is_shown = !is_over;
}
