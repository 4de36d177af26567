/* SPDX-License-Identifier: MIT */
/* Fixed-size objects for the shim's own records. */
#include "base/pool.h"

#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "base/sparse.h"

enum { CHUNK_BYTES = 64 * 1024 };

void *pool_map(size_t len)
{
    intptr_t addr = os_mmap(0, os_page_up(len), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (os_is_error(addr))
        return NULL;
    if (len > CHUNK_BYTES)
        sparse_note((void *)addr, os_page_up(len));
    return (void *)addr;
}

void *pool_take(struct pool *pool)
{
    void *object = pool->free_list;
    if (object) {
        pool->free_list = *(void **)object;
        return memset(object, 0, pool->object_size);
    }
    if (pool->bump_end - pool->bump < (ptrdiff_t)pool->object_size) {
        char *chunk = pool_map(CHUNK_BYTES);
        if (!chunk)
            return NULL;
        pool->bump = chunk;
        pool->bump_end = chunk + CHUNK_BYTES;
    }
    object = pool->bump;
    pool->bump += pool->object_size;
    return object;
}

void pool_give(struct pool *pool, void *object)
{
    *(void **)object = pool->free_list;
    pool->free_list = object;
}
