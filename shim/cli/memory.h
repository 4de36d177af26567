/* SPDX-License-Identifier: MIT */
/* The command's memory: it has nothing better to do than to end when there is none. */
#ifndef CLI_MEMORY_H
#define CLI_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Zeroed; free with free(). */
static inline void *memory_take(size_t len)
{
    void *memory = calloc(1, len ? len : 1);
    if (!memory) {
        fprintf(stderr, "anydma: out of memory\n");
        exit(CLI_FAILED);
    }
    return memory;
}

/* `array` with room for at least `nr` of `size` bytes. */
static inline void *memory_grow(void *array, size_t *room, size_t nr, size_t size)
{
    if (nr <= *room)
        return array;
    *room = nr < 16 ? 16 : nr * 2;
    array = reallocarray(array, *room, size);
    if (!array) {
        fprintf(stderr, "anydma: out of memory\n");
        exit(CLI_FAILED);
    }
    return array;
}

#endif
