/* SPDX-License-Identifier: MIT */
/* One record being put together: numbers as LEB128, strings as length and bytes. What does not fit is cut. */
#ifndef PROFILE_RECORD_H
#define PROFILE_RECORD_H

#include <stdint.h>
#include <string.h>

#include "profile/format.h"

struct record {
    size_t len;
    unsigned char bytes[CAPTURE_MAX_RECORD];
};

enum { RECORD_HEAD = 3 }; /* the type, and the length in two bytes */

static inline void record_begin(struct record *record, enum record_type type)
{
    record->bytes[0] = (unsigned char)type;
    record->len = RECORD_HEAD;
}

static inline void record_number(struct record *record, uint64_t value)
{
    if (record->len + 10 > sizeof(record->bytes))
        return;
    for (; value >= 0x80; value >>= 7)
        record->bytes[record->len++] = (unsigned char)(value | 0x80);
    record->bytes[record->len++] = (unsigned char)value;
}

static inline void record_bytes(struct record *record, const void *data, size_t len)
{
    size_t room = sizeof(record->bytes) - record->len;
    if (room < 12)
        return;
    len = len < room - 10 ? len : room - 10;
    record_number(record, len);
    memcpy(record->bytes + record->len, data, len);
    record->len += len;
}

static inline void record_text(struct record *record, const char *text)
{
    record_bytes(record, text, strlen(text));
}

/* The length, as an LEB128 number of two bytes. */
static inline void record_end(struct record *record)
{
    size_t len = record->len - RECORD_HEAD;
    record->bytes[1] = (unsigned char)(len | 0x80);
    record->bytes[2] = (unsigned char)(len >> 7);
}

#endif
