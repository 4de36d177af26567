/* SPDX-License-Identifier: MIT */
/* Who answers what the registry asks of those above it, and a forked child's beginning. */
#include "dma/dma.h"

#include "dma/attachments.h"
#include "dma/changes.h"
#include "dma/clients.h"
#include "dma/counts.h"
#include "dma/eager.h"
#include "profile/failures.h"

static void settle(void)
{
    attachments_reap();
    eager_refill();
}

static const struct registry_clients clients = {
    .looking = attachments_look,
    .released = eager_released,
    .leaving = settle,
};

void dma_init(const struct memory_ops *memory)
{
    registry_init(memory, &clients);
}

void dma_reset(void)
{
    changes_follow(NULL);
    registry_reset();
    attachments_reset();
    eager_reset();
    counts_reset();
    failures_forget();
}
