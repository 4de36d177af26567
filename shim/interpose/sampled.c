/* SPDX-License-Identifier: MIT */
/* The heap with sampling. An address is forgotten before it is given back: another thread may get it at once.
 */
#include "interpose/sampled.h"

#include "memory/heap.h"
#include "profile/samples.h"

void *sampled_malloc(size_t size)
{
    void *ptr = jem_malloc(size);
    samples_allocated(ptr, size);
    return ptr;
}

void *sampled_calloc(size_t n, size_t size)
{
    void *ptr = jem_calloc(n, size);
    samples_allocated(ptr, ptr ? n * size : 0);
    return ptr;
}

void *sampled_memalign(size_t align, size_t size)
{
    void *ptr = jem_memalign(align, size);
    samples_allocated(ptr, size);
    return ptr;
}

void *sampled_realloc(void *ptr, size_t size)
{
    samples_freed(ptr);
    void *moved = jem_realloc(ptr, size);
    if (size)
        samples_allocated(moved ? moved : ptr, size);
    return moved;
}

void sampled_free(void *ptr)
{
    samples_freed(ptr);
    jem_free(ptr);
}
