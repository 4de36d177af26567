/* SPDX-License-Identifier: MIT */
/* A library whose constructor may run before the shim's own (loaded behind it) or long after (dlopen):
 * allocates, maps and looks up there, and lets its destructor give it back. Used by lifecycle.c and
 * early_constructor.sh. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "anydma.h"

enum { NR_BLOCKS = 200, MAP_BYTES = 1 << 20 };

static char *blocks[NR_BLOCKS];
static char *mapping;

int early_is_whole(void);
bool early_was_active;
uint64_t early_iova;

__attribute__((constructor)) static void allocate(void)
{
    for (int i = 0; i < NR_BLOCKS; i++) {
        blocks[i] = i % 2 ? calloc(1, (size_t)i * 50 + 1) : realloc(malloc(1), (size_t)i * 500 + 1);
        blocks[i][i] = (char)i;
    }
    mapping = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    early_was_active = anydma_active();
    early_iova = anydma_iova(blocks[7]);
}

int early_is_whole(void)
{
    int whole = mapping != MAP_FAILED && mapping[MAP_BYTES - 1] == 0;
    for (int i = 0; i < NR_BLOCKS; i++)
        whole &= blocks[i][i] == (char)i;
    return whole;
}

__attribute__((destructor)) static void give_back(void)
{
    for (int i = 0; i < NR_BLOCKS; i++)
        free(blocks[i]);
    munmap(mapping, MAP_BYTES);
}
