/* SPDX-License-Identifier: MIT */
/* anydma run: sets the environment that the shim reads and becomes the program, so that signals, the terminal
 * and the exit status are the program's own. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/settings.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/program.h"
#include "cli/start.h"

/* The shim beside this program (a build tree), or where an installation has it. */
static const char *find_shim(char *path)
{
    static const char *const places[] = {"libanydma.so.0", "../libexec/anydma/libanydma.so.0",
                                         "../lib/libanydma.so.0", "../lib/x86_64-linux-gnu/libanydma.so.0",
                                         "../lib64/libanydma.so.0"};
    return cli_find_beside(places, sizeof(places) / sizeof(places[0]), path);
}

/* `program`: a sanitizer's library that it needs comes before the shim, or it would not start. */
static int preload(const char *program)
{
    char shim[PATH_MAX], path[PATH_MAX], library[256];
    const char *first =
        program_find(program, path) == 0 ? program_sanitizer(path, library, sizeof(library)) : NULL;
    if (!find_shim(shim)) {
        fprintf(
            stderr,
            "anydma run: libanydma.so.0 is neither beside this command nor in ../libexec/anydma or ../lib; "
            "build it with `make`, or install it with `make install`\n");
        return CLI_FAILED;
    }
    if (strpbrk(shim, " :")) {
        fprintf(stderr, "anydma run: %s holds a space or a colon, which LD_PRELOAD can't express; move it\n",
                shim);
        return CLI_FAILED;
    }
    const char *others = getenv("LD_PRELOAD");
    char *value;
    if (asprintf(&value, "%s%s%s%s%s", first ? first : "", first ? ":" : "", shim,
                 others && *others ? ":" : "", others ? others : "") < 0 ||
        setenv("LD_PRELOAD", value, 1) != 0) {
        fprintf(stderr, "anydma run: %s\n", strerror(errno));
        return CLI_FAILED;
    }
    return 0;
}

static int set(const struct setting *setting, const char *value)
{
    uint64_t number;
    if (setting_parse(setting, value, &number)) {
        fprintf(stderr, "anydma run: --%s takes %s, not '%s'\n", setting->name, setting->values, value);
        return CLI_FAILED;
    }
    if (setenv(setting->variable, value, 1) == 0)
        return 0;
    fprintf(stderr, "anydma run: %s\n", strerror(errno));
    return CLI_FAILED;
}

static bool is_anyway, is_unnamed;

/* `-o --`: no name was given, and the options end here. */
static int set_output(void)
{
    bool has_name = strcmp(optarg, "--") != 0;
    if (!has_name)
        optind--;
    is_unnamed = !has_name;
    return has_name && setenv("ANYDMA_OUTPUT", optarg, 1) ? CLI_FAILED : 0;
}

static int parse(int argc, char **argv)
{
    int choice, error = 0;
    while (!error && (choice = cli_next_option(argc, argv)) != -1) {
        if (choice == '?')
            return CLI_FAILED;
        if (choice == CLI_ANYWAY)
            is_anyway = true;
        else
            error = choice == 'o' ? set_output() : set(&settings[choice], optarg ? optarg : "1");
    }
    return error;
}

int cli_run(int argc, char **argv)
{
    int error = parse(argc, argv);
    if (error)
        return error;
    if (optind == argc) {
        cli_usage(argv[0], stderr);
        return CLI_FAILED;
    }
    char report[PATH_MAX];
    if ((is_unnamed && (error = start_pick_output(argv[optind]))) || (error = preload(argv[optind])) ||
        (error = start_check_program(argv[optind], is_anyway)) ||
        (error = start_check_output(argv[optind], cli_find_report(report))))
        return error;
    execvp(argv[optind], argv + optind);
    error = errno;
    fprintf(stderr, "anydma run: %s: %s\n", argv[optind], strerror(error));
    return error == ENOENT ? CLI_NOT_FOUND : CLI_NOT_EXECUTABLE;
}
