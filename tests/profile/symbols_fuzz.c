/* SPDX-License-Identifier: MIT */
/* Damages a program in many ways, from fixed seeds, and names addresses in each as a report would:
 * symbols_fuzz PROGRAM SCRATCH ROUNDS. Headers and debug information are hit more often than code. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/symbols.h"

enum { MOST_BYTES = 1 << 20, NR_ADDRESSES = 60, CODE_AT = 0x1000, CODE_BYTES = 0x1000 };

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void damage(unsigned char *bytes, size_t *len)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)bytes;
    uint64_t tables[] = {0, header->e_phoff, header->e_shoff, *len / 2};
    unsigned nr = 1 + (unsigned)(next_random() % 12);
    for (unsigned i = 0; i < nr; i++) {
        size_t at = next_random() % *len;
        if (next_random() % 2)
            at = (tables[next_random() % 4] + at % 1024) % *len;
        bytes[at] = next_random() % 2 ? (unsigned char)next_random()
                                      : bytes[at] ^ (unsigned char)(1u << next_random() % 8);
    }
    if (next_random() % 8 == 0)
        *len = 1 + next_random() % *len;
}

/* How many of the addresses got the name of a function. */
static unsigned name_all(const struct model_module *module)
{
    struct symbols *symbols = symbols_open();
    unsigned named = 0;
    for (int i = 0; i < NR_ADDRESSES; i++) {
        const struct symbol *found;
        struct model_frame frame = {.address = module->start + CODE_AT + next_random() % CODE_BYTES,
                                    .module = module};
        size_t nr = symbols_at(symbols, &frame, &found);
        for (size_t n = 0; n < nr; n++)
            named += found[n].is_named && found[n].function[0];
    }
    symbols_close(symbols);
    return named;
}

/* The build-id of the whole program, which a report compares. */
static void take_build_id(struct model_module *module, const unsigned char *bytes, size_t len)
{
    static const unsigned char note[] = {4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0};
    for (size_t at = 0; at + sizeof(note) + 20 <= len; at++)
        if (memcmp(bytes + at, note, sizeof(note)) == 0) {
            module->build_id_len = 20;
            memcpy(module->build_id, bytes + at + sizeof(note), 20);
            return;
        }
}

int main(int argc, char **argv)
{
    static unsigned char whole[MOST_BYTES], bytes[MOST_BYTES];
    FILE *from = argc > 3 ? fopen(argv[1], "rb") : NULL;
    size_t len = from ? fread(whole, 1, sizeof(whole), from) : 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 0;
    unsigned long named = 0;
    struct model_module module = {.start = 0x400000, .path = argc > 3 ? argv[2] : NULL};
    if (!len || len == sizeof(whole))
        return 2;
    fclose(from);
    module.end = module.start + len;
    take_build_id(&module, whole, len);
    for (int round = 0; round <= rounds; round++) {
        size_t part = len;
        seed = (uint64_t)(round + 1) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(bytes, whole, len);
        if (round) /* the first is whole */
            damage(bytes, &part);
        FILE *to = fopen(argv[2], "wb");
        if (!to || fwrite(bytes, 1, part, to) != part || fclose(to) != 0)
            return 2;
        unsigned now = name_all(&module);
        if (!round && !now)
            return 1;
        named += now;
    }
    printf("%lu names in %d damaged programs\n", named, rounds);
    return 0;
}
