/* SPDX-License-Identifier: MIT */
/* uthash with the shim's own memory. Included once by each file that keeps a table, instead of uthash.h; the
 * capture's lock guards what it hands out. */
#ifndef PROFILE_TABLE_H
#define PROFILE_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* `len` bytes for good, NULL when there are none. */
void *table_take(size_t len);
/* Only uthash's bucket arrays come back, each half as large as the next: large ones go to the kernel. */
void table_give(void *memory, size_t len);

/* Keys are whole words; zeros, of which a call site's label mostly consists, cost little. */
static inline unsigned table_hash(const void *key, size_t len)
{
    uint64_t hash = len, word;
    for (const unsigned char *at = key, *end = at + len; at < end; at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        if (!word)
            continue;
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return (unsigned)hash;
}

#define HASH_FUNCTION(key, len, hash) ((hash) = table_hash(key, len))
#define HASH_NONFATAL_OOM 1
#define uthash_malloc(len) table_take(len)
#define uthash_free(memory, len) table_give(memory, len)
#include <uthash.h>

#endif
