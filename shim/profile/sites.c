/* SPDX-License-Identifier: MIT */
/* The table of call sites: uthash over chunks of the shim's own memory. Sites are never freed. */
#include "profile/sites.h"

#include <stddef.h>
#include <string.h>

#include "profile/table.h"

enum { MAX_SITES = 1000000 };

struct entry {
    struct site site;
    UT_hash_handle hh;
    struct stack stack; /* cut after the last frame */
};

static struct entry *table;
static uint32_t nr_sites;

struct site *sites_find(const struct stack *stack, unsigned depth)
{
    struct entry *entry;
    unsigned key_len = (unsigned)(offsetof(struct stack, frames) + depth * sizeof(stack->frames[0]));
    HASH_FIND(hh, table, stack, key_len, entry);
    if (entry)
        return &entry->site;
    if (nr_sites == MAX_SITES || !(entry = table_take(offsetof(struct entry, stack) + key_len)))
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
