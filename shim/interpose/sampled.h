/* SPDX-License-Identifier: MIT */
/* jemalloc's functions with the sampler beside them (ANYDMA_SAMPLE): what the malloc doors call then. */
#ifndef INTERPOSE_SAMPLED_H
#define INTERPOSE_SAMPLED_H

#include <stddef.h>

/* Once samples_pass_by has said no; the others ask it themselves. */
void *sampled_malloc(size_t size);
void *sampled_calloc(size_t n, size_t size);
void *sampled_realloc(void *ptr, size_t size);
void *sampled_memalign(size_t align, size_t size);
void sampled_free(void *ptr);

#endif
