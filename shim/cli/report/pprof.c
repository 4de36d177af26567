/* SPDX-License-Identifier: MIT */
/* A capture as pprof's gzipped profile.proto (github.com/google/pprof, proto/profile.proto), written by hand:
 * the few kinds of fields that it needs are a page of code. Field numbers are the schema's. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <zlib.h>

#include "cli/memory.h"
#include "cli/report/export.h"

/* A message being put together. */
struct message {
    unsigned char *bytes;
    size_t len, room;
};

/* The string table: each string once, by number; 0 is "". */
struct string {
    char *text;
    int64_t index;
    UT_hash_handle hh;
};

/* A function or a location, by the symbol it stands for. */
struct numbered {
    const void *key;
    uint64_t id;
    UT_hash_handle hh;
};

struct profile {
    struct message message;
    struct message strings;
    struct string *known_strings;
    struct numbered *locations;
    int64_t nr_strings;
    uint64_t nr_locations;
};

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static void put_byte(struct message *message, unsigned char byte)
{
    message->bytes = memory_grow(message->bytes, &message->room, message->len + 1, 1);
    message->bytes[message->len++] = byte;
}

static void put_varint(struct message *message, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(message, (unsigned char)(value | 0x80));
    put_byte(message, (unsigned char)value);
}

static void put_number(struct message *message, unsigned field, uint64_t value)
{
    put_varint(message, field << 3 | WIRE_VARINT);
    put_varint(message, value);
}

static void put_bytes(struct message *message, unsigned field, const void *bytes, size_t len)
{
    put_varint(message, field << 3 | WIRE_BYTES);
    put_varint(message, len);
    for (size_t i = 0; i < len; i++)
        put_byte(message, ((const unsigned char *)bytes)[i]);
}

/* Adds the message `part` as a field, and empties it. */
static void put_message(struct message *message, unsigned field, struct message *part)
{
    put_bytes(message, field, part->bytes, part->len);
    free(part->bytes);
    *part = (struct message){0};
}

static int64_t string_of(struct profile *profile, const char *text)
{
    struct string *string;
    HASH_FIND_STR(profile->known_strings, text, string);
    if (!string) {
        string = memory_take(sizeof(*string));
        string->text = strdup(text);
        string->index = profile->nr_strings++;
        HASH_ADD_KEYPTR(hh, profile->known_strings, string->text, strlen(string->text), string);
        put_bytes(&profile->strings, 6, text, strlen(text));
    }
    return string->index;
}

static uint64_t id_of(struct numbered **table, const void *key, uint64_t *last, bool *is_new)
{
    struct numbered *entry;
    HASH_FIND_PTR(*table, &key, entry);
    *is_new = !entry;
    if (!entry) {
        entry = memory_take(sizeof(*entry));
        entry->key = key;
        entry->id = ++*last;
        HASH_ADD_PTR(*table, key, entry);
    }
    return entry->id;
}

static void value_type(struct profile *profile, unsigned field, const char *type, const char *unit)
{
    struct message part = {0};
    put_number(&part, 1, (uint64_t)string_of(profile, type));
    put_number(&part, 2, (uint64_t)string_of(profile, unit));
    put_message(&profile->message, field, &part);
}

/* One function and one location for each symbol: lines are what a person looks for. */
static uint64_t location_of(struct profile *profile, const struct symbol *symbol)
{
    bool is_new;
    uint64_t id = id_of(&profile->locations, symbol, &profile->nr_locations, &is_new);
    struct message function = {0}, line = {0}, location = {0};
    if (!is_new)
        return id;
    put_number(&function, 1, id);
    put_number(&function, 2, (uint64_t)string_of(profile, symbol->function));
    put_number(&function, 3, (uint64_t)string_of(profile, symbol->function));
    put_number(&function, 4, (uint64_t)string_of(profile, symbol->file ? symbol->file : ""));
    put_message(&profile->message, 5, &function);
    put_number(&line, 1, id);
    put_number(&line, 2, (uint64_t)symbol->line);
    put_number(&location, 1, id);
    put_message(&location, 4, &line);
    put_message(&profile->message, 4, &location);
    return id;
}

static void put_sample(struct profile *profile, const struct view_row *row)
{
    struct message sample = {0}, packed = {0}, label = {0};
    const uint64_t values[] = {row->at.mappings, row->at.pinned + row->at.app_pinned, row->group->peak,
                               row->maps + row->app_maps};
    for (size_t i = 0; i < row->stack.nr; i++)
        put_varint(&packed, location_of(profile, row->stack.symbols[i]));
    put_message(&sample, 1, &packed);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        put_varint(&packed, values[i]);
    put_message(&sample, 2, &packed);
    if (row->label[0]) {
        put_number(&label, 1, (uint64_t)string_of(profile, "label"));
        put_number(&label, 2, (uint64_t)string_of(profile, row->label));
        put_message(&sample, 3, &label);
    }
    put_message(&profile->message, 2, &sample);
}

static void build(struct profile *profile, const struct view *view)
{
    string_of(profile, "");
    value_type(profile, 1, "pinned_objects", "count");
    value_type(profile, 1, "pinned_space", "bytes");
    value_type(profile, 1, "peak_pinned", "bytes");
    value_type(profile, 1, "map_calls", "count");
    for (size_t i = 0; i < view->nr_rows; i++)
        put_sample(profile, &view->rows[i]);
    put_number(&profile->message, 9, view->model.start_wall_ns);
    put_number(&profile->message, 10, view->model.end_ns);
    value_type(profile, 11, "space", "bytes");
    put_number(&profile->message, 12, 1);
    put_number(&profile->message, 14, (uint64_t)string_of(profile, "pinned_space"));
    for (size_t i = 0; i < profile->strings.len; i++)
        put_byte(&profile->message, profile->strings.bytes[i]);
}

static void forget(struct profile *profile)
{
    struct string *string, *next_string;
    struct numbered *entry, *next;
    HASH_ITER(hh, profile->known_strings, string, next_string)
    {
        HASH_DEL(profile->known_strings, string);
        free(string->text);
        free(string);
    }
    HASH_ITER(hh, profile->locations, entry, next)
    {
        HASH_DEL(profile->locations, entry);
        free(entry);
    }
    free(profile->message.bytes);
    free(profile->strings.bytes);
}

static int write_gzip(const struct message *message, FILE *to)
{
    unsigned char out[16384];
    z_stream stream = {.next_in = message->bytes, .avail_in = (uInt)message->len};
    int result;
    if (message->len > UINT32_MAX)
        return -EFBIG;
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    do {
        stream.next_out = out;
        stream.avail_out = sizeof(out);
        result = deflate(&stream, Z_FINISH);
        fwrite(out, 1, sizeof(out) - stream.avail_out, to);
    } while (result == Z_OK);
    deflateEnd(&stream);
    return result == Z_STREAM_END ? 0 : -EIO;
}

int export_pprof(const struct view *view, FILE *to)
{
    struct profile profile = {0};
    build(&profile, view);
    int error = write_gzip(&profile.message, to);
    forget(&profile);
    return error;
}
