/* SPDX-License-Identifier: MIT */
/*
 * Writes and reads back blocks of an NVMe drive from user space, with buffers straight from malloc. The
 * driver is nvme.c. It overwrites the first blocks of the drive.
 *
 *     LD_PRELOAD=libanydma.so.0 nvme_read 0000:00:04.0 [bytes]
 * @vm anydma run -- nvme_read $NVME_BDF
 */
#include "nvme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A different word everywhere and for every seed, so that no page can pass for another. */
static void fill(unsigned char *buf, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++)
        buf[i] = (unsigned char)(i * 7 + (i >> 9) * 13 + (i >> 17) + seed);
}

/* Writes one buffer and reads it into another, both `offset` bytes into what malloc returned. */
static int write_and_read(struct nvme *nvme, size_t bytes, size_t offset)
{
    unsigned char *out_base = malloc(bytes + offset), *in_base = malloc(bytes + offset);
    int rc = -ENOMEM;

    if (out_base && in_base) {
        unsigned char *out = out_base + offset, *in = in_base + offset;
        fill(out, bytes, (unsigned)offset);
        memset(in, 0, bytes);
        rc = nvme_write(nvme, 0, out, bytes);
        if (rc == 0)
            rc = nvme_read(nvme, 0, in, bytes);
        size_t wrong = 0;
        for (size_t i = 0; rc == 0 && i < bytes; i++)
            wrong += in[i] != out[i];
        if (rc == 0)
            printf("%zu bytes written from %p (IOVA %#lx), read to %p: %zu differ\n", bytes, (void *)out,
                   (unsigned long)anydma_iova(out), (void *)in, wrong);
        if (wrong)
            rc = -EIO;
    }
    free(out_base);
    free(in_base);
    return rc;
}

int main(int argc, char **argv)
{
    static const size_t offsets[] = {0, 4, 12, 516, 1}; /* 1: no PRP can say that, the driver copies */
    size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 1 << 20;
    struct nvme nvme;
    int rc = 0;

    if (argc < 2 || bytes == 0) {
        fprintf(stderr, "usage: nvme_read BDF [bytes]\n");
        return 2;
    }
    if (!anydma_active())
        fprintf(stderr,
                "libanydma.so.0 is not loaded: every lookup will fail (use `anydma run --` or LD_PRELOAD)\n");
    if (nvme_open(&nvme, argv[1]) < 0)
        return 1;
    printf("%s: %lu blocks of %zu bytes, %zu KiB a command\n", nvme.model, (unsigned long)nvme.nr_blocks,
           nvme.block_bytes, nvme.max_bytes >> 10);
    for (size_t i = 0; rc == 0 && i < sizeof(offsets) / sizeof(offsets[0]); i++)
        rc = write_and_read(&nvme, bytes, offsets[i]);
    if (rc < 0)
        fprintf(stderr, "nvme_read: %s\n", strerror(-rc));
    nvme_close(&nvme);
    return rc < 0 ? 1 : 0;
}
