/* SPDX-License-Identifier: MIT */
/* Every command and every option of it, once: what parses them, --help, the completions and the manual are made from this
 * table. The options of `anydma run` are those of base/settings.h.
 *
 * A new option is one line in commands.c and what its command does with it. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stddef.h>
#include <stdio.h>

/* For options that have no letter. */
enum { CLI_LONG = 1 << 8 };
/* Of `anydma run`: what is none of the shim's. */
enum { CLI_ANYWAY = 'A' };

struct cli_option {
    int code; /* what cli_next_option returns: a letter, which is the short form too unless CLI_LONG is added */
    const char *name;  /* without the dashes */
    const char *value; /* NULL: it takes none; "a|b|c": one of these words; else what it is: FILE, SIZE */
    const char *help;
};

struct cli_command {
    const char *name;
    const char *arguments;            /* behind the options, in capitals: FILE, PID, PROGRAM; "" */
    const char *help;                 /* in a few words */
    const char *text;                 /* in full sentences; NULL */
    const struct cli_option *options; /* up to one without a name; NULL: those of the shim */
};

extern const struct cli_command cli_commands[]; /* up to one without a name */

/* NULL: there is none. */
const struct cli_command *cli_find_command(const char *name);
/* The command's option number `index`, --help being the last. Returns false behind that. */
int cli_option_at(const struct cli_command *command, size_t index, struct cli_option *option);
/* The name that was probably meant; NULL. */
const char *cli_nearest_command(const char *name);
void cli_usage(const char *command, FILE *to);
/* getopt_long(3) over the table, for the command that argv[0] names: the next option's code, its value in optarg; -1 at the end
 * of the options, which for run is the first word that is none; '?' after a message. Answers --help by itself, and exits. */
int cli_next_option(int argc, char **argv);

#endif
