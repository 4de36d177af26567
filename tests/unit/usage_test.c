/* SPDX-License-Identifier: MIT */
/* What of a range is in use, of the heap's and of the program's mappings: over jemalloc as it is linked into the shim. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <sys/mman.h>

#include "attached.h"
#include "memory/heap.h"
#include "memory/owners.h"
#include "memory/places.h"
#include "memory/usage.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

enum { LARGE = 1 << 20, SMALL = 64, NR_SMALL = 64 * 32 };

static void start(void)
{
    cr_assert_eq(pagemap_init(), 0);
    config.thp = THP_NEVER;
    heap_init();
    dma_init(&owners_memory_ops);
    usage_init();
}

struct sum {
    uintptr_t from;
    size_t parts, live;
};

static void add(void *arg, uintptr_t part, size_t part_len, size_t live)
{
    struct sum *sum = arg;
    cr_expect_geq(part, sum->from);
    cr_expect_leq(live, part_len);
    sum->from = part + part_len;
    sum->parts += part_len;
    sum->live += live;
}

static struct sum sum_of(uintptr_t from, size_t len)
{
    struct sum sum = {.from = from};
    usage_visit(from, len, add, &sum);
    cr_expect_leq(sum.parts, len);
    return sum;
}

static uintptr_t page_up(const void *at)
{
    return ((uintptr_t)at + PAGE - 1) & ~(PAGE - 1);
}

Test(usage, a_large_allocation_is_live_and_freed_it_is_not, .init = start)
{
    char *at = jem_malloc(LARGE);
    uintptr_t first = page_up(at);
    size_t len = LARGE - PAGE;
    struct sum sum = sum_of(first, len);
    cr_expect_eq(sum.parts, len);
    cr_expect_eq(sum.live, len);
    jem_free(at);
    cr_expect_eq(sum_of(first, len).live, 0);
}

Test(usage, of_a_slab_the_objects_that_live_count, .init = start)
{
    char *objects[NR_SMALL];
    for (size_t i = 0; i < NR_SMALL; i++)
        objects[i] = jem_malloc(SMALL);
    uintptr_t page = page_up(objects[NR_SMALL / 2]); /* amid others that are full */
    cr_expect_eq(sum_of(page, PAGE).live, PAGE);
    for (size_t i = 0; i < NR_SMALL; i++)
        if (i % 4)
            jem_free(objects[i]);
    jem_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    cr_expect_eq(sum_of(page, PAGE).live, PAGE / 4);
}

Test(usage, a_mapping_is_live_as_far_as_it_is_mapped, .init = start)
{
    intptr_t at = places_map(8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, PAGE_ORDINARY);
    cr_assert_gt(at, 0);
    cr_expect_eq(sum_of((uintptr_t)at, 8 * PAGE).live, 8 * PAGE);
    cr_assert_eq(owners_unmap((uintptr_t)at + 2 * PAGE, PAGE), 0);
    cr_expect_eq(sum_of((uintptr_t)at, 8 * PAGE).parts, 7 * PAGE);
}

Test(usage, memory_outside_the_arena_is_live, .init = start)
{
    cr_expect_eq(sum_of(UINT64_C(0x7f0000000000), 3 * PAGE).live, 3 * PAGE);
}
