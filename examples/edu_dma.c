/* SPDX-License-Identifier: MIT */
/*
 * The smallest use of anydma: malloc a buffer, ask where a device finds it, let the device copy it, compare.
 *
 *     LD_PRELOAD=libanydma.so.0 edu_dma 0000:00:03.0 [bytes]
 *
 * Nothing here pins or maps memory. The device (QEMU's edu) can only move 4 KiB a command, at 100 ms each and
 * two commands a piece: 64 KiB take about 4 s, 1 MiB about a minute.
 * @vm anydma run -- edu_dma $EDU_BDF
 */
#include "anydma.h"
#include "edu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies one run of IOVAs to another through the device's own memory, piece by piece. */
static int copy_run(const struct vfio_device *dev, uint64_t to, uint64_t from, uint64_t len)
{
    for (uint64_t done = 0; done < len;) {
        size_t piece = len - done < EDU_MAX_BYTES ? len - done : EDU_MAX_BYTES;
        int rc = edu_load(dev, from + done, 0, piece);
        if (rc == 0)
            rc = edu_store(dev, to + done, 0, piece);
        if (rc < 0)
            return rc;
        done += piece;
    }
    return 0;
}

/* Memory may reach the device as several runs of IOVAs: take the shorter of what is left of a run on either
 * side. */
static int copy_by_device(const struct vfio_device *dev, char *to, const char *from, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        struct anydma_segment source, target;
        int rc = anydma_segments(from + done, bytes - done, &source, 1);
        if (rc > 0)
            rc = anydma_segments(to + done, bytes - done, &target, 1);
        if (rc < 0)
            return rc;
        uint64_t run = source.len < target.len ? source.len : target.len;
        rc = copy_run(dev, target.iova, source.iova, run);
        if (rc < 0)
            return rc;
        done += run;
    }
    return 0;
}

static int demonstrate(const struct vfio_device *dev, size_t bytes)
{
    char *from = malloc(bytes), *to = malloc(bytes);
    if (!from || !to)
        return perror("malloc"), 1;
    for (size_t i = 0; i < bytes; i++)
        from[i] = (char)(i * 31 + (i >> 12));
    memset(to, 0, bytes);

    printf("from %p at IOVA %#lx\nto   %p at IOVA %#lx\n", (void *)from, (unsigned long)anydma_iova(from),
           (void *)to, (unsigned long)anydma_iova(to));
    int rc = copy_by_device(dev, to, from, bytes);
    if (rc < 0) {
        fprintf(stderr, "the copy failed: %s\n", strerror(-rc));
        return 1;
    }
    int equal = memcmp(from, to, bytes) == 0;
    printf("%zu bytes copied by the device: %s\n", bytes, equal ? "equal" : "DIFFERENT");
    free(from);
    free(to);
    return equal ? 0 : 1;
}

int main(int argc, char **argv)
{
    size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 64 << 10;
    struct vfio_device dev;

    if (argc < 2 || bytes == 0) {
        fprintf(stderr, "usage: edu_dma BDF [bytes]\n");
        return 2;
    }
    if (!anydma_active())
        fprintf(stderr,
                "libanydma.so.0 is not loaded: every lookup will fail (use `anydma run --` or LD_PRELOAD)\n");
    if (vfio_device_open(&dev, argv[1]) < 0)
        return 1;
    int status = edu_check(&dev) < 0 ? 1 : demonstrate(&dev, bytes);
    vfio_device_close(&dev);
    return status;
}
