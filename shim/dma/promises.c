/* SPDX-License-Identifier: MIT */
/* Goes through everything that is registered or owed. */
#include "dma/promises.h"

#include <errno.h>

#include "base/log.h"
#include "dma/clients.h"
#include "dma/containers.h"
#include "dma/lumps.h"
#include "dma/pagemap.h"

static const char *why(int error)
{
    return error == -EFAULT || error == -EINPROGRESS ? "a part of it is not readable and writable now"
           : error == -ENOMEM                        ? "the memlock limit; raise `ulimit -l`"
           : error == -ENOSPC        ? "its table of mappings is full; raise vfio_iommu_type1.dma_entry_limit"
           : error == -EADDRNOTAVAIL ? "it lies outside its aperture"
           : error == -EEXIST        ? "the application has mapped something there"
                                     : "see errno.h";
}

/* Maps what is owed or registered elsewhere. Returns a failure, -EINPROGRESS before any other. */
static int map_existing(void)
{
    int first = 0;
    bool is_short = false;
    struct registration *reg = registration_from(0), *next;
    for (; reg; reg = next) {
        next = registration_next(reg);
        if (reg->mapped == containers_attached() || reg->is_stuck || registry_has_ended(reg))
            continue;
        if (!is_short) /* what was cut for want of room stays cut */
            registry_gather(reg);
        next = registration_next(reg);
        pagemap_clear(reg->start, reg->len);
        int error = pagemap_mark_pinned(reg->start, reg->len);
        if (!error)
            error = registry_complete(reg);
        if (!error && !reg->divided)
            pagemap_mark_whole(reg->start, reg->len);
        if (error == -EFAULT && reg->mapped)
            error = registry_complete_intact(reg);
        uintptr_t start = reg->start;
        is_short |= error == -ENOMEM || error == -EADDRNOTAVAIL;
        if (error == -EFAULT ? registry_plan_again(reg) : is_short && error && lump_halve(reg)) {
            next = registration_from(start);
            continue;
        }
        first = first && error != -EINPROGRESS ? first : error;
    }
    return first;
}

/* What the container can't take loses its promise, loudly. */
static void tell_unmapped(void)
{
    enum { MOST_TOLD = 3 };
    unsigned nr = 0;
    for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg)) {
        int error = reg->mapped == containers_attached() || reg->is_stuck ? 0 : registry_complete(reg);
        if (error && nr++ < MOST_TOLD)
            log_write(LOG_ERROR,
                      "0x%lx (%lu bytes), whose IOVA was handed out before, can't be mapped in the container "
                      "just attached "
                      "(error %d: %s); its lookups are refused until it can be. Attach the device before "
                      "looking up",
                      reg->start, reg->len, -error, why(error));
    }
    if (nr > MOST_TOLD)
        log_write(LOG_ERROR, "and so it is with %u more", nr - MOST_TOLD);
}

void promises_keep(void)
{
    unsigned tries = 0;
    int error;
    do
        error = map_existing();
    while (registry_try_again(&error, &tries));
    if (error)
        tell_unmapped();
}

unsigned promises_withdraw(void)
{
    unsigned nr_handed = 0;
    for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg)) {
        pagemap_clear(reg->start, reg->len);
        nr_handed += reg->handed;
    }
    return nr_handed;
}
