/* SPDX-License-Identifier: MIT */
/*
 * What a driver does that is written against another library: blocks of an NVMe drive, from and to memory straight from
 * malloc and mmap, on the stack and in variables, each written, read back and compared. The library's own answer for such
 * memory is a refusal.
 */
#ifndef TESTS_VM_BRIDGES_H
#define TESTS_VM_BRIDGES_H

#include "nvme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST_BYTES = 1 << 20, NR_BUFFERS = 80 };

static struct nvme nvme;
static unsigned nr_moved, nr_refused, nr_wrong;

static void fill(unsigned char *memory, size_t bytes, size_t seed)
{
    for (size_t i = 0; i < bytes; i++)
        memory[i] = (unsigned char)(i * 7 + (i >> 9) * 13 + (i >> 17) + seed);
}

/* Writes one and reads it into the other. */
static void move(unsigned char *out, unsigned char *in, size_t bytes, size_t seed)
{
    fill(out, bytes, seed);
    memset(in, 0, bytes);
    if (nvme_write(&nvme, seed % 7, out, bytes) != 0 || nvme_read(&nvme, seed % 7, in, bytes) != 0)
        nr_refused++;
    else if (memcmp(out, in, bytes) != 0)
        nr_wrong++;
    else
        nr_moved++;
}

static void move_of_malloc(size_t bytes, size_t offset)
{
    unsigned char *out = malloc(bytes + offset), *in = malloc(bytes + offset);
    if (out && in)
        move(out + offset, in + offset, bytes, bytes + offset);
    free(out);
    free(in);
}

static void move_of_mmap(size_t bytes, size_t offset)
{
    unsigned char *both =
        mmap(NULL, 3 * MOST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (both == MAP_FAILED)
        return;
    move(both + offset, both + 3 * MOST_BYTES / 2 + offset, bytes, bytes + offset);
    munmap(both, 3 * MOST_BYTES);
}

static void move_of_stack(size_t bytes, size_t offset)
{
    unsigned char out[bytes + offset], in[bytes + offset];
    move(out + offset, in + offset, bytes, bytes + offset);
}

/* Pieces of it are known already from smaller ones. The first page may be one that .data's end lies in, which is the file's. */
static void move_of_variables(size_t bytes, size_t offset)
{
    static unsigned char memory[2][MOST_BYTES + 2 * NVME_PAGE_BYTES];
    unsigned char *out = memory[0] + NVME_PAGE_BYTES, *in = memory[1] + NVME_PAGE_BYTES;
    move(out + offset, in + offset, bytes, bytes + offset);
}

/* The program: BDF [plainly]. With "plainly" every buffer must be refused. Returns its exit status. */
__attribute__((unused)) static int move_everything(int argc, char **argv, const struct nvme_memory *memory)
{
    static const size_t sizes[] = {512, 4096, 4608, 65536, MOST_BYTES}, offsets[] = {0, 4, 516, 4092};
    bool is_plain = argc > 2 && strcmp(argv[2], "plainly") == 0;
    if (getenv("BACKEND") && strcmp(getenv("BACKEND"), "iommufd") == 0) {
        puts("the stand-in maps by VFIO's containers");
        return 77;
    }
    if (argc < 2 || nvme_open_with(&nvme, argv[1], memory) != 0)
        return 1;
    printf("%s is open, its queues in the library's memory\n", nvme.model);
    fflush(stdout);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t o = 0; o < sizeof(offsets) / sizeof(*offsets); o++) {
            move_of_malloc(sizes[s], offsets[o]);
            move_of_mmap(sizes[s], offsets[o]);
            move_of_stack(sizes[s], offsets[o]);
            move_of_variables(sizes[s], offsets[o]);
        }
    printf("of %d buffers %u were written, read and equal, %u refused, %u wrong\n", NR_BUFFERS, nr_moved,
           nr_refused, nr_wrong);
    nvme_close(&nvme);
    return nr_wrong || (is_plain ? nr_moved : nr_refused) || nr_moved + nr_refused != NR_BUFFERS;
}

#endif
