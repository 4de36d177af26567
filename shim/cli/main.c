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
#include "cli/commands.h"
#include "cli/text.h"

static void usage(FILE *to)
{
    fprintf(to, "anydma: ordinary memory, ready for device DMA\n\nusage:\n");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        fprintf(to, "  anydma %-10s %-24s %s\n", command->name, command->arguments, command->help);
    fprintf(to, "\n`anydma help COMMAND` lists the options of one.\n");
}

const char *cli_find_beside(const char *const *places, size_t nr, char *path)
{
    char self[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    while (len > 0 && self[len - 1] != '/')
        len--;
    for (size_t i = 0; len > 0 && i < nr; i++) {
        snprintf(candidate, sizeof(candidate), "%.*s%s", (int)len, self, places[i]);
        if (realpath(candidate, path))
            return path;
    }
    return NULL;
}

const char *cli_find_report(char *path)
{
    static const char *const places[] = {"anydma-report", "../libexec/anydma/anydma-report"};
    return cli_find_beside(places, sizeof(places) / sizeof(places[0]), path);
}

static int become_report(int argc, char **argv)
{
    char path[PATH_MAX];
    char **arguments = calloc((size_t)argc + 2, sizeof(*arguments));
    if (!arguments)
        return CLI_FAILED;
    arguments[0] = (char *)"anydma-report";
    memcpy(arguments + 1, argv, (size_t)argc * sizeof(*argv));
    if (cli_find_report(path)) {
        execv(path, arguments);
        fprintf(stderr, "anydma %s: %s: %s\n", argv[0], path, strerror(errno));
    } else {
        fprintf(stderr,
                "anydma %s: anydma-report, which reads captures, is neither beside this command nor in "
                "../libexec/anydma: install it there\n",
                argv[0]);
    }
    return CLI_FAILED;
}

int cli_version(int argc, char **argv)
{
    if (cli_next_option(argc, argv) != -1)
        return CLI_FAILED;
    printf("anydma %s\n", ANYDMA_VERSION);
    return 0;
}

/* What was probably meant is said. */
static const struct cli_command *find(const char *name)
{
    const struct cli_command *command = cli_find_command(name);
    const char *nearest = command ? NULL : cli_nearest_command(name);
    if (nearest)
        fprintf(stderr, "anydma: '%s' is not a command; did you mean `anydma %s`? `anydma help` lists all\n",
                name, nearest);
    else if (!command)
        fprintf(stderr, "anydma: '%s' is not a command; `anydma help` lists them\n", name);
    return command;
}

/* argv[0] is the command's name. */
static int start(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } own[] = {{"run", cli_run},         {"top", cli_top},
               {"doctor", cli_doctor},   {"completion", cli_completion},
               {"version", cli_version}, {"help", cli_help}};
    if (!find(argv[0]))
        return CLI_FAILED;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(own[i].name, argv[0]) == 0)
            return own[i].run(argc, argv);
    return become_report(argc, argv);
}

int cli_help(int argc, char **argv)
{
    if (cli_next_option(argc, argv) != -1)
        return CLI_FAILED;
    if (argc > 1)
        return start(2, (char *[]){argv[1], (char *)"--help", NULL});
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
        argv[1] = (char *)"help";
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        argv[1] = (char *)"version";
    return start(argc - 1, argv + 1);
}
