/* SPDX-License-Identifier: MIT */
/* The anydma command: dispatches to its subcommands. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", cli_run, "run [options] -- app [args]   run a program with the shim preloaded"},
    {"report", cli_report, "report [options] FILE         who pinned how much, from a capture"},
    {"export", cli_export, "export -f FORMAT FILE         a capture in the formats of other tools"},
    {"diff", cli_diff, "diff BEFORE AFTER             what two captures pin, compared"},
    {"check", cli_check, "check [limits] FILE           hold a capture against limits, for CI"},
    {"snapshot", cli_snapshot, "snapshot [options] PID        the same of a process that is running"},
    {"top", cli_top, "top [--batch] [PID...]        what processes have pinned, live"},
    {"version", cli_version, "version                       print the version"},
};

static void usage(FILE *to)
{
    fprintf(to, "anydma: ordinary memory, ready for device DMA\n\nusage:\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  anydma %s\n", commands[i].help);
    fprintf(to, "\n`anydma run --help` lists the options of run.\n");
}

int cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("anydma %s\n", ANYDMA_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return CLI_FAILED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cli_version(argc, argv);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "anydma: '%s' is not a command; `anydma --help` lists them\n", argv[1]);
    return CLI_FAILED;
}
