/* SPDX-License-Identifier: MIT */
/*
 * A device program that nobody prepared: it opens the device by VFIO's own calls (of the BACKEND that the
 * environment names), knows nothing of anydma, and hands the device addresses, as one does that relies on
 * IOVA == address. edu must reach what malloc gave, blocks that were freed and given out again, and what
 * mmap gave. Plainly every one of these faults. Runs in the guest: edu_identity BDF [own]; with "own" it
 * maps a page of its own first, at its address.
 * @vm ANYDMA_STATS=1 anydma run --mode=eager -- edu_identity $EDU_BDF
 * @vm anydma run -- edu_identity $EDU_BDF own
 * @vm-bed FAULTS=allow edu_identity $EDU_BDF plainly
 */
#include "edu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, PAGE = 4096, PIECE = 2000, NR_ROUNDS = 3 };

static struct vfio_device dev;
static int nr_wrong, nr_copies;

/* edu reads PIECE bytes at one address and writes them at the other, as if addresses were IOVAs. */
static void copy(const char *what, unsigned char *from, unsigned char *to)
{
    static unsigned seed;
    seed++;
    for (int i = 0; i < PIECE; i++)
        from[i] = (unsigned char)(i * 7 + (i >> 8) * 3 + (int)seed);
    memset(to, 0, PIECE);
    bool is_done =
        edu_load(&dev, (uintptr_t)from, 0, PIECE) == 0 && edu_store(&dev, (uintptr_t)to, 0, PIECE) == 0;
    bool is_same = is_done && memcmp(from, to, PIECE) == 0;
    printf("%s %s: %p to %p\n", is_same ? "ok  " : "WRONG", what, (void *)from, (void *)to);
    nr_copies++;
    nr_wrong += !is_same;
}

static void *map_pages(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void copy_between_blocks(void)
{
    static const size_t sizes[] = {PIECE, 64 * KIB, 3 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *from = malloc(sizes[i]), *to = malloc(sizes[i]);
        if (!from || !to)
            exit(2);
        copy("malloc", from + sizes[i] - PIECE, to + (sizes[i] - PIECE) / 2);
        free(from);
        free(to);
    }
}

static int map_a_page(void)
{
    unsigned char *page = map_pages(PAGE);
    int rc = page ? vfio_device_map(&dev, (uintptr_t)page, page, PAGE) : -1;
    if (rc == 0)
        copy("its own page", page, page + PIECE);
    else
        printf("WRONG its own page at %p can't be mapped: %s\n", (void *)page, strerror(-rc));
    return rc;
}

int main(int argc, char **argv)
{
    bool is_plain = argc > 2 && strcmp(argv[2], "plainly") == 0;
    if (argc < 2 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 2;
    if (argc > 2 && !is_plain && map_a_page() < 0)
        return 1;
    unsigned char *mapping = map_pages(5 * MIB), *first = malloc(PIECE);
    if (!mapping || !first)
        return 2;
    copy("mmap", mapping + MIB, mapping + 4 * MIB);
    for (int round = 0; round < NR_ROUNDS; round++)
        copy_between_blocks();
    copy("malloc, the first", first, mapping + 2 * MIB);
    free(first);
    munmap(mapping, 5 * MIB);
    vfio_device_close(&dev);
    printf("%d of %d copies are wrong\n", nr_wrong, nr_copies);
    return is_plain ? nr_wrong != nr_copies : nr_wrong != 0;
}
