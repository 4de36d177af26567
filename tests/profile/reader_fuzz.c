/* SPDX-License-Identifier: MIT */
/* Damages a capture in many ways, from fixed seeds, and replays each: reader_fuzz CAPTURE SCRATCH ROUNDS. A
 * block whose bytes were changed gets its checksum mended in half of the rounds, so that the records' own
 * checks are reached. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "cli/report/model.h"

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void mend(unsigned char *bytes, size_t len)
{
    for (size_t at = 0; at + sizeof(struct block_header) <= len; at += CAPTURE_BLOCK) {
        struct block_header *header = (struct block_header *)(bytes + at);
        if (header->magic != BLOCK_SEALED || header->length > len - at - sizeof(*header))
            continue;
        header->crc = 0;
        header->crc = (uint32_t)crc32(0, bytes + at, (uInt)(sizeof(*header) + header->length));
    }
}

static void damage(unsigned char *bytes, size_t *len)
{
    unsigned nr = 1 + (unsigned)(next_random() % 40);
    for (unsigned i = 0; i < nr; i++) {
        size_t at = next_random() % *len;
        if (next_random() % 4 == 0) /* near the beginning, where modules and sites are */
            at %= 4096 < *len ? 4096 : *len;
        bytes[at] = next_random() % 2 ? (unsigned char)next_random()
                                      : bytes[at] ^ (unsigned char)(1u << next_random() % 8);
    }
    if (next_random() % 4 == 0)
        *len = 1 + next_random() % *len;
    if (next_random() % 2)
        mend(bytes, *len);
}

int main(int argc, char **argv)
{
    static unsigned char whole[1 << 20], bytes[1 << 20];
    FILE *from = argc > 3 ? fopen(argv[1], "rb") : NULL;
    size_t len = from ? fread(whole, 1, sizeof(whole), from) : 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 0, read = 0;
    if (!len)
        return 2;
    for (int round = 1; round <= rounds; round++) {
        struct model model;
        size_t part = len < 200000 ? len : 200000; /* enough blocks, quickly */
        seed = (uint64_t)round * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(bytes, whole, part);
        damage(bytes, &part);
        FILE *to = fopen(argv[2], "wb");
        if (!to || fwrite(bytes, 1, part, to) != part || fclose(to) != 0)
            return 2;
        if (model_scan(&model, argv[2], (enum model_moment)(round % 3), 1000000) == 0) {
            model_replay(&model, argv[2]);
            read++;
        }
        model_free(&model);
    }
    printf("%d of %d damaged captures could be read in part\n", read, rounds);
    return read ? 0 : 1;
}
