/* SPDX-License-Identifier: MIT */
/* Call stacks, never given back: a report may still want them. */
#include "dma/holders.h"

#include "base/config.h"
#include "base/pool.h"
#include "profile/profile.h"

static struct pool pool = POOL_OF(struct holder);

struct holder *holders_note(void)
{
    struct holder *holder = config.check ? pool_take(&pool) : NULL;
    if (!holder)
        return NULL;
    holder->site = profile_site();
    holder->depth = profile_copy_stack(holder->frames, HOLDER_FRAMES);
    return holder;
}
