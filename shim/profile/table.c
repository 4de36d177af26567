/* SPDX-License-Identifier: MIT */
/* Memory for the tables of call sites and samples, in chunks that are never given back. */
#include "profile/table.h"

#include "base/os.h"
#include "base/pool.h"

enum { CHUNK_BYTES = 256 * 1024, LARGE_BYTES = CHUNK_BYTES / 8 };

static char *bump, *bump_end;

static size_t rounded(size_t len)
{
    return (len + 15) & ~(size_t)15;
}

void *table_take(size_t len)
{
    len = rounded(len);
    if (len >= LARGE_BYTES)
        return pool_map(len);
    if (bump_end - bump < (ptrdiff_t)len) {
        bump = pool_map(CHUNK_BYTES);
        bump_end = bump ? bump + CHUNK_BYTES : NULL;
        if (!bump)
            return NULL;
    }
    void *memory = bump;
    bump += len;
    return memory;
}

void table_give(void *memory, size_t len)
{
    if (rounded(len) >= LARGE_BYTES)
        os_munmap((uintptr_t)memory, os_page_up(rounded(len)));
}
