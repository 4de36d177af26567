/* SPDX-License-Identifier: MIT */
/* Pages that are there for a device's sake would never be missed, and pinning a page that is missing waits for the program:
 * perhaps for the very thread that asks. */
#include "memory/missing.h"

#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "dma/registry.h"
#include "memory/arena.h"
#include "memory/mappings.h"

static bool is_all_ours(uintptr_t start, size_t len)
{
    bool is_inside;
    return len && !(len & (OS_PAGE_SIZE - 1)) && !(start & (OS_PAGE_SIZE - 1)) && start + len > start &&
           arena_split(start, start + len, &is_inside) == start + len && is_inside;
}

static bool is_zero(const char *page)
{
    return !page[0] && memcmp(page, page + 1, OS_PAGE_SIZE - 1) == 0;
}

/* What is registered is there; nobody has written to it, or only zeroes, if it is zero. */
static void drop_zeroes(uintptr_t start, size_t len, bool is_covered)
{
    size_t run_len;
    if (!is_covered)
        return;
    for (uintptr_t page = start; page < start + len; page += OS_PAGE_SIZE)
        if (mappings_at(page, &run_len).prot & PROT_READ && is_zero((const char *)page))
            pages_ops->advise(page, OS_PAGE_SIZE, MADV_DONTNEED);
}

/* Nothing is dropped under the watch: the program may want to be told, and wait for that with the thread that is here. */
int missing_watch(uintptr_t start, size_t len, int (*watch)(void *arg, bool begins), void *arg)
{
    if (!is_all_ours(start, len) || registry_has_promised(start, len))
        return watch(arg, true);
    mappings_begin(start, len, PAGE_LEAVING);
    enum page_event end = PAGE_FAILED;
    int error = watch(arg, true);
    if (!error && watch(arg, false) == 0) {
        registry_divide(start, len, drop_zeroes);
        error = watch(arg, true);
        end = error ? PAGE_RENEWED : PAGE_GUARDED;
    }
    mappings_end(start, len, end, NULL);
    return error;
}
