/* SPDX-License-Identifier: MIT */
/* The subcommands of the anydma command; each takes its own argv and returns the exit status. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stddef.h>

enum { CLI_FAILED = 125, CLI_NOT_EXECUTABLE = 126, CLI_NOT_FOUND = 127 };

int cli_run(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_diff(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_snapshot(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_completion(int argc, char **argv);
/* Not a command: what the shim asks anydma-report. */
int cli_addresses(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);

/* The first of the places, relative to this command's folder, that is there: in `path` of PATH_MAX bytes; NULL: none is. */
const char *cli_find_beside(const char *const *places, size_t nr, char *path);
/* The path of anydma-report, in `path` of PATH_MAX bytes; NULL: it is nowhere. */
const char *cli_find_report(char *path);

#endif
