/* SPDX-License-Identifier: MIT */
/* Live processes as OpenMetrics text, which node_exporter's textfile collector takes, too. Called by top. */
#ifndef CLI_METRICS_H
#define CLI_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "profile/live.h"

struct process {
    uint64_t pid, memlock;
    char command[64];
    struct live_numbers now, before;
    double seconds; /* between the two */
    bool is_seen;
};

void metrics_print(FILE *to, const struct process *processes, size_t nr);

#endif
