/* SPDX-License-Identifier: MIT */
/* The heap is huge pages where it is pinned: from the first pin on as soon as it is touched. What was touched before stays as it
 * is: copying it takes ten times as long as pinning it. What is untouched for the most part is made huge: that takes less than
 * bringing in the rest. */
#include "huge.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char *early, *early_part; /* both touched before anybody knows, this in part */
static size_t huge_at_start;

static char *map_aligned(void)
{
    char *memory = mmap(NULL, LEN + BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before = -(uintptr_t)memory & (BLOCK - 1);
    if (before)
        munmap(memory, before);
    munmap(memory + before + LEN, BLOCK - before);
    return memory + before;
}

static void touch_quarters(char *memory)
{
    for (size_t at = 0; at < LEN; at += at % BLOCK == BLOCK / 4 - 4096 ? BLOCK - BLOCK / 4 + 4096 : 4096)
        memory[at] = 1;
}

static void touched_before_is_pinned_as_it_lies(void)
{
    size_t before = huge_now();
    look_up(early);
    EXPECT(huge_now() == before);
    EXPECT(early[0] == 1 && early[LEN - 4096] == 1);
}

/* Before the header's own constructor. */
__attribute__((constructor(101))) static void begin(void)
{
    early = aligned_alloc(BLOCK, LEN);
    touch(early);
    early_part = aligned_alloc(BLOCK, LEN);
    touch_quarters(early_part);
    huge_at_start = huge_now();
}

static void with_the_header_it_is_huge_from_the_start(void)
{
    char *memory = aligned_alloc(BLOCK, LEN);
    size_t before = huge_now();
    touch(memory);
    EXPECT(is_most(huge_now() - before));
    free(memory);
}

static void expect_huge_at_lookup(const char *memory)
{
    size_t before = huge_now();
    look_up(memory);
    EXPECT(is_most(huge_now() - before));
}

/* Of which touch_quarters has been. */
static void expect_quarters_huge_at_lookup(const char *memory)
{
    expect_huge_at_lookup(memory);
    EXPECT(memory[0] == 1 && memory[BLOCK / 4] == 0 && memory[LEN - BLOCK] == 1);
}

static void touched_in_part_before_is_huge_at_its_lookup(void)
{
    expect_quarters_huge_at_lookup(early_part);
}

static void touched_afterwards_is_huge_at_once(void)
{
    char *memory = aligned_alloc(BLOCK, LEN);
    size_t before = huge_now();
    touch(memory);
    EXPECT(is_most(huge_now() - before));
    look_up(memory);
    EXPECT(is_most(huge_now() - before));
    free(memory);
    malloc_trim(0);
}

static void an_untouched_mapping_is_huge_at_its_lookup(void)
{
    char *memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect_huge_at_lookup(memory);
    munmap(memory, LEN);
}

static void a_touched_mapping_is_pinned_as_it_lies(void)
{
    char *memory = map_aligned();
    touch(memory);
    size_t before = huge_now();
    look_up(memory);
    EXPECT(huge_now() == before);
    munmap(memory, LEN);
}

static void a_mapping_touched_in_part_is_huge_at_its_lookup(void)
{
    char *memory = map_aligned();
    touch_quarters(memory);
    expect_quarters_huge_at_lookup(memory);
    munmap(memory, LEN);
}

int main(void)
{
    if (!huge_pages_can_be_asked_for())
        return 77;
    expect_that(huge_at_start == 0, "no huge pages before anybody knows", __FILE__, __LINE__);
    behaviour("a_program_with_the_header_has_huge_pages_from_the_start",
              with_the_header_it_is_huge_from_the_start);
    behaviour("memory_touched_before_the_first_pin_is_pinned_as_it_lies",
              touched_before_is_pinned_as_it_lies);
    shim_must_be_there();
    behaviour("heap_touched_in_part_before_the_first_pin_is_huge_at_its_lookup",
              touched_in_part_before_is_huge_at_its_lookup);
    behaviour("memory_touched_after_the_first_pin_is_huge_at_once", touched_afterwards_is_huge_at_once);
    behaviour("an_untouched_mapping_is_huge_at_its_lookup", an_untouched_mapping_is_huge_at_its_lookup);
    behaviour("a_touched_mapping_is_pinned_as_it_lies", a_touched_mapping_is_pinned_as_it_lies);
    behaviour("a_mapping_touched_in_part_is_huge_at_its_lookup",
              a_mapping_touched_in_part_is_huge_at_its_lookup);
    return behaviours_end();
}
