/* SPDX-License-Identifier: MIT */
/* anydma-report: the subcommands that read captures. A program of its own, so that `anydma run` needs none of the libraries
 * that these do; `anydma report` and the others become it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *title;
        int (*run)(int argc, char **argv);
    } commands[] = {{"report", "anydma report", cli_report},
                    {"export", "anydma export", cli_export},
                    {"diff", "anydma diff", cli_diff},
                    {"check", "anydma check", cli_check},
                    {"snapshot", "anydma snapshot", cli_snapshot}};
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            argv[1] = (char *)commands[i].title; /* getopt begins its messages with it */
            return commands[i].run(argc - 1, argv + 1);
        }
    fprintf(stderr, "anydma-report: started by `anydma report`, not by hand\n");
    return CLI_FAILED;
}
