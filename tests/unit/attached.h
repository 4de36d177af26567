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
#include "memory/mappings.h"

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

/* Whether nothing is mapped in the range, as far as the arena knows. */
static inline bool is_free(uintptr_t start, size_t len)
{
    bool is_mapped = false;
    for (size_t done = 0, run_len; done < len && !is_mapped; done += run_len)
        is_mapped = page_is_mapped(mappings_at(start + done, &run_len));
    return !is_mapped;
}

#endif
