/* SPDX-License-Identifier: MIT */
/*
 * Reads a capture (anydma-capture(5)), of this machine or another, whole or damaged: every block is checked,
 * every number bounded, and what can't be trusted is skipped and counted. Memory: one block.
 */
#ifndef CLI_READER_H
#define CLI_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/format.h"

enum { READER_MAX_FIELDS = CAPTURE_MAX_FRAMES + 8, READER_MAX_TEXTS = 3 };

/* One record: its numbers and strings in the order of format.h. Numbers that it lacks are 0. */
struct reader_event {
    enum record_type type;
    uint64_t time_ns;                  /* monotonic; of the block, where the record has none of its own */
    uint64_t field[READER_MAX_FIELDS]; /* without the time */
    unsigned nr_fields;
    const char *text[READER_MAX_TEXTS]; /* not terminated */
    size_t text_len[READER_MAX_TEXTS];
};

struct reader_health {
    uint64_t blocks;
    uint64_t damaged;     /* blocks or records that don't check */
    uint64_t missing;     /* by their sequence numbers */
    uint64_t unsealed;    /* being written when the file was read, or when the process was killed */
    uint64_t lost_events; /* the disk was full, and the like */
    int lost_error;
    bool is_cut;      /* the file ends within a block */
    bool is_orderly;  /* the process came to its exit */
    bool is_snapshot; /* a copy, made while the process ran */
};

/* Calls `each` for every record in order until it returns false. Returns 0; -errno; -EPROTO: not a capture,
 * or of a later version. */
int reader_read(const char *path, bool (*each)(void *arg, const struct reader_event *event), void *arg,
                struct reader_health *health);

#endif
