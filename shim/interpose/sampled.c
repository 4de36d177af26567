/* SPDX-License-Identifier: MIT */
/* The heap with sampling. An address is forgotten before it is given back: another thread may get it at once.
 */
#include "interpose/sampled.h"

#include "memory/heap.h"
#include "profile/samples.h"

void *sampled_malloc(size_t size)
{
    return samples_take(jem_malloc(size), size);
}

void *sampled_calloc(size_t n, size_t size)
{
    void *ptr = jem_calloc(n, size);
    return !ptr || samples_pass_by(n * size) ? ptr : samples_take(ptr, n * size);
}

void *sampled_memalign(size_t align, size_t size)
{
    void *ptr = jem_memalign(align, size);
    return !ptr || samples_pass_by(size) ? ptr : samples_take(ptr, size);
}

void *sampled_realloc(void *ptr, size_t size)
{
    samples_freed(ptr);
    void *moved = jem_realloc(ptr, size);
    if (size && !samples_pass_by(size))
        samples_take(moved ? moved : ptr, size);
    return moved;
}

void sampled_free(void *ptr)
{
    samples_freed(ptr);
    jem_free(ptr);
}
