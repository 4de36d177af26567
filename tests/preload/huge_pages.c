/* SPDX-License-Identifier: MIT */
/* The heap is huge pages where it is pinned: from the first pin on as soon as it is touched. What was touched before stays as it
 * is: copying it takes a hundred times as long as pinning it. */
#include "huge.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char *early; /* touched before the first pin */

static void touched_before_is_pinned_as_it_lies(void)
{
    size_t before = huge_now();
    look_up(early);
    EXPECT(huge_now() == before);
    EXPECT(early[0] == 1 && early[LEN - 4096] == 1);
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
    size_t before = huge_now();
    look_up(memory);
    EXPECT(is_most(huge_now() - before));
    munmap(memory, LEN);
}

int main(void)
{
    if (!huge_pages_can_be_asked_for())
        return 77;
    early = aligned_alloc(BLOCK, LEN);
    touch(early);
    expect_that(huge_now() == 0, "no huge pages before the first pin", __FILE__, __LINE__);
    behaviour("memory_touched_before_the_first_pin_is_pinned_as_it_lies",
              touched_before_is_pinned_as_it_lies);
    shim_must_be_there();
    behaviour("memory_touched_after_the_first_pin_is_huge_at_once", touched_afterwards_is_huge_at_once);
    behaviour("an_untouched_mapping_is_huge_at_its_lookup", an_untouched_mapping_is_huge_at_its_lookup);
    return behaviours_end();
}
