/* SPDX-License-Identifier: MIT */
/* The heap's large blocks: in how many calls they are registered and undone, and what a small user of one pins. */
#include "expect.h"

#include <malloc.h>

#define MIB ((size_t)1 << 20)
#define BLOCK (2 * MIB)
#define LEN (256 * MIB)

static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats;
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0);
    return stats;
}

static void a_range(void)
{
    char *memory = malloc(LEN), *beside = malloc(64);
    uint64_t iova;
    struct anydma_stats before = stats_now();
    EXPECT(anydma_iova_range(memory, LEN, &iova) == 0 && iova == (uint64_t)memory);
    struct anydma_stats made = stats_now();
    EXPECT(made.maps - before.maps <= 8);
    EXPECT(made.entries_used - before.entries_used <= 8);
    EXPECT(made.pinned - before.pinned >= LEN);
    for (size_t at = 0; at < LEN; at += BLOCK)
        EXPECT(anydma_iova(memory + at) == (uint64_t)(memory + at));
    EXPECT(stats_now().maps == made.maps);
    EXPECT(anydma_iova(beside) == (uint64_t)beside);
    free(memory);
    malloc_trim(0);
    EXPECT(stats_now().pinned - before.pinned <= 4 * BLOCK);
    EXPECT(stats_now().unmaps - made.unmaps <= 8);
    EXPECT(anydma_iova(beside) == (uint64_t)beside);
    free(beside);
}

static void in_order(void)
{
    char *memory = malloc(LEN);
    struct anydma_stats before = stats_now();
    for (size_t at = 0; at < LEN; at += BLOCK)
        EXPECT(anydma_iova(memory + at) == (uint64_t)(memory + at));
    EXPECT(stats_now().maps - before.maps <= 9);
    free(memory);
    malloc_trim(0);
}

static void a_small_user(void)
{
    char *memory = malloc(LEN);
    struct anydma_stats before = stats_now();
    for (size_t at = 33 * MIB; at < LEN; at += 64 * MIB)
        EXPECT(anydma_iova(memory + at) == (uint64_t)(memory + at));
    EXPECT(stats_now().pinned - before.pinned == 4 * BLOCK);
    free(memory);
    malloc_trim(0);
}

int main(void)
{
    shim_must_be_there();
    behaviour("a_range_of_a_large_block_is_registered_and_undone_by_few_calls", a_range);
    behaviour("and_so_are_lookups_in_order", in_order);
    behaviour("a_small_user_of_a_large_block_pins_little", a_small_user);
    return behaviours_end();
}
