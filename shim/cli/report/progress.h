/* SPDX-License-Identifier: MIT */
/* A bar on a terminal's stderr for what takes longer than a second. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
    const char *what;
    time_t since;
    bool is_shown;
};

struct progress progress_begin(const char *what);
/* `done` of `total`; the bar is gone once they are equal. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total);

#endif
