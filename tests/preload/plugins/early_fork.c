/* SPDX-License-Identifier: MIT */
/* Registers its fork handlers in its constructor, before the program allocates anything; they allocate. */
#include <pthread.h>
#include <stdlib.h>

static void allocate(void)
{
    for (size_t size = 16; size <= (size_t)8 << 20; size *= 2)
        free(malloc(size));
}

__attribute__((constructor)) static void start(void)
{
    pthread_atfork(allocate, allocate, allocate);
}
