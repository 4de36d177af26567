/* SPDX-License-Identifier: MIT */
/* Allocations as mappings in the arena's map zone, in a tree by address. Owns LOCK_OBJECTS for the tree, held for moments;
 * calls the arena with none. */
#include "memory/checked.h"

#include <bsd/sys/tree.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/os.h"
#include "base/pool.h"
#include "memory/mappings.h"
#include "memory/places.h"

struct object {
    RB_ENTRY(object) by_addr;
    uintptr_t addr;
    size_t size;
    uintptr_t place; /* what was taken from the arena, the guard page included */
    size_t place_len;
};

RB_HEAD(objects, object);

static struct objects objects;
static struct pool pool = POOL_OF(struct object);
static struct lock lock = {.rank = LOCK_OBJECTS};
LOCK_ON_LIST(lock);

static int compare(const struct object *a, const struct object *b)
{
    return a->addr < b->addr ? -1 : a->addr > b->addr;
}

RB_GENERATE_INTERNAL(objects, object, by_addr, compare, __attribute__((unused)) static)

static struct object *find(const void *ptr)
{
    struct object key;
    key.addr = (uintptr_t)ptr;
    return RB_FIND(objects, &objects, &key);
}

static void remember(struct object object)
{
    lock_take(&lock);
    struct object *node = pool_take(&pool);
    if (node) {
        *node = object;
        RB_INSERT(objects, &objects, node);
    }
    lock_release(&lock);
}

static void give_pages(const struct object *object)
{
    uintptr_t end = object->addr + os_page_up(object->size ? object->size : 1);
    mappings_unmap(object->addr, end - object->addr);
    if (object->addr > object->place)
        places_give(object->place, object->addr - object->place);
    places_give(end, object->place + object->place_len - end);
}

void *checked_take(size_t size, size_t align)
{
    size_t len = os_page_up(size ? size : 1), slack = align > OS_PAGE_SIZE ? align : 0;
    size_t place_len = len + slack + OS_PAGE_SIZE;
    if (len < size || place_len < len)
        return NULL;
    uintptr_t place = places_take(place_len);
    uintptr_t addr = slack ? (place + slack - 1) & ~(slack - 1) : place;
    if (!place)
        return NULL;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (os_is_error(os_mmap(addr, len, PROT_READ | PROT_WRITE, flags, -1, 0))) {
        places_give(place, place_len);
        return NULL;
    }
    struct object object = {.addr = addr, .size = size, .place = place, .place_len = place_len};
    struct page_kind kind = places_kind(len, PROT_READ | PROT_WRITE, PAGE_ORDINARY);
    if (mappings_end(addr, len, PAGE_REPLACED, &kind) != 0) {
        give_pages(&object);
        return NULL;
    }
    remember(object);
    return (void *)addr;
}

size_t checked_size(const void *ptr)
{
    lock_take(&lock);
    struct object *object = find(ptr);
    size_t size = object ? os_page_up(object->size ? object->size : 1) : 0;
    lock_release(&lock);
    return size;
}

void checked_give(void *ptr)
{
    struct object copy = {.addr = 0};
    lock_take(&lock);
    struct object *object = find(ptr);
    if (object) {
        copy = *object;
        RB_REMOVE(objects, &objects, object);
        pool_give(&pool, object);
    }
    lock_release(&lock);
    if (copy.addr)
        give_pages(&copy);
}
