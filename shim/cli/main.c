/* SPDX-License-Identifier: MIT */
/* The anydma command: dispatches to its subcommands. Those that read captures are anydma-report's, beside this program or in
 * ../libexec/anydma. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/text.h"

static int become_report(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *title; /* how it calls itself in messages */
    const char *help;
} commands[] = {
    {"run", cli_run, "anydma run", "run [options] -- app [args]   run a program with the shim preloaded"},
    {"report", become_report, "report", "report [options] FILE         who pinned how much, from a capture"},
    {"export", become_report, "export",
     "export -f FORMAT FILE         a capture in the formats of other tools"},
    {"diff", become_report, "diff", "diff BEFORE AFTER             what two captures pin, compared"},
    {"check", become_report, "check", "check [limits] FILE           hold a capture against limits, for CI"},
    {"snapshot", become_report, "snapshot",
     "snapshot [options] PID        the same of a process that is running"},
    {"top", cli_top, "anydma top", "top [--batch] [PID...]        what processes have pinned, live"},
    {"version", cli_version, "anydma version", "version                       print the version"},
    {"help", cli_help, "anydma help", "help [COMMAND]                this, or what a command takes"},
};
enum { NR_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage(FILE *to)
{
    fprintf(to, "anydma: ordinary memory, ready for device DMA\n\nusage:\n");
    for (size_t i = 0; i < NR_COMMANDS; i++)
        fprintf(to, "  anydma %s\n", commands[i].help);
    fprintf(to, "\n`anydma help COMMAND` lists the options of one.\n");
}

static int become_report(int argc, char **argv)
{
    static const char *const places[] = {"anydma-report", "../libexec/anydma/anydma-report"};
    char self[PATH_MAX], path[PATH_MAX + 64];
    char **arguments = calloc((size_t)argc + 2, sizeof(*arguments));
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (!arguments)
        return CLI_FAILED;
    arguments[0] = (char *)"anydma-report";
    memcpy(arguments + 1, argv, (size_t)argc * sizeof(*argv));
    while (len > 0 && self[len - 1] != '/')
        len--;
    for (size_t i = 0; len > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%.*s%s", (int)len, self, places[i]);
        execv(path, arguments);
    }
    fprintf(stderr,
            "anydma %s: anydma-report, which reads captures, is neither beside this command nor in "
            "../libexec/anydma (%s): "
            "install it there\n",
            argv[0], strerror(errno));
    return CLI_FAILED;
}

int cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("anydma %s\n", ANYDMA_VERSION);
    return 0;
}

/* What was probably meant is said. */
static const struct command *find(const char *name)
{
    const char *names[NR_COMMANDS + 1] = {NULL};
    for (size_t i = 0; i < NR_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
        names[i] = commands[i].name;
    }
    const char *nearest = text_nearest(name, names);
    fprintf(stderr, "anydma: '%s' is not a command; %s%s%s\n", name, nearest ? "did you mean `anydma " : "",
            nearest ? nearest : "`anydma help` lists them", nearest ? "`? `anydma help` lists all" : "");
    return NULL;
}

static int start(const struct command *command, int argc, char **argv)
{
    argv[0] = (char *)command->title;
    return command->run(argc, argv);
}

int cli_help(int argc, char **argv)
{
    char *arguments[] = {NULL, (char *)"--help", NULL};
    const struct command *command = argc > 1 ? find(argv[1]) : NULL;
    if (argc > 1 && !command)
        return CLI_FAILED;
    if (command && command->run != cli_help && command->run != cli_version)
        return start(command, 2, arguments);
    usage(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return CLI_FAILED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return cli_help(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return cli_version(argc, argv);
    const struct command *command = find(argv[1]);
    return command ? start(command, argc - 1, argv + 1) : CLI_FAILED;
}
