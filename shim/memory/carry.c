/* SPDX-License-Identifier: MIT */
/* Moves pages of the heap, a piece at a time. Owns no lock: a piece is looked at and moved under LOCK_ARENA, as what the heap gives back is
 * looked at and dropped. Who registers it has marked it as pinned before that, or waits for the lock and pins what is there then. */
#include "memory/carry.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "dma/pagemap.h"
#include "memory/huge.h"
#include "memory/mappings.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)

/* A piece may reach over two of the kernel's mappings, which it can't move at once: it is copied. */
#define PIECE (2 * BLOCK_SIZE)

/* Somebody's, nobody else's, and as the heap has mapped it. */
static bool is_movable(struct zone *zone, uintptr_t start, size_t len)
{
    uintptr_t end = start + len;
    for (uintptr_t block = start & ~(BLOCK_SIZE - 1); block < end; block += BLOCK_SIZE)
        if (pagemap_is_pinned(block))
            return false;
    for (struct run *run = runs_at(&zone->runs, start); run && run->start < end; run = runs_next(run))
        if (run->kind.state != PAGE_USED || run->kind.prot != RW || run->kind.flags != PAGE_ORDINARY)
            return false;
    return !mappings_may_be_locked(start);
}

enum result { MOVED, STAYED, LOST };

/* Failing, the kernel may have unmapped the destination. */
static enum result move(uintptr_t from, uintptr_t to, size_t len)
{
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    struct zone *source = zone_of(from), *target = zone_of(to);
    enum result result = STAYED;
    lock_take(&zones_lock);
    if (!pages_are_kept && is_movable(source, from, len) && is_movable(target, to, len)) {
        if (!os_is_error(pages_ops->move(from, len, len, flags, to)))
            result = MOVED;
        else if (os_is_error(pages_ops->map(to, len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)))
            result = LOST;
        huge_moved(source, from, len);
        huge_moved(target, to, len);
    }
    lock_release(&zones_lock);
    return result;
}

size_t carry(uintptr_t from, uintptr_t to, size_t len)
{
    for (size_t done = 0, piece; done < len; done += piece) {
        piece = len - done < PIECE ? len - done : PIECE;
        enum result result = move(from + done, to + done, piece);
        if (result == LOST)
            return done;
        if (result == STAYED)
            memcpy((void *)(to + done), (const void *)(from + done), piece);
    }
    return len;
}
