/* SPDX-License-Identifier: MIT */
/* The shim's own memory: fixed-size objects from mapped chunks, never from the program's malloc. A pool has no lock:
 * its owner's lock guards it. Memory given back is reused by the same pool and never unmapped. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

struct pool {
    size_t object_size; /* bytes, a multiple of 8; set once by the owner's initializer */
    void *free_list;
    char *bump;
    char *bump_end;
};

#define POOL_OF(type)                                                                                        \
    {                                                                                                        \
        .object_size = (sizeof(type) + 7) & ~(size_t)7                                                       \
    }

/* Returns a zeroed object, or NULL when the kernel has no memory. */
void *pool_take(struct pool *pool);
void pool_give(struct pool *pool, void *object);

/* `len` zeroed bytes straight from the kernel, page-granular, never given back; touched pages only are charged where
 * overcommit allows. Returns NULL when there are none. */
void *pool_map(size_t len);

#endif
