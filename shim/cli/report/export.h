/* SPDX-License-Identifier: MIT */
/* The formats of other tools. Each writer returns 0 or -errno. */
#ifndef CLI_EXPORT_H
#define CLI_EXPORT_H

#include <stdio.h>

#include "cli/report/view.h"

int export_folded(const struct view *view, FILE *to);
int export_speedscope(const struct view *view, FILE *to);
int export_chrome(const struct view *view, FILE *to);
int export_openmetrics(const struct view *view, FILE *to);
/* Gzipped profile.proto. */
int export_pprof(const struct view *view, FILE *to);

#endif
