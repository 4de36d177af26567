/* SPDX-License-Identifier: MIT */
/* The families one after the other, each with a sample or two of every process, as the format wants them. */
#include "cli/metrics.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    const char *name, *type, *unit, *help;
    struct {
        const char *label; /* beside the process's own; NULL: none, or no sample */
        size_t at;         /* of struct live_numbers */
    } samples[4];
} families[] = {
#define AT(field) offsetof(struct live_numbers, field)
    {"anydma_process_pinned_bytes",
     "gauge",
     "bytes",
     "What is pinned now.",
     {{"owner=\"anydma\"", AT(pinned)}, {"owner=\"application\"", AT(app_pinned)}}},
    {"anydma_process_pinned_peak_bytes",
     "gauge",
     "bytes",
     "The most that was pinned.",
     {{"owner=\"anydma\"", AT(pinned_peak)}, {"owner=\"application\"", AT(app_pinned_peak)}}},
    {"anydma_process_registrations", "gauge", NULL, "Ranges that are registered.", {{"", AT(registrations)}}},
    {"anydma_process_mappings",
     "gauge",
     NULL,
     "Mappings of the fullest container.",
     {{"", AT(entries_used)}}},
    {"anydma_process_mappings_limit",
     "gauge",
     NULL,
     "What that container holds at most.",
     {{"", AT(entries_limit)}}},
    {"anydma_process_maps",
     "counter",
     NULL,
     "Calls that mapped.",
     {{"owner=\"anydma\"", AT(maps)}, {"owner=\"application\"", AT(app_maps)}}},
    {"anydma_process_unmaps",
     "counter",
     NULL,
     "Calls that unmapped.",
     {{"owner=\"anydma\"", AT(unmaps)}, {"owner=\"application\"", AT(app_unmaps)}}},
    {"anydma_process_failures",
     "counter",
     NULL,
     "What failed.",
     {{"kind=\"map\"", AT(map_failures)},
      {"kind=\"unmap\"", AT(unmap_failures)},
      {"kind=\"lookup\"", AT(refused)},
      {"kind=\"application\"", AT(app_failures)}}},
#undef AT
};

/* The program's name without its folder; what a label's value can't hold is a question mark. */
static void program_of(const struct process *process, char *name)
{
    const char *command = process->command;
    size_t len = strcspn(command, " "), start = len;
    while (start > 0 && command[start - 1] != '/')
        start--;
    for (; start < len; start++) {
        char c = command[start];
        *name++ = c < ' ' || c > '~' || c == '"' || c == '\\' ? '?' : c;
    }
    *name = '\0';
}

static void print_sample(FILE *to, const char *name, const char *suffix, const struct process *process,
                         const char *label, uint64_t value)
{
    char program[sizeof(process->command) + 1];
    program_of(process, program);
    fprintf(to, "%s%s{pid=\"%" PRIu64 "\",program=\"%s\"%s%s} %" PRIu64 "\n", name, suffix, process->pid,
            program, *label ? "," : "", label, value);
}

static void print_head(FILE *to, const char *name, const char *type, const char *unit, const char *help)
{
    fprintf(to, "# TYPE %s %s\n", name, type);
    if (unit)
        fprintf(to, "# UNIT %s %s\n", name, unit);
    fprintf(to, "# HELP %s %s\n", name, help);
}

void metrics_print(FILE *to, const struct process *processes, size_t nr)
{
    static const char memlock[] = "anydma_process_memlock_limit_bytes";
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        const char *suffix = strcmp(families[f].type, "counter") == 0 ? "_total" : "";
        print_head(to, families[f].name, families[f].type, families[f].unit, families[f].help);
        for (size_t i = 0; i < nr; i++)
            for (size_t s = 0; s < 4 && families[f].samples[s].label; s++) {
                uint64_t value;
                memcpy(&value, (const char *)&processes[i].now + families[f].samples[s].at, sizeof(value));
                if (value != UINT64_MAX) /* no limit */
                    print_sample(to, families[f].name, suffix, &processes[i], families[f].samples[s].label,
                                 value);
            }
    }
    print_head(to, memlock, "gauge", "bytes", "What may be locked.");
    for (size_t i = 0; i < nr; i++)
        if (processes[i].memlock != UINT64_MAX)
            print_sample(to, memlock, "", &processes[i], "", processes[i].memlock);
    fprintf(to, "# EOF\n");
}
