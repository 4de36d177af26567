/* SPDX-License-Identifier: MIT */
/* Writes a capture of a program that never was: generate FILE EVENTS SITES. Maps and unmaps of MAX_LIVE
 * ranges at most, from as many call sites as asked for, with return addresses in this program's own code and
 * libraries, how much of each range is used, samples and what frees them among them. Prints what a report of it has to find. */
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "profile/record.h"

#define WINDOW (UINT64_C(1) << 37) /* IOVAs are other than addresses */

enum { MAX_LIVE = 20000, DEPTH = 12, MAX_MODULES = 64, RANGE_BYTES = 2 << 20, STEP_NS = 5000 };

static struct {
    FILE *file;
    unsigned char bytes[CAPTURE_BLOCK];
    struct block_header *header;
    uint32_t sequence;
} out;

static struct {
    uint64_t start, end;
} modules[MAX_MODULES];
static unsigned nr_modules;
static uint64_t now_ns = 1000000000;

static uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static void begin_block(void)
{
    memset(out.bytes, 0, sizeof(out.bytes));
    out.header = (struct block_header *)out.bytes;
    *out.header = (struct block_header){.magic = BLOCK_SEALED, .sequence = out.sequence++, .time_ns = now_ns};
}

/* All blocks but the last are whole. */
static void end_block(int is_last)
{
    size_t used = sizeof(*out.header) + out.header->length;
    out.header->crc = (uint32_t)crc32(0, out.bytes, (uInt)used);
    if (fwrite(out.bytes, is_last ? used : sizeof(out.bytes), 1, out.file) != 1)
        exit(1);
}

static void put(struct record *record)
{
    record_end(record);
    memcpy(out.bytes + sizeof(*out.header) + out.header->length, record->bytes, record->len);
    out.header->length += (uint32_t)record->len;
}

/* The block that the record goes to is the current one from here on. */
static void begin(struct record *record, enum record_type type, int has_time)
{
    now_ns += STEP_NS;
    if (sizeof(*out.header) + out.header->length + CAPTURE_MAX_RECORD > CAPTURE_BLOCK) {
        end_block(0);
        begin_block();
    }
    record_begin(record, type);
    if (has_time)
        record_number(record, now_ns - out.header->time_ns);
}

static void put_numbers(enum record_type type, const uint64_t *numbers, unsigned nr)
{
    struct record record;
    begin(&record, type, 1);
    for (unsigned i = 0; i < nr; i++)
        record_number(&record, numbers[i]);
    put(&record);
}

static void put_process(void)
{
    struct record record;
    const uint64_t numbers[] = {CAPTURE_VERSION, 4711, 1, 0, now_ns, 4096, UINT64_MAX, 2 << 20};
    begin(&record, RECORD_PROCESS, 0);
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        record_number(&record, numbers[i]);
    record_text(&record, "/generated");
    record_text(&record, "generated");
    record_text(&record, "test");
    put(&record);
}

/* The build-id among the object's notes. */
static size_t find_build_id(const struct dl_phdr_info *object, const unsigned char **id)
{
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        const unsigned char *at = (const unsigned char *)(object->dlpi_addr + header->p_vaddr),
                            *end = at + header->p_memsz;
        while (header->p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const unsigned char *name = at + sizeof(*note);
            *id = name + ((note->n_namesz + 3) & ~3u);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(name, "GNU", 4) == 0)
                return note->n_descsz;
            at = *id + ((note->n_descsz + 3) & ~3u);
        }
    }
    return 0;
}

static int put_module(struct dl_phdr_info *object, size_t size, void *arg)
{
    char self[256] = "";
    const unsigned char *id = NULL;
    size_t id_len = find_build_id(object, &id);
    if (!object->dlpi_name[0] && readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return 1;
    for (int i = 0; id_len && i < object->dlpi_phnum && nr_modules < MAX_MODULES; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        struct record record;
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X) ||
            (!self[0] && object->dlpi_name[0] != '/'))
            continue;
        modules[nr_modules].start = object->dlpi_addr + header->p_vaddr;
        modules[nr_modules].end = modules[nr_modules].start + header->p_memsz;
        begin(&record, RECORD_MODULE, 0);
        record_number(&record, modules[nr_modules].start);
        record_number(&record, modules[nr_modules].end);
        record_number(&record, header->p_offset);
        record_bytes(&record, id, id_len);
        record_text(&record, self[0] ? self : object->dlpi_name);
        put(&record);
        nr_modules++;
    }
    return 0;
}

static void put_site(uint64_t id)
{
    struct record record;
    begin(&record, RECORD_SITE, 0);
    record_number(&record, id);
    record_number(&record, DEPTH);
    for (int i = 0; i < DEPTH; i++) {
        unsigned module = (unsigned)(next_random() % nr_modules);
        record_number(&record,
                      modules[module].start + next_random() % (modules[module].end - modules[module].start));
    }
    record_text(&record, "");
    put(&record);
}

int main(int argc, char **argv)
{
    static uint64_t live[MAX_LIVE]; /* the site of the range, 0: not mapped */
    unsigned long events = argc > 3 ? strtoul(argv[2], NULL, 10) : 0,
                  sites = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    uint64_t pinned = 0, peak = 0, maps = 0, unmaps = 0, told = 0;
    out.file = argc > 3 ? fopen(argv[1], "wb") : NULL;
    if (!out.file || !events || !sites)
        return 2;
    begin_block();
    put_process();
    dl_iterate_phdr(put_module, NULL);
    put_numbers(RECORD_ATTACH, (uint64_t[]){0, 65535, 0, (UINT64_C(1) << 39) - 1}, 4);
    for (unsigned long n = 0; n < events; n++) {
        unsigned i = (unsigned)(next_random() % MAX_LIVE);
        uint64_t va = (UINT64_C(1) << 38) + (uint64_t)i * RANGE_BYTES;
        if (live[i]) {
            put_numbers(RECORD_UNMAP, (uint64_t[]){1, live[i], 0, 0, va - WINDOW, RANGE_BYTES, 900, 0}, 8);
            put_numbers(RECORD_FREED, (uint64_t[]){va + 64}, 1);
            live[i] = 0;
            pinned -= RANGE_BYTES;
            unmaps++;
        } else {
            live[i] = told < sites ? told + 1 : 1 + next_random() % sites;
            if (told < sites)
                put_site(++told);
            put_numbers(RECORD_MAP, (uint64_t[]){1, live[i], 0, 0, va, RANGE_BYTES, va - WINDOW, 1500, 0, 1},
                        10);
            put_numbers(RECORD_USED, (uint64_t[]){va, RANGE_BYTES, 4096, 0, 0, USE_HAS_FREE}, 6);
            put_numbers(RECORD_SAMPLE, (uint64_t[]){1, live[i], va + 64, 4096, 2 << 20}, 5);
            pinned += RANGE_BYTES;
            maps++;
        }
        peak = pinned > peak ? pinned : peak;
    }
    put_numbers(RECORD_END, NULL, 0);
    end_block(1);
    printf("{\"pinned\": %lu, \"peak\": %lu, \"maps\": %lu, \"unmaps\": %lu, \"sites\": %lu}\n", pinned, peak,
           maps, unmaps, told);
    return fclose(out.file) != 0;
}
