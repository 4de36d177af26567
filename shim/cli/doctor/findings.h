/* SPDX-License-Identifier: MIT */
/* What the doctor concludes: one row of a table for each thing that can be found, good or bad. */
#ifndef CLI_DOCTOR_FINDINGS_H
#define CLI_DOCTOR_FINDINGS_H

#include <stddef.h>

#include "cli/doctor/facts.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_BAD };

/* What a row's check fills its texts with: {0} to {3}. {bdf}, {group}, {user}, {path}, {iommu} and the like are filled in for
 * all (findings.c). */
enum { DOCTOR_WORDS = 4, DOCTOR_WORD_BYTES = 400 };
struct doctor_words {
    char word[DOCTOR_WORDS][DOCTOR_WORD_BYTES];
};

struct doctor_row {
    const char *topic; /* of the rows of a topic that stand together the first one that holds is told */
    const char *id;
    enum doctor_level level;
    /* Whether it is so. `device` is NULL in a row about the machine. */
    bool (*holds)(const struct doctor_facts *facts, const struct doctor_device *device,
                  struct doctor_words *words);
    const char *fact;
    const char *now;  /* what to paste to mend it until the next boot; NULL: nothing does */
    const char *good; /* the same for good */
};

extern const struct doctor_row doctor_machine_rows[], doctor_device_rows[],
    doctor_program_rows[]; /* up to one without an id */

enum { DOCTOR_TEXT_BYTES = 1600 };
struct doctor_finding {
    const struct doctor_row *row;
    const struct doctor_device *device;
    char fact[DOCTOR_TEXT_BYTES], now[DOCTOR_TEXT_BYTES], good[DOCTOR_TEXT_BYTES]; /* "": none */
};

/* Calls back for each finding: the program's, the machine's, then those of the device asked for, or of each that vfio-pci has.
 * Returns how many are DOCTOR_BAD. */
unsigned doctor_judge(struct doctor_facts *facts,
                      void (*tell)(const struct doctor_finding *finding, void *arg), void *arg);

#endif
