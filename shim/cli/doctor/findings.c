/* SPDX-License-Identifier: MIT */
/* Goes through the table: which rows hold, and their texts filled in. */
#include "cli/doctor/findings.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor/rows.h"
#include "cli/text.h"

bool doctor_say(struct doctor_words *words, int at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(words->word[at], DOCTOR_WORD_BYTES, format, args);
    va_end(args);
    return true;
}

bool doctor_say_size(struct doctor_words *words, int at, uint64_t bytes)
{
    char text[32];
    return doctor_say(words, at, "%s", bytes == UINT64_MAX ? "unlimited" : text_size(text, bytes));
}

/* The text of {name}; "" where there is none. */
static const char *filling(const char *name, size_t len, facts_t f, device_t d,
                           const struct doctor_words *words, char *buf, size_t size)
{
    const char *slash = strrchr(f->program_path, '/');
    unsigned digit = (unsigned)(name[0] - '0');
    char group[16] = "GROUP", need[32];
    if (d && d->group >= 0)
        snprintf(group, sizeof(group), "%d", d->group);
    snprintf(need, sizeof(need), "%" PRIu64, f->need);
    const struct {
        const char *name, *text;
    } all[] = {{"bdf", d ? d->bdf : ""},
               {"driver", d ? d->driver : ""},
               {"group", group},
               {"user", f->user},
               {"release", f->release},
               {"confined", f->confined_by},
               {"need", need},
               {"program", f->program ? f->program : ""},
               {"program_path", f->program_path},
               {"program_name", slash ? slash + 1 : ""},
               {"iommu_on", f->is_amd ? "amd_iommu=on" : "intel_iommu=on"}};
    buf[0] = '\0';
    if (digit < DOCTOR_WORDS) {
        snprintf(buf, size, "%s", words->word[digit]);
        /* "{1:colon}": a device number as mknod takes it. */
        for (char *colon = len > 1 ? strchr(buf, ':') : NULL; colon; colon = NULL)
            *colon = ' ';
        return buf;
    }
    if (strncmp(name, "container_mode", len) == 0)
        snprintf(buf, size, "%04o, owner %u:%u", f->container.node.mode, f->container.node.uid,
                 f->container.node.gid);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strlen(all[i].name) == len && strncmp(all[i].name, name, len) == 0)
            snprintf(buf, size, "%s", all[i].text);
    return buf;
}

static void fill(char *out, const char *text, facts_t f, device_t d, const struct doctor_words *words)
{
    size_t at = 0;
    out[0] = '\0';
    while (text && *text && at < DOCTOR_TEXT_BYTES - 1) {
        size_t len = *text == '{' ? strspn(text + 1, "abcdefghijklmnopqrstuvwxyz_0123456789:") : 0;
        if (len && text[1 + len] == '}') {
            char word[PATH_MAX];
            at += (size_t)snprintf(out + at, DOCTOR_TEXT_BYTES - at, "%s",
                                   filling(text + 1, len, f, d, words, word, sizeof(word)));
            text += len + 2;
        } else {
            out[at++] = *text++;
            out[at] = '\0';
        }
    }
}

struct teller {
    void (*tell)(const struct doctor_finding *finding, void *arg);
    void *arg;
    unsigned nr_bad;
};

static void judge(const struct doctor_row *row, facts_t f, device_t d, struct teller *teller)
{
    const char *told = "";
    for (; row->id; row++) {
        struct doctor_words words = {0};
        if (strcmp(told, row->topic) == 0 || !row->holds(f, d, &words))
            continue;
        told = row->topic;
        struct doctor_finding finding = {.row = row, .device = d};
        fill(finding.fact, row->fact, f, d, &words);
        fill(finding.now, row->now, f, d, &words);
        fill(finding.good, row->good, f, d, &words);
        teller->nr_bad += row->level == DOCTOR_BAD;
        teller->tell(&finding, teller->arg);
    }
}

unsigned doctor_judge(struct doctor_facts *facts, void (*tell)(const struct doctor_finding *, void *),
                      void *arg)
{
    struct teller teller = {tell, arg, 0};
    if (facts->program)
        judge(doctor_program_rows, facts, NULL, &teller);
    judge(doctor_machine_rows, facts, NULL, &teller);
    for (unsigned i = 0; i < facts->nr_devices; i++) {
        struct doctor_device *device = &facts->devices[i];
        if (facts->bdf ? strcmp(facts->bdf, device->bdf) != 0 : !doctor_is_bound(device))
            continue;
        doctor_probe_device(facts, device);
        judge(doctor_device_rows, facts, device, &teller);
    }
    return teller.nr_bad;
}
