/* SPDX-License-Identifier: MIT */
/* anydma doctor: says what stands between this machine, this user and this program, and a device's DMA, and what to paste to mend
 * it. Applies nothing. */
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/doctor/findings.h"
#include "cli/text.h"

enum { DOCTOR_READY, DOCTOR_NOT_READY, DOCTOR_USAGE };

static struct doctor_facts facts = {.entry_limit = UINT64_MAX, .userfaultfd = -1, .io_uring = -1};

struct output {
    bool is_json, has_colour, is_utf8, is_first;
};

/* --- text --------------------------------------------------------------------------------------------------- */

static bool is_shown(const struct doctor_device *device)
{
    if (facts.bdf)
        return strcmp(device->bdf, facts.bdf) == 0;
    return doctor_is_bound(device) || (!device->is_bridge && device->class >> 16 != 8);
}

static void print_devices(void)
{
    printf("%-12s  %-40s  %-12s  %5s  %4s  %5s\n", "BDF", "DEVICE", "DRIVER", "GROUP", "NUMA", "WIDTH");
    for (unsigned i = 0; i < facts.nr_devices; i++) {
        const struct doctor_device *device = &facts.devices[i];
        char group[16] = "-", node[16] = "-", width[16] = "-";
        if (!is_shown(device))
            continue;
        if (device->group >= 0)
            snprintf(group, sizeof(group), "%d", device->group);
        if (device->numa_node >= 0)
            snprintf(node, sizeof(node), "%d", device->numa_node);
        if (device->width)
            snprintf(width, sizeof(width), "%u", device->width);
        printf("%-12s  %-40.40s  %-12s  %5s  %4s  %5s%s%s%s\n", device->bdf, device->name,
               *device->driver ? device->driver : "-", group, node, width,
               device->used_for[0] ? "  carries " : "", device->used_for, "");
    }
    printf("\n");
}

static void print_finding(const struct doctor_finding *finding, const struct output *output)
{
    static const char *const marks[2][3] = {{"ok", "! ", "x "}, {"\u2713", "!", "\u2717"}};
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    enum doctor_level level = finding->row->level;
    const char *colour = output->has_colour ? colours[level] : "", *end = output->has_colour ? "\033[0m" : "";
    printf("%s%s%s %s\n", colour, marks[output->is_utf8][level], end, finding->fact);
    if (finding->now[0])
        printf("    now:      %s\n", finding->now);
    if (finding->good[0])
        printf("    for good: %s\n", finding->good);
}

/* --- JSON --------------------------------------------------------------------------------------------------- */

static void print_string(const char *name, const char *text, const char *end)
{
    printf("\"%s\": ", name);
    if (!*text) {
        printf("null%s", end);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char)*text < 0x20)
            printf("\\u%04x", *text);
        else
            putchar(*text);
    }
    printf("\"%s", end);
}

static void print_devices_as_json(void)
{
    const char *between = "";
    printf("{\n  \"devices\": [");
    for (unsigned i = 0; i < facts.nr_devices; i++) {
        const struct doctor_device *device = &facts.devices[i];
        if (!is_shown(device))
            continue;
        printf("%s\n    {", between);
        between = ",";
        print_string("bdf", device->bdf, ", ");
        print_string("name", device->name, ", ");
        print_string("driver", device->driver, ", ");
        print_string("carries", device->used_for, ", ");
        printf("\"group\": %d, \"numa_node\": %d, \"width\": %u}", device->group, device->numa_node,
               device->width);
    }
    printf("\n  ],\n  \"findings\": [");
}

static void print_finding_as_json(const struct doctor_finding *finding, struct output *output)
{
    static const char *const levels[] = {"ok", "warning", "bad"};
    printf("%s\n    {", output->is_first ? "" : ",");
    output->is_first = false;
    print_string("id", finding->row->id, ", ");
    print_string("level", levels[finding->row->level], ", ");
    print_string("device", finding->device ? finding->device->bdf : "", ", ");
    print_string("fact", finding->fact, ", ");
    print_string("now", finding->now, ", ");
    print_string("for_good", finding->good, "}");
}

static void tell(const struct doctor_finding *finding, void *arg)
{
    struct output *output = arg;
    if (output->is_json)
        print_finding_as_json(finding, output);
    else
        print_finding(finding, output);
}

/* --- the command -------------------------------------------------------------------------------------------- */

/* The peak of a capture, as `anydma check` tells it: "FAIL peak: 56.0 MiB (58720256), at most ...". */
static int read_capture(const char *path)
{
    char line[256], self[PATH_MAX];
    int ends[2];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len < 0 || pipe(ends))
        return -1;
    self[len] = '\0';
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        execl(self, "anydma", "check", "--max-peak", "0", "--", path, (char *)NULL);
        _exit(CLI_FAILED);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    while (from && fgets(line, sizeof(line), from)) {
        const char *peak = strstr(line, "peak: "), *bytes = peak ? strchr(peak, '(') : NULL;
        if (bytes)
            facts.need = strtoull(bytes + 1, NULL, 10);
    }
    if (from)
        fclose(from);
    return facts.need ? 0 : -1;
}

/* What a person may write for 0000:00:04.0. */
static const char *full_bdf(const char *text)
{
    static char bdf[64];
    unsigned domain = 0, bus, slot, function;
    if (sscanf(text, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4 &&
        (domain = 0, sscanf(text, "%x:%x.%u", &bus, &slot, &function) != 3))
        return text;
    snprintf(bdf, sizeof(bdf), "%04x:%02x:%02x.%u", domain, bus, slot, function);
    return bdf;
}

static int complain(const char *option, const char *what, const char *value)
{
    fprintf(stderr, "anydma doctor: %s takes %s, not '%s'\n", option, what, value);
    return DOCTOR_USAGE;
}

static int parse(int argc, char **argv, struct output *output)
{
    int choice;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        switch (choice) {
        case 'd':
            facts.bdf = full_bdf(optarg);
            break;
        case 's':
            if (text_parse_size(optarg, &facts.need) || !facts.need)
                return complain("--size", "a size such as 512M", optarg);
            break;
        case 'c':
            if (read_capture(optarg))
                return complain("--capture", "a capture in which something was pinned", optarg);
            break;
        case 'j':
            output->is_json = true;
            break;
        case 'r':
            tree_set_root(optarg);
            break;
        default:
            return DOCTOR_USAGE;
        }
    }
    facts.program = argv[optind];
    return 0;
}

int cli_doctor(int argc, char **argv)
{
    struct output output = {.has_colour = text_has_colour(1), .is_first = true};
    int status = parse(argc, argv, &output);
    if (status)
        return status;
    setlocale(LC_CTYPE, "");
    output.is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    doctor_look_at_machine(&facts);
    doctor_look_at_devices(&facts);
    doctor_probe_machine(&facts);
    if (facts.program)
        doctor_look_at_program(&facts);
    if (output.is_json)
        print_devices_as_json();
    else
        print_devices();
    unsigned nr_bad = doctor_judge(&facts, tell, &output);
    if (output.is_json)
        printf("\n  ],\n  \"ready\": %s\n}\n", nr_bad ? "false" : "true");
    else if (nr_bad)
        printf("\nnot ready: %u finding%s in the way%s\n", nr_bad, nr_bad == 1 ? "" : "s",
               facts.uid ? "; what loads modules, or writes to /sys and /etc, is for a root shell (sudo -s)"
                         : "");
    else
        printf("\nready\n");
    return fflush(stdout) ? CLI_FAILED : nr_bad ? DOCTOR_NOT_READY : DOCTOR_READY;
}
