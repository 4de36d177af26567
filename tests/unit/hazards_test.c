/* SPDX-License-Identifier: MIT */
/* Which memory that goes is a hazard: what a hold of anydma_pin still lets a device reach, and no other. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/config.h"
#include "dma/attachments.h"
#include "dma/dma.h"
#include "dma/hazards.h"
#include "dma/pins.h"
#include "dma/registry.h"
#include "fake_memory.h"
#include "iommu/iommu.h"

/* 16 pages, of which the fourth to the sixth are held. */
static void start(void)
{
    struct iommu iommu = fake_container(3, 100, UINT64_MAX);
    cr_assert_eq(pagemap_init(), 0);
    dma_init(&fake_memory);
    cr_assert_eq(attachments_add(&iommu), 0);
    memset(is_page_alive, true, 16);
    config.check = 1;
    cr_assert_eq(pins_add(START + 3 * PAGE, 3 * PAGE), 0);
}

Test(hazards, what_is_held_is_one_when_it_goes, .init = start)
{
    hazards_look(START + 4 * PAGE, PAGE, true);
    cr_expect_eq(hazards_seen(), 1);
    hazards_look(START, 16 * PAGE, false);
    cr_expect_eq(hazards_seen(), 2);
    hazards_look(START + 5 * PAGE, 8 * PAGE, false); /* its last page */
    cr_expect_eq(hazards_seen(), 3);
}

Test(hazards, what_lies_beside_it_is_none, .init = start)
{
    hazards_look(START, 3 * PAGE, true);
    hazards_look(START + 6 * PAGE, 10 * PAGE, false);
    hazards_look(START + 4 * PAGE, 0, false);
    cr_expect_eq(hazards_seen(), 0);
}

Test(hazards, what_is_registered_and_not_held_is_none, .init = start)
{
    uint64_t iova;
    size_t run_len;
    cr_assert_eq(registry_lookup(START + 8 * PAGE, PAGE, &iova, &run_len), 0);
    hazards_look(START + 8 * PAGE, PAGE, true);
    cr_expect_eq(hazards_seen(), 0);
}

Test(hazards, what_is_no_longer_held_is_none, .init = start)
{
    cr_assert_eq(pins_add(START + 3 * PAGE, 3 * PAGE), 0);
    cr_assert_eq(pins_remove(START + 3 * PAGE, 3 * PAGE), 0);
    hazards_look(START + 4 * PAGE, PAGE, true); /* held once more than let go */
    cr_expect_eq(hazards_seen(), 1);
    cr_assert_eq(pins_remove(START + 3 * PAGE, 3 * PAGE), 0);
    hazards_look(START + 4 * PAGE, PAGE, true);
    cr_expect_eq(hazards_seen(), 1);
}

Test(hazards, nobody_looks_outside_of_check_mode, .init = start)
{
    config.check = 0;
    hazards_look(START + 4 * PAGE, PAGE, true);
    cr_expect_eq(hazards_seen(), 0);
}
