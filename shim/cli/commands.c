/* SPDX-License-Identifier: MIT */
/* The table of commands and options, and what reads it: getopt, --help. */
#include "cli/commands.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/settings.h"
#include "cli/text.h"

enum { MOST = 40 }; /* of commands, of options of one */

#define AT                                                                                                   \
    {                                                                                                        \
        'a' | CLI_LONG, "at", "peak|end|TIME",                                                               \
            "the moment that is shown: the peak, unless it is the end or a TIME since the start, as in 1.5s" \
    }

static const struct cli_option report_options[] = {
    AT,
    {'s' | CLI_LONG, "sort", "pinned|peak|waste|maps|time",
     "what call sites are sorted by; pinned by default"},
    {'f' | CLI_LONG, "filter", "TEXT",
     "only call sites with TEXT in their label, functions, files or modules"},
    {'n', "top", "N", "so many call sites; what fits the screen by default"},
    {'d' | CLI_LONG, "depth", "N", "callers shown under each; 3 by default"},
    {'S' | CLI_LONG, "summary", NULL, "one line"},
    {'D' | CLI_LONG, "debug-dir", "FOLDER",
     "debug information in FOLDER/.build-id, too, as gdb's debug-file-directory"},
    {'U' | CLI_LONG, "debuginfod", NULL, "ask the servers that DEBUGINFOD_URLS names for debug information"},
    {'j' | CLI_LONG, "json", NULL, "everything, for programs"},
    {'H' | CLI_LONG, "html", "FILE", "everything, as one self-contained page; - is stdout"},
    {0},
};
static const struct cli_option export_options[] = {
    {'f', "format", "folded|pprof|speedscope|chrome|openmetrics", "the format"},
    {'o', "output", "FILE", "instead of stdout"},
    AT,
    {0},
};
static const struct cli_option diff_options[] = {
    AT,
    {'n', "top", "N", "so many call sites; 20 by default"},
    {'j' | CLI_LONG, "json", NULL, "everything, for programs"},
    {'H' | CLI_LONG, "html", "FILE", "everything, as one self-contained page; - is stdout"},
    {0},
};
static const struct cli_option check_options[] = {
    {'p' | CLI_LONG, "max-peak", "SIZE", "bytes pinned at the peak, the application's own mappings included"},
    {'w' | CLI_LONG, "max-waste", "PERCENT",
     "of what anydma registered, at the peak, in no live allocation or mapping"},
    {'i' | CLI_LONG, "max-ioctls", "N", "map and unmap calls over the whole time"},
    {'f' | CLI_LONG, "max-failures", "N", "maps, unmaps and lookups that failed"},
    {'z' | CLI_LONG, "no-hazards", NULL, "no memory that went away while a device could reach it"},
    {0},
};
static const struct cli_option snapshot_options[] = {
    {'o', "output", "FILE", "write a capture of its own, for report, export and diff"},
    {'j' | CLI_LONG, "json", NULL, "the report for programs"},
    {'H' | CLI_LONG, "html", "FILE", "the report as one self-contained page"},
    {0},
};
static const struct cli_option top_options[] = {
    {'a', "all", NULL, "every process (as without PID)"},
    {'b', "batch", NULL, "print instead of drawing; once, unless -n is given"},
    {'d', "delay", "SECONDS", "between two looks; 1 by default"},
    {'n', "times", "N", "so many looks"},
    {'m' | CLI_LONG, "openmetrics", NULL,
     "once, as OpenMetrics text, which node_exporter's textfile collector takes"},
    {0},
};
static const struct cli_option doctor_options[] = {
    {'d', "device", "BDF", "this PCI device, such as 0000:00:04.0; without it, those that vfio-pci has"},
    {'s' | CLI_LONG, "size", "SIZE", "what the program will pin: is memlock, memory, a container enough?"},
    {'c' | CLI_LONG, "capture", "FILE", "the same, from the peak of a capture"},
    {'j' | CLI_LONG, "json", NULL, "for programs"},
    {'r' | CLI_LONG, "root", "DIRECTORY", "look at a copy of another machine's /proc, /sys and /dev"},
    {0},
};
static const struct cli_option no_options[] = {{0}};

const struct cli_command cli_commands[] = {
    {"run", "-- PROGRAM [ARGUMENTS]", "run a program with the shim preloaded",
     "Runs the program with libanydma.so.0 preloaded and exits with its status (125: anydma failed, 126: not "
     "executable, 127: not found). -o without a name, before --, picks one: PROGRAM.PID.capture. Each option "
     "has a variable: ANYDMA_MODE for --mode, and so on.",
     NULL},
    {"report", "FILE", "who pinned how much, from a capture",
     "Says in one screen how much was pinned at the peak, how near the limits are, and by which call sites.",
     report_options},
    {"export", "-f FORMAT FILE", "a capture in the formats of other tools",
     "Writes a capture for other tools, to stdout or a file: folded stacks (flamegraph.pl, inferno), gzipped "
     "profile.proto (pprof), speedscope, the Trace Event Format (chrome: Perfetto, chrome://tracing), and "
     "OpenMetrics text "
     "(Prometheus).",
     export_options},
    {"diff", "BEFORE AFTER", "what two captures pin, compared",
     "Compares what two captures show pinned, by call site: the largest changes first. Call sites are the "
     "same when "
     "their functions are, so a rebuilt program compares.",
     diff_options},
    {"check", "FILE", "hold a capture against limits, for CI",
     "Exits with 0 when the capture is within all limits, 1 when it exceeds one, 2 when it can't be judged.",
     check_options},
    {"snapshot", "PID", "the report of a process that is running",
     "Reports what a running process has pinned, by its call sites. It must have been started with a capture "
     "(`anydma "
     "run -o FILE`) and have a device attached; it goes on undisturbed.",
     snapshot_options},
    {"top", "[PID...]", "what processes have pinned, live",
     "Shows what processes under anydma with a device attached have pinned, the most first. In the table: q "
     "quits.",
     top_options},
    {"doctor", "[-- PROGRAM]", "what is in the way of a device's DMA, and how to mend it",
     "Says which devices are there, and what stands between this machine, this user and this program and "
     "their DMA: "
     "each finding with what to paste, for now and for good. Applies nothing. Exits with 0 when all is "
     "ready, 1 when "
     "something is in the way, 2 for wrong usage.",
     doctor_options},
    {"completion", "bash|zsh|fish", "print the shell's completion for this command",
     "Prints a completion script: `eval \"$(anydma completion bash)\"`, or into a file where the shell looks "
     "for them.",
     no_options},
    {"version", "", "print the version", NULL, no_options},
    {"help", "[COMMAND]", "this list, or what a command takes", NULL, no_options},
    {0},
};

const struct cli_command *cli_find_command(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

const char *cli_nearest_command(const char *name)
{
    const char *names[MOST + 1] = {NULL};
    for (size_t i = 0; i < MOST && cli_commands[i].name; i++)
        names[i] = cli_commands[i].name;
    return text_nearest(name, names);
}

/* The shim's option number `index`, as one of the command. */
static bool setting_at(size_t index, struct cli_option *option)
{
    for (size_t i = 0; i < NR_SETTINGS; i++) {
        const struct setting *setting = &settings[i];
        if (i == SETTING_DISABLE || index--)
            continue;
        *option = (struct cli_option){i == SETTING_OUTPUT ? 'o' : (int)i | CLI_LONG, setting->name,
                                      setting->kind == SETTING_FLAG ? NULL : setting->values, setting->help};
        return true;
    }
    return false;
}

int cli_option_at(const struct cli_command *command, size_t index, struct cli_option *option)
{
    static const struct cli_option help = {'h', "help", NULL, "print this"};
    static const struct cli_option anyway = {
        CLI_ANYWAY | CLI_LONG, "anyway", NULL,
        "start also a program that anydma can't see into: static, setuid, 32 bits, ..."};
    size_t nr = 0;
    if (command->options) {
        while (command->options[nr].name)
            nr++;
        if (index < nr)
            *option = command->options[index];
    } else {
        struct cli_option ignored;
        while (setting_at(nr, &ignored))
            nr++;
        setting_at(index, option);
        if (index == nr++) {
            *option = anyway;
            return true;
        }
    }
    if (index == nr)
        *option = help;
    return index <= nr;
}

/* --- help --------------------------------------------------------------------------------------------------- */

enum { WIDTH = 80, INDENT = 30 };

/* Prints `text` from column `indent` on, where the cursor is, broken into lines that begin there. */
static void print_wrapped(FILE *to, const char *text, int indent)
{
    int at = indent;
    for (int len; *text; text += len + (text[len] == ' ')) {
        len = (int)strcspn(text, " ");
        if (at > indent && at + 1 + len > WIDTH)
            at = fprintf(to, "\n%*s", indent, "") - 1;
        else if (at > indent)
            at += fprintf(to, " ");
        at += fprintf(to, "%.*s", len, text);
    }
    fputc('\n', to);
}

static void print_option(FILE *to, const struct cli_option *option)
{
    char letter[8] = "    ";
    if (!(option->code & CLI_LONG))
        snprintf(letter, sizeof(letter), "-%c, ", option->code);
    int at = fprintf(to, "  %s--%s%s%s", letter, option->name, option->value ? "=" : "",
                     option->value ? option->value : "");
    if (at + 2 > INDENT)
        at = fprintf(to, "\n") - 1;
    fprintf(to, "%*s", INDENT - at, "");
    print_wrapped(to, option->help, INDENT);
}

void cli_usage(const char *name, FILE *to)
{
    const struct cli_command *command = cli_find_command(name);
    struct cli_option option;
    fprintf(to, "usage: anydma %s [options]%s%s\n\n", command->name, *command->arguments ? " " : "",
            command->arguments);
    if (command->text) {
        print_wrapped(to, command->text, 0);
        fputc('\n', to);
    }
    for (size_t i = 0; cli_option_at(command, i, &option); i++)
        print_option(to, &option);
}

/* --- parsing ------------------------------------------------------------------------------------------------ */

enum { OPTION_BASE = 1000 };

/* The tables as getopt_long wants them; of one command at a time. */
static struct {
    const struct cli_command *command;
    struct cli_option options[MOST];
    struct option names[MOST + 1];
    char letters[2 * MOST + 3];
} parsed;

static void prepare(const struct cli_command *command)
{
    if (parsed.command == command)
        return;
    memset(&parsed, 0, sizeof(parsed));
    parsed.command = command;
    /* "+": what follows the program is the program's; ":": a missing value is told from an unknown option. */
    char *letter = stpcpy(parsed.letters, command->options ? ":" : "+:");
    for (size_t i = 0; i < MOST && cli_option_at(command, i, &parsed.options[i]); i++) {
        const struct cli_option *option = &parsed.options[i];
        parsed.names[i] = (struct option){option->name, option->value ? required_argument : no_argument, NULL,
                                          OPTION_BASE + (int)i};
        if (option->code & CLI_LONG)
            continue;
        *letter++ = (char)option->code;
        if (option->value)
            *letter++ = ':';
    }
    opterr = 0;
}

/* The option of the command that was probably meant by `word`, which begins with two dashes; NULL. */
static const char *nearest_option(const char *word)
{
    const char *names[MOST + 1] = {NULL};
    char name[64];
    for (size_t i = 0; parsed.names[i].name; i++)
        names[i] = parsed.names[i].name;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    return text_nearest(name, names);
}

static void complain(const char *command, const char *word, bool lacks_value)
{
    const char *nearest = !lacks_value && strncmp(word, "--", 2) == 0 ? nearest_option(word) : NULL;
    if (lacks_value)
        fprintf(stderr, "anydma %s: %s needs a value; see `anydma %s --help`\n", command, word, command);
    else if (nearest)
        fprintf(stderr, "anydma %s: there is no option '%s'; did you mean --%s?\n", command, word, nearest);
    else
        fprintf(stderr, "anydma %s: there is no option '%s'; `anydma %s --help` lists them\n", command, word,
                command);
}

int cli_next_option(int argc, char **argv)
{
    prepare(cli_find_command(argv[0]));
    int before = optind, choice = getopt_long(argc, argv, parsed.letters, parsed.names, NULL);
    if (choice == ':' || choice == '?') {
        /* A short option may stand amid others; a long one is the word that was read. */
        const char *word = argv[optind > before ? optind - 1 : before];
        char one[] = {'-', (char)optopt, '\0'};
        complain(argv[0], strncmp(word, "--", 2) == 0 || !optopt ? word : one, choice == ':');
        return '?';
    }
    if (choice >= OPTION_BASE)
        choice = parsed.options[choice - OPTION_BASE].code & ~CLI_LONG;
    if (choice == 'h') {
        cli_usage(argv[0], stdout);
        exit(0);
    }
    return choice;
}
