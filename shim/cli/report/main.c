/* SPDX-License-Identifier: MIT */
/* anydma-report: the subcommands that read captures. A program of its own, so that `anydma run` needs none of the libraries
 * that these do; `anydma report` and the others become it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"report", cli_report}, {"export", cli_export},     {"diff", cli_diff},
                    {"check", cli_check},   {"snapshot", cli_snapshot}, {"addresses", cli_addresses}};
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "anydma-report: started by `anydma report`, not by hand\n");
    return CLI_FAILED;
}
