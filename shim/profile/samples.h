/* SPDX-License-Identifier: MIT */
/*
 * Sampled allocations: each byte of the heap is chosen with a small probability (exponential gaps, mean
 * ANYDMA_SAMPLE), so that an allocation that holds a chosen byte stands for its share of all of them. The mean may
 * change from one gap to the next, never within one: each sample's weight is that of its own gap.
 * The report shares pinned bytes out among the samples that lie in them. Mappings are chosen by the same bytes (placed.h).
 */
#ifndef PROFILE_SAMPLES_H
#define PROFILE_SAMPLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAMPLES_FILTER_BITS = 15, SAMPLES_NEAR_BITS = 14 };
#define SAMPLES_NEAR_BYTES (UINT64_C(64) << 30)

/* samples_are_near can be asked about the first so many bytes of the heap; 0: nothing is sampled. Constant after the start. */
extern size_t samples_near_len;
extern _Thread_local int64_t samples_bytes_left __attribute__((tls_model("initial-exec")));
/* How many live samples begin in each 16 KiB of the heap: free's first test. It looks at one byte for each 16 KiB
 * that the program works on, so that it stays in the first cache beside them. */
extern _Atomic uint8_t *samples_near __attribute__((visibility("hidden")));
/* How many live samples have an address of that hash: the second test, and the first elsewhere. */
extern _Atomic uint8_t *samples_filter;

/* The heap is at [start, start + len), or begins there. */
void samples_start(uintptr_t start, size_t len);
/* After an allocation that samples_pass_by did not pass. Returns `ptr`, so that callers can end with it: each
 * frame of theirs would be one more to unwind. */
void *samples_take(void *ptr, size_t size);
void samples_forget(void *ptr);
/* In a forked child, whose bytes are chosen apart from its parent's and its siblings'. */
void samples_become_child(void);
/* After samples_pass_by said no: whether one of the bytes is chosen; sets out for the next, which with
 * ANYDMA_SAMPLE=auto is further away in a thread that allocates fast. */
bool samples_choose(size_t size);
/* How many bytes an allocation of `size` stands for, which the thread has just chosen: size over the chance of that. */
uint64_t samples_weight(size_t size);

static inline size_t samples_hash(const void *ptr)
{
    return (uintptr_t)ptr * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SAMPLES_FILTER_BITS);
}

/* Counts an allocation of `size` bytes, and says whether none of them is chosen. Never true without sampling.
 * One instruction, where compilers make four of samples_bytes_left -= size: every malloc comes by here. */
static inline bool samples_pass_by(size_t size)
{
    bool passes;
    __asm__("subq %2, %1" : "=@ccg"(passes), "+m"(samples_bytes_left) : "r"(size));
    return __builtin_expect(passes, 1);
}

/* Whether a sample begins in the 16 KiB that are so far into the heap. Compared where it lies: every free comes by
 * here. */
static inline bool samples_are_near(size_t offset)
{
    bool near;
    __asm__("cmpb $0, %1" : "=@ccne"(near) : "m"(samples_near[offset >> SAMPLES_NEAR_BITS]));
    return __builtin_expect(near, 0);
}

/* Before `ptr` is given back. */
static inline void samples_freed(void *ptr)
{
    if (__builtin_expect(atomic_load_explicit(&samples_filter[samples_hash(ptr)], memory_order_relaxed), 0))
        samples_forget(ptr);
}

#endif
