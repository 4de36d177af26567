/* SPDX-License-Identifier: MIT */
/* A program that imports a function of anydma's by name, whether it is there or not, has huge pages from the start. */
#include "huge.h"

extern const struct anydma_table anydma_table_v1 __attribute__((weak));
static size_t huge_at_start;

__attribute__((constructor(101))) static void begin(void) /* before the header's own */
{
    char *memory = aligned_alloc(BLOCK, LEN);
    touch(memory);
    huge_at_start = huge_now();
}

static void it_has_huge_pages(void)
{
    EXPECT(&anydma_table_v1 != NULL);
    EXPECT(is_most(huge_at_start));
}

int main(void)
{
    if (!huge_pages_can_be_asked_for())
        return 77;
    shim_must_be_there();
    behaviour("a_program_that_imports_its_names_has_huge_pages_from_the_start", it_has_huge_pages);
    return behaviours_end();
}
