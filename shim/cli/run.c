/* SPDX-License-Identifier: MIT */
/* anydma run: sets the environment that the shim reads and becomes the program, so that signals, the terminal
 * and the exit status are the program's own. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* Each option that takes a value sets the variable of the same name; `words`: what it takes, NULL for
 * anything. */
static const struct setting {
    const char *option;
    const char *variable;
    const char *words;
    const char *help;
} settings[] = {
    {"mode", "ANYDMA_MODE", "auto|lazy|eager", "when memory is registered"},
    {"iommu", "ANYDMA_IOMMU", "auto|type1|sim|none", "sim: a simulated IOMMU, for machines without VFIO"},
    {"heap", "ANYDMA_HEAP", "own|system", "system: leave malloc to the C library"},
    {"granule", "ANYDMA_GRANULE", NULL, "SIZE of the unit that is registered at once"},
    {"foreign", "ANYDMA_FOREIGN", "watch|refuse|trust", "memory that anydma did not place"},
    {"thp", "ANYDMA_THP", "auto|always|never", "huge pages before pinning"},
    {"limit", "ANYDMA_LIMIT", NULL, "SIZE at which eager mode stops"},
    {"sample", "ANYDMA_SAMPLE", NULL, "auto (2M), or SIZE between sampled allocations"},
    {"depth", "ANYDMA_DEPTH", NULL, "frames in a call stack"},
    {"output", "ANYDMA_OUTPUT", NULL, "FILE for the capture"},
    {"check", "ANYDMA_CHECK", "0|1|2", "1: report hazards; 2: and exit with status 99"},
    {"verbose", "ANYDMA_VERBOSE", NULL, "0 errors to 3 everything"},
};
enum { NR_SETTINGS = sizeof(settings) / sizeof(settings[0]), OPTION_STATS = 1000, OPTION_HELP };

static void usage(FILE *to)
{
    fprintf(to, "usage: anydma run [options] -- app [args]\n\n"
                "Runs the program with libanydma.so.0 preloaded and exits with its status\n"
                "(125: anydma failed, 126: not executable, 127: not found).\n\n");
    for (int i = 0; i < NR_SETTINGS; i++)
        fprintf(to, "  --%-8s %-22s %s\n", settings[i].option,
                settings[i].words ? settings[i].words : "VALUE", settings[i].help);
    fprintf(to, "  --%-8s %-22s %s\n", "stats", "", "print a summary on stderr at exit");
    fprintf(to, "\nEach has a variable: ANYDMA_MODE for --mode, and so on.\n");
}

static bool is_word_of(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (const char *word = words; word; word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
        if (strcspn(word, "|") == len && strncmp(word, value, len) == 0)
            return true;
    return false;
}

/* The shim beside this program (a build tree), in ../lib (an installation), or wherever the loader finds it.
 */
static const char *find_shim(char *path)
{
    static const char *const places[] = {"libanydma.so.0", "../lib/libanydma.so.0"};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    while (len > 0 && self[len - 1] != '/')
        len--;
    for (size_t i = 0; len > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        char candidate[PATH_MAX + 32];
        snprintf(candidate, sizeof(candidate), "%.*s%s", (int)len, self, places[i]);
        if (realpath(candidate, path))
            return path;
    }
    return NULL;
}

static int preload(void)
{
    char shim[PATH_MAX];
    if (!find_shim(shim)) {
        fprintf(stderr, "anydma run: libanydma.so.0 is neither beside this command nor in ../lib; build it "
                        "with `make`, or "
                        "install it with `make install`\n");
        return CLI_FAILED;
    }
    if (strpbrk(shim, " :")) {
        fprintf(stderr, "anydma run: %s holds a space or a colon, which LD_PRELOAD can't express; move it\n",
                shim);
        return CLI_FAILED;
    }
    const char *others = getenv("LD_PRELOAD");
    char *value;
    if (asprintf(&value, "%s%s%s", shim, others && *others ? ":" : "", others ? others : "") < 0 ||
        setenv("LD_PRELOAD", value, 1) != 0) {
        fprintf(stderr, "anydma run: %s\n", strerror(errno));
        return CLI_FAILED;
    }
    return 0;
}

static int set(int index, const char *value)
{
    const struct setting *setting = &settings[index];
    if (setting->words && !is_word_of(setting->words, value)) {
        fprintf(stderr, "anydma run: --%s takes %s, not '%s'\n", setting->option, setting->words, value);
        return CLI_FAILED;
    }
    return setenv(setting->variable, value, 1) ? CLI_FAILED : 0;
}

static int parse(int argc, char **argv)
{
    struct option options[NR_SETTINGS + 3] = {{0}};
    for (int i = 0; i < NR_SETTINGS; i++)
        options[i] = (struct option){settings[i].option, required_argument, NULL, i + 1};
    options[NR_SETTINGS] = (struct option){"stats", no_argument, NULL, OPTION_STATS};
    options[NR_SETTINGS + 1] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    int choice, error = 0;
    while (!error && (choice = getopt_long(argc, argv, "+ho:", options, NULL)) != -1) {
        if (choice == OPTION_HELP || choice == 'h') {
            usage(stdout);
            exit(0);
        } else if (choice == '?') {
            error = CLI_FAILED;
        } else if (choice == OPTION_STATS) {
            error = setenv("ANYDMA_STATS", "1", 1) ? CLI_FAILED : 0;
        } else if (choice == 'o') {
            error = setenv("ANYDMA_OUTPUT", optarg, 1) ? CLI_FAILED : 0;
        } else {
            error = set(choice - 1, optarg);
        }
    }
    return error;
}

int cli_run(int argc, char **argv)
{
    int error = parse(argc, argv);
    if (error)
        return error;
    if (optind == argc) {
        usage(stderr);
        return CLI_FAILED;
    }
    if ((error = preload()))
        return error;
    execvp(argv[optind], argv + optind);
    error = errno;
    fprintf(stderr, "anydma run: %s: %s\n", argv[optind], strerror(error));
    return error == ENOENT ? CLI_NOT_FOUND : CLI_NOT_EXECUTABLE;
}
