/* SPDX-License-Identifier: MIT */
/* The arena over the registry, with the simulated IOMMU attached: what tests of memory/ begin with. */
#ifndef TESTS_UNIT_ATTACHED_H
#define TESTS_UNIT_ATTACHED_H

#include <criterion/criterion.h>

#include "base/config.h"
#include "dma/attachments.h"
#include "dma/dma.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "iommu/iommu.h"
#include "memory/arena.h"

static inline void start_unattached(const struct memory_ops *memory)
{
    cr_assert_eq(pagemap_init(), 0);
    config.thp = THP_NEVER;
    arena_init();
    dma_init(memory);
}

static inline void attach_sim(void)
{
    struct sim_config sim;
    struct iommu iommu;
    sim_config_default(&sim);
    cr_assert_eq(sim_init(&iommu, &sim), 0);
    cr_assert_eq(attachments_add(&iommu), 0);
}

#endif
