/* SPDX-License-Identifier: MIT */
/* uthash with the shim's own memory. Included once by each file that keeps a table, instead of uthash.h; the
 * capture's lock guards what it hands out. */
#ifndef PROFILE_TABLE_H
#define PROFILE_TABLE_H

#include <stddef.h>

/* `len` bytes for good, NULL when there are none. */
void *table_take(size_t len);
/* Only uthash's bucket arrays come back, each half as large as the next: large ones go to the kernel. */
void table_give(void *memory, size_t len);

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(len) table_take(len)
#define uthash_free(memory, len) table_give(memory, len)
#include <uthash.h>

#endif
