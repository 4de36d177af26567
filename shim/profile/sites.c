/* SPDX-License-Identifier: MIT */
/* The table of call sites: uthash over chunks of the shim's own memory. Sites are never freed. */
#include "profile/sites.h"

#include <stddef.h>
#include <string.h>

#include "base/os.h"
#include "base/pool.h"

static void *take(size_t len);
static void give_back(void *memory, size_t len);

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(len) take(len)
#define uthash_free(memory, len) give_back(memory, len)
#include <uthash.h>

enum { CHUNK_BYTES = 256 * 1024, MAX_SITES = 1000000 };

struct entry {
    struct site site;
    UT_hash_handle hh;
    struct stack stack; /* cut after the last frame */
};

static struct entry *table;
static uint32_t nr_sites;
static char *bump, *bump_end;

static void *take(size_t len)
{
    len = (len + 15) & ~(size_t)15;
    if (len >= CHUNK_BYTES / 8)
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

/* Only uthash's bucket arrays come back, each half as large as the next. */
static void give_back(void *memory, size_t len)
{
    len = (len + 15) & ~(size_t)15;
    if (len >= CHUNK_BYTES / 8)
        os_munmap((uintptr_t)memory, os_page_up(len));
}

struct site *sites_find(const struct stack *stack, unsigned depth)
{
    struct entry *entry;
    unsigned key_len = (unsigned)(offsetof(struct stack, frames) + depth * sizeof(stack->frames[0]));
    HASH_FIND(hh, table, stack, key_len, entry);
    if (entry)
        return &entry->site;
    if (nr_sites == MAX_SITES || !(entry = take(offsetof(struct entry, stack) + key_len)))
        return NULL;
    memcpy(&entry->stack, stack, key_len);
    uint32_t had = nr_sites;
    HASH_ADD_KEYPTR(hh, table, &entry->stack, key_len, entry);
    if (!entry->hh.tbl) /* no memory for the table */
        return NULL;
    entry->site = (struct site){
        .id = had + 1, .depth = depth, .label = entry->stack.label, .frames = entry->stack.frames};
    nr_sites = had + 1;
    return &entry->site;
}
