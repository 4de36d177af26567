/* SPDX-License-Identifier: MIT */
/* The peers' algorithms; see peers.h. */
#include "peers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOT_SHIFT 30
#define BLOCK_SHIFT 21
#define PAGE_SHIFT 12
#define BLOCK ((uint64_t)1 << BLOCK_SHIFT)
#define PAGE ((uint64_t)1 << PAGE_SHIFT)

/* --- two levels ----------------------------------------------------------------------------------- */

enum { NR_SLOTS = 1 << (47 - SLOT_SHIFT), NR_BLOCKS = 1 << (SLOT_SHIFT - BLOCK_SHIFT), NR_PAGES = 512 };

struct block {
    uint64_t iova;   /* of the whole block, or PEER_BAD */
    uint64_t *pages; /* one for each 4 KiB, or NULL */
};
static struct block *slots[NR_SLOTS];

static struct block *block_for(uint64_t va)
{
    struct block **slot = &slots[va >> SLOT_SHIFT];
    if (!*slot) {
        *slot = malloc(NR_BLOCKS * sizeof(**slot));
        for (unsigned i = 0; i < NR_BLOCKS; i++)
            (*slot)[i] = (struct block){PEER_BAD, NULL};
    }
    return &(*slot)[(va >> BLOCK_SHIFT) & (NR_BLOCKS - 1)];
}

void two_level_add(uint64_t va, uint64_t len, uint64_t iova)
{
    for (uint64_t end = va + len, step; va < end; va += step, iova += step) {
        struct block *block = block_for(va);
        step = va & (BLOCK - 1) || end - va < BLOCK ? PAGE : BLOCK;
        if (step == BLOCK) {
            block->iova = iova;
            continue;
        }
        if (!block->pages) {
            block->pages = malloc(NR_PAGES * sizeof(uint64_t));
            memset(block->pages, 0xff, NR_PAGES * sizeof(uint64_t));
        }
        block->pages[(va >> PAGE_SHIFT) & (NR_PAGES - 1)] = iova;
    }
}

static inline uint64_t one_step(uint64_t va, uint64_t *step)
{
    const struct block *slot = va >> 47 ? NULL : slots[va >> SLOT_SHIFT];
    if (!slot)
        return PEER_BAD;
    const struct block *block = &slot[(va >> BLOCK_SHIFT) & (NR_BLOCKS - 1)];
    *step = BLOCK - (va & (BLOCK - 1));
    if (!block->pages)
        return block->iova == PEER_BAD ? PEER_BAD : block->iova + (va & (BLOCK - 1));
    uint64_t iova = block->pages[(va >> PAGE_SHIFT) & (NR_PAGES - 1)];
    *step = PAGE - (va & (PAGE - 1));
    return iova == PEER_BAD ? PEER_BAD : iova + (va & (PAGE - 1));
}

uint64_t two_level_translate(uint64_t va, uint64_t *size)
{
    uint64_t step, iova = one_step(va, &step);
    if (!size || iova == PEER_BAD)
        return iova;
    uint64_t have = step, wanted = *size, more;
    while (have < wanted && (more = one_step(va + have, &step)) == iova + have)
        have += step;
    *size = have < wanted ? have : wanted;
    return iova;
}

/* --- a skip list ---------------------------------------------------------------------------------- */

enum { NR_LEVELS = 16 };

struct node {
    uint64_t va, len, iova;
    struct node *next[NR_LEVELS];
};
static struct node head;
static pthread_mutex_t skiplist_lock = PTHREAD_MUTEX_INITIALIZER;

void skiplist_add(uint64_t va, uint64_t len, uint64_t iova)
{
    static uint32_t seed = 1;
    struct node *node = calloc(1, sizeof(*node)), *at = &head;
    unsigned level = 1;
    *node = (struct node){.va = va, .len = len, .iova = iova};
    for (seed = seed * 1664525 + 1013904223; level < NR_LEVELS && seed >> (32 - level) == 0; level++)
        ;
    pthread_mutex_lock(&skiplist_lock);
    for (int i = NR_LEVELS - 1; i >= 0; i--) {
        while (at->next[i] && at->next[i]->va < va)
            at = at->next[i];
        if ((unsigned)i < level) {
            node->next[i] = at->next[i];
            at->next[i] = node;
        }
    }
    pthread_mutex_unlock(&skiplist_lock);
}

void skiplist_clear(void)
{
    for (struct node *node = head.next[0], *next; node; node = next) {
        next = node->next[0];
        free(node);
    }
    memset(&head, 0, sizeof(head));
}

uint64_t skiplist_translate(uint64_t va)
{
    pthread_mutex_lock(&skiplist_lock);
    const struct node *at = &head;
    for (int i = NR_LEVELS - 1; i >= 0; i--)
        while (at->next[i] && at->next[i]->va <= va)
            at = at->next[i];
    uint64_t iova = at != &head && va - at->va < at->len ? at->iova + (va - at->va) : PEER_BAD;
    pthread_mutex_unlock(&skiplist_lock);
    return iova;
}

/* --- a sorted array ------------------------------------------------------------------------------- */

struct range {
    uint64_t va, len, iova;
};
static struct range *ranges;
static size_t nr_ranges, room;
static pthread_mutex_t bsearch_lock = PTHREAD_MUTEX_INITIALIZER;

void bsearch_add(uint64_t va, uint64_t len, uint64_t iova)
{
    pthread_mutex_lock(&bsearch_lock);
    if (nr_ranges == room) {
        room = room ? 2 * room : 64;
        ranges = realloc(ranges, room * sizeof(*ranges));
    }
    size_t i = nr_ranges++;
    for (; i && ranges[i - 1].va > va; i--)
        ranges[i] = ranges[i - 1];
    ranges[i] = (struct range){va, len, iova};
    pthread_mutex_unlock(&bsearch_lock);
}

void bsearch_clear(void)
{
    nr_ranges = 0;
}

uint64_t bsearch_translate(uint64_t va)
{
    uint64_t iova = PEER_BAD;
    pthread_mutex_lock(&bsearch_lock);
    for (size_t low = 0, high = nr_ranges; low < high;) {
        size_t middle = (low + high) / 2;
        const struct range *range = &ranges[middle];
        if (va < range->va) {
            high = middle;
        } else if (va - range->va >= range->len) {
            low = middle + 1;
        } else {
            iova = range->iova + (va - range->va);
            break;
        }
    }
    pthread_mutex_unlock(&bsearch_lock);
    return iova;
}
