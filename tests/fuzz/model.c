/* SPDX-License-Identifier: MIT */
/* The model's arrays, changed as the kernel's manual says each call changes memory. */
#include "model.h"
#include "program.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static struct page arena_pages[ARENA_PAGES];
static struct page foreign_pages[FOREIGN_PAGES];

struct model model;

void model_reset(void)
{
    uintptr_t starts[2] = {model.windows[0].start, model.windows[1].start};
    uint64_t last_tag = model.last_tag, aperture_end = model.aperture_end;
    memset(arena_pages, 0, sizeof(arena_pages));
    memset(foreign_pages, 0, sizeof(foreign_pages));
    model =
        (struct model){.windows = {{.start = starts[0], .nr_pages = ARENA_PAGES, .pages = arena_pages},
                                   {.start = starts[1], .nr_pages = FOREIGN_PAGES, .pages = foreign_pages}},
                       .last_tag = last_tag,
                       .aperture_end = aperture_end};
}

struct page *model_page(uintptr_t va)
{
    for (int i = 0; i < 2; i++) {
        struct window *window = &model.windows[i];
        if (va >= window->start && va < window->start + window->nr_pages * PAGE)
            return &window->pages[(va - window->start) / PAGE];
    }
    return NULL;
}

uintptr_t model_address(const struct window *window, size_t index)
{
    return window->start + index * PAGE;
}

size_t model_known_run(uintptr_t va, size_t nr_pages)
{
    size_t n = 0;
    for (struct page *page; n < nr_pages && (page = model_page(va + n * PAGE)) && page->was_ever; n++)
        ;
    return n;
}

static void note_use(uintptr_t va, size_t len)
{
    for (int i = 0; i < 2; i++) {
        struct window *window = &model.windows[i];
        size_t end = (va + len - window->start) / PAGE;
        if (va >= window->start && end <= window->nr_pages && end > window->nr_used)
            window->nr_used = end;
    }
}

void model_map(uintptr_t va, size_t len, int prot, bool is_ordinary)
{
    note_use(va, len);
    for (size_t at = 0; at < len; at += PAGE) {
        struct page *page = model_page(va + at);
        bool was = page->was_ever;
        *page = (struct page){.prot = (uint8_t)prot,
                              .is_mapped = true,
                              .was_ever = true,
                              .may_be_stale = was,
                              .is_ordinary = is_ordinary};
    }
}

void model_unmap(uintptr_t va, size_t len)
{
    for (size_t at = 0; at < len; at += PAGE)
        *model_page(va + at) = (struct page){.was_ever = true};
}

void model_move(uintptr_t from, uintptr_t to, size_t len, bool keeps_source)
{
    note_use(to, len);
    for (size_t at = 0; at < len; at += PAGE) {
        struct page *source = model_page(from + at), *target = model_page(to + at);
        *target = *source;
        target->was_ever = target->may_be_stale = true;
        target->has_iova = false;
        target->is_ordinary = source->is_ordinary && to < model.windows[1].start;
        *source = (struct page){.was_ever = true, .may_be_stale = true};
        if (keeps_source) {
            source->is_mapped = true;
            source->prot = target->prot;
            source->is_ordinary = target->is_ordinary;
            source->knows_nothing = target->knows_nothing;
        }
    }
}

void model_protect(uintptr_t va, size_t len, int prot)
{
    for (size_t at = 0; at < len; at += PAGE)
        model_page(va + at)->prot = (uint8_t)prot;
}

void model_zero(uintptr_t va, size_t len)
{
    for (size_t at = 0; at < len; at += PAGE) {
        model_page(va + at)->tag = 0;
        model_page(va + at)->may_be_zero = false;
    }
}

bool model_is_all(uintptr_t va, size_t len, int prot, bool is_ordinary)
{
    for (size_t at = 0; at < len; at += PAGE) {
        struct page *page = model_page(va + at);
        if (!page || !page->is_mapped || (page->prot & prot) != prot || (is_ordinary && !page->is_ordinary))
            return false;
    }
    return true;
}

int model_app_map(uint64_t iova, uintptr_t va, uint64_t len)
{
    if (!len || (iova | va | len) & (PAGE - 1))
        return -EINVAL;
    for (size_t i = 0; i < model.nr_app_maps; i++)
        if (model.app_maps[i].iova < iova + len && iova < model.app_maps[i].iova + model.app_maps[i].len)
            return -EEXIST;
    if (model.aperture_end && iova + len > model.aperture_end)
        return -EINVAL;
    return model_is_all(va, len, PROT_READ | PROT_WRITE, false) ? 0 : -EFAULT;
}

int model_app_unmap(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped)
{
    uint64_t end = all ? UINT64_MAX : iova + len;
    *unmapped = 0;
    if (!all && (!len || (iova | len) & (PAGE - 1)))
        return -EINVAL;
    for (size_t i = 0; i < model.nr_app_maps; i++) {
        const struct own_map *map = &model.app_maps[i];
        uint64_t map_end = map->iova + map->len;
        if ((map->iova < iova && map_end > iova) || (map->iova < end && map_end > end))
            return -EINVAL; /* it would be cut in two */
    }
    for (size_t i = model.nr_app_maps; i-- > 0;) {
        const struct own_map *map = &model.app_maps[i];
        if (map->iova >= iova && map->iova < end) {
            *unmapped += map->len;
            model.app_maps[i] = model.app_maps[--model.nr_app_maps];
        }
    }
    return 0;
}

/* The lowest of the program's own mappings that ends behind `iova`; -1: none. */
static int lowest_from(uint64_t iova)
{
    int found = -1;
    for (size_t i = 0; i < model.nr_app_maps; i++) {
        const struct own_map *map = &model.app_maps[i];
        if (map->iova + map->len > iova && (found < 0 || map->iova < model.app_maps[found].iova))
            found = (int)i;
    }
    return found;
}

/* iommufd goes upwards and stops at the first mapping that is not whole in the range: what lay below it is gone by then. That
 * nothing was there is an error, too, but not where it plays a container. */
int model_ioas_unmap(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped)
{
    uint64_t end = all ? UINT64_MAX : iova + len, done = 0;
    *unmapped = 0;
    if (!all && !len)
        return -EINVAL;
    for (int i; (i = lowest_from(iova)) >= 0 && model.app_maps[i].iova < end;) {
        const struct own_map *map = &model.app_maps[i];
        if (map->iova < iova || map->iova + map->len > end)
            return -ENOENT;
        done += map->len;
        model.app_maps[i] = model.app_maps[--model.nr_app_maps];
    }
    *unmapped = done;
    return done || all || program.is_played ? 0 : -ENOENT;
}
