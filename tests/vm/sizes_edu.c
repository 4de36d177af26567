/* SPDX-License-Identifier: MIT */
/*
 * Buffers of 1 byte to 64 MiB, of every allocator function, are read and written by a device through the
 * IOVAs that anydma gives: right data, nothing written beside them, IOVA == address. Runs in the VM:
 * sizes_edu BDF-of-edu edu takes 100 ms a command: below 128 KiB every byte makes the way, above it samples
 * of the first, last and middle pages.
 */
#include "check.h"
#include "edu.h"

#include <malloc.h>
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, WHOLE_LIMIT = 128 * KIB, SAMPLE_BYTES = 509, MAX_SAMPLES = 8 };

static struct vfio_device dev;

struct buffer {
    const char *from;    /* the function that it came from */
    unsigned char *data; /* NULL: could not be had */
    size_t bytes;
};

/* RAM to device to RAM: `to` gets what `from` holds. Both are one run of IOVAs here, since they are identity.
 */
static int copy_by_device(unsigned char *to, const unsigned char *from, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t piece = bytes - done < EDU_MAX_BYTES ? bytes - done : EDU_MAX_BYTES;
        uint64_t source, target;
        int rc = anydma_iova_range(from + done, piece, &source);
        if (rc == 0)
            rc = anydma_iova_range(to + done, piece, &target);
        if (rc == 0)
            rc = edu_load(&dev, source, 0, piece);
        if (rc == 0)
            rc = edu_store(&dev, target, 0, piece);
        if (rc < 0)
            return rc;
        done += piece;
    }
    return 0;
}

/* Looks at the IOVA of every page, and by the range interface at all of it. */
static bool is_identity(const struct buffer *buffer)
{
    uint64_t start, base = (uintptr_t)buffer->data;
    int rc = anydma_iova_range(buffer->data, buffer->bytes, &start);
    if (rc < 0 || start != base) {
        printf("     %s(%zu) at %p: anydma_iova_range says %d, IOVA %#lx\n", buffer->from, buffer->bytes,
               (void *)buffer->data, rc, rc < 0 ? 0ul : (unsigned long)start);
        return false;
    }
    for (size_t at = 0; at < buffer->bytes; at += 4096) {
        if (anydma_iova(buffer->data + at) != base + at)
            return false;
    }
    return anydma_iova(buffer->data + buffer->bytes - 1) == base + buffer->bytes - 1;
}

/* Where a large buffer is looked at: its ends, both sides of its middle 2 MiB border, and a few pages
 * between. */
static size_t choose_samples(const struct buffer *buffer, size_t offsets[MAX_SAMPLES])
{
    uintptr_t base = (uintptr_t)buffer->data;
    size_t last = buffer->bytes - SAMPLE_BYTES;
    size_t border = ((base + buffer->bytes / 2) & ~((uintptr_t)2 * MIB - 1)) - base;
    size_t nr = 0;

    offsets[nr++] = 0;
    offsets[nr++] = last;
    offsets[nr++] = last / 3;
    if (border > SAMPLE_BYTES && border < last)
        offsets[nr++] = border - SAMPLE_BYTES / 2; /* one transfer across the border of two granules */
    return nr;
}

static size_t transfer(const struct buffer *out, const struct buffer *in, int *rc)
{
    size_t offsets[MAX_SAMPLES], wrong = 0;
    if (out->bytes <= WHOLE_LIMIT) {
        *rc = copy_by_device(in->data, out->data, out->bytes);
        return *rc < 0 ? 0 : count_different(in->data, out->data, out->bytes);
    }
    size_t nr = choose_samples(out, offsets);
    for (size_t i = 0; i < nr; i++) {
        *rc = copy_by_device(in->data + offsets[i], out->data + offsets[i], SAMPLE_BYTES);
        if (*rc < 0)
            return 0;
        wrong += count_different(in->data + offsets[i], out->data + offsets[i], SAMPLE_BYTES);
        memset(in->data + offsets[i], 0, SAMPLE_BYTES);
    }
    for (size_t i = 0; i < in->bytes; i++)
        wrong += in->data[i] != 0; /* nothing was written beside the samples */
    return wrong;
}

static void check_pair(const struct buffer *out, const struct buffer *in)
{
    static unsigned seed;
    int rc = 0;

    if (!out->data || !in->data) {
        check(false, "%s(%zu) gave no memory", out->from, out->bytes);
        return;
    }
    bool identity = is_identity(out) && is_identity(in);
    fill_pattern(out->data, out->bytes, ++seed);
    memset(in->data, 0, in->bytes);
    size_t wrong = transfer(out, in, &rc);
    check(identity && rc == 0 && wrong == 0,
          "%s(%zu) at %p: identity %s, %s by the device%s%s, %zu bytes wrong", out->from, out->bytes,
          (void *)out->data, identity ? "yes" : "NO", out->bytes <= WHOLE_LIMIT ? "every byte" : "sampled",
          rc ? ": " : "", rc ? strerror(-rc) : "", wrong);
}

/* All sizes are alive at once, so that they share granules; then all are freed and taken anew. */
static void check_malloc_sizes(void)
{
    static const size_t sizes[] = {
        1,           2,       3,           5,        4095,    4096, 4097, 64 * KIB - 1, 64 * KIB + 1,
        2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 16 * MIB, 64 * MIB};
    enum { NR = sizeof(sizes) / sizeof(sizes[0]) };
    struct buffer out[NR], in[NR];

    for (size_t i = 0; i < NR; i++) {
        out[i] = (struct buffer){"malloc", malloc(sizes[i]), sizes[i]};
        in[i] = (struct buffer){"malloc", malloc(sizes[i]), sizes[i]};
    }
    for (size_t i = 0; i < NR; i++)
        check_pair(&out[i], &in[i]);
    for (size_t i = 0; i < NR; i++) {
        free(out[i].data);
        free(in[i].data);
    }
}

static void *new_mapping(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* realloc of a buffer that the device knows already: what it holds moves along, and the device finds it
 * there. */
static void *realloc_after_lookup(size_t from, size_t to)
{
    unsigned char *buf = malloc(from);
    if (!buf || anydma_iova(buf) == ANYDMA_BAD_IOVA)
        return buf;
    fill_pattern(buf, from, 77);
    unsigned char *moved = realloc(buf, to);
    unsigned char *expected = malloc(from);
    if (moved && expected) {
        fill_pattern(expected, from, 77);
        check(memcmp(moved, expected, from < to ? from : to) == 0, "realloc(%zu to %zu) kept the data", from,
              to);
    }
    free(expected);
    return moved;
}

static void *aligned_to_64k(size_t bytes)
{
    void *at = NULL;
    return posix_memalign(&at, 64 * KIB, bytes) == 0 ? at : NULL;
}

static void check_other_functions(void)
{
    struct buffer out[] = {
        {"calloc", calloc(3, 5), 15},
        {"calloc", calloc(4 * MIB, 1), 4 * MIB},
        {"realloc", realloc_after_lookup(100, 20000), 20000},
        {"realloc", realloc_after_lookup(3 * MIB, 9 * MIB), 9 * MIB},
        {"realloc", realloc_after_lookup(9 * MIB, 5000), 5000},
        {"aligned_alloc", aligned_alloc(64, 640), 640},
        {"aligned_alloc", aligned_alloc(2 * MIB, 6 * MIB), 6 * MIB},
        {"posix_memalign", aligned_to_64k(7000), 7000},
        {"mmap", new_mapping(4096), 4096},
        {"mmap", new_mapping(3 * 4096), 3 * 4096},
        {"mmap", new_mapping(32 * MIB), 32 * MIB},
    };
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
        struct buffer in = {out[i].from, malloc(out[i].bytes), out[i].bytes};
        check_pair(&out[i], &in);
        free(in.data);
    }
}

int main(int argc, char **argv)
{
    unsigned faults = dmar_faults();
    if (argc < 2 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 1;
    check_shim_is_there();
    check_malloc_sizes();
    malloc_trim(0);
    check_other_functions();
    check(dmar_faults() == faults, "no DMA fault");
    vfio_device_close(&dev);
    return check_end("sizes_edu");
}
