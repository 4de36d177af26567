/* SPDX-License-Identifier: MIT */
/*
 * Sampled allocations: each byte of the heap is chosen with the same small probability (exponential gaps,
 * mean ANYDMA_SAMPLE), so that an allocation that holds a chosen byte stands for its share of all of them.
 * The report shares pinned bytes out among the samples that lie in them. Called by the malloc doors when
 * sampling is on, and only then.
 */
#ifndef PROFILE_SAMPLES_H
#define PROFILE_SAMPLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many bytes: small enough to stay in the cache, where every free looks. */
enum { SAMPLES_FILTER_BITS = 15 };

extern bool samples_are_on; /* constant after the start */
extern _Thread_local int64_t samples_bytes_left __attribute__((tls_model("initial-exec")));
/* How many live samples have an address of that hash: free's first test. */
extern _Atomic uint8_t *samples_filter;

void samples_start(void);
void samples_take(void *ptr, size_t size);
void samples_forget(void *ptr);

static inline size_t samples_hash(const void *ptr)
{
    return (uintptr_t)ptr * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SAMPLES_FILTER_BITS);
}

/* After an allocation of `size` bytes. */
static inline void samples_allocated(void *ptr, size_t size)
{
    samples_bytes_left -= (int64_t)size;
    if (__builtin_expect(samples_bytes_left <= 0, 0))
        samples_take(ptr, size);
}

/* Before `ptr` is given back. */
static inline void samples_freed(void *ptr)
{
    if (__builtin_expect(atomic_load_explicit(&samples_filter[samples_hash(ptr)], memory_order_relaxed), 0))
        samples_forget(ptr);
}

#endif
