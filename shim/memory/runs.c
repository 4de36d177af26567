/* SPDX-License-Identifier: MIT */
/* Two red-black trees over the same nodes: by address for splitting and merging, free ones by length for best fit. */
#include "memory/runs.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/os.h"

enum { SPARE_WANTED = 64, FIT_TRIES = 16 };

static int compare_addr(const struct run *a, const struct run *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}

static int compare_len(const struct run *a, const struct run *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return compare_addr(a, b);
}

RB_GENERATE_INTERNAL(runs_by_addr, run, by_addr, compare_addr, __attribute__((unused)) static)
RB_GENERATE_INTERNAL(runs_by_len, run, by_len, compare_len, __attribute__((unused)) static)

static bool is_alike(struct page_kind a, struct page_kind b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void index_len(struct runs *runs, struct run *run)
{
    if (run->kind.state <= PAGE_READY)
        RB_INSERT(runs_by_len, &runs->free_by_len[run->kind.state], run);
}

static void unindex_len(struct runs *runs, struct run *run)
{
    if (run->kind.state <= PAGE_READY)
        RB_REMOVE(runs_by_len, &runs->free_by_len[run->kind.state], run);
}

static void give_node(struct runs *runs, struct run *run)
{
    *(struct run **)run = runs->spare;
    runs->spare = run;
    runs->nr_spare++;
}

/* Each change needs two nodes at the most; what lies aside lets memory be freed when there is none to be had. */
static int refill_spare(struct runs *runs)
{
    while (runs->nr_spare < SPARE_WANTED) {
        struct run *run = pool_take(&runs->pool);
        if (!run)
            break;
        give_node(runs, run);
    }
    return runs->nr_spare >= 2 ? 0 : -ENOMEM;
}

static struct run *take_node(struct runs *runs)
{
    struct run *run = runs->spare;
    runs->spare = *(struct run **)run;
    runs->nr_spare--;
    return run;
}

static void insert_run(struct runs *runs, uintptr_t start, size_t len, struct page_kind kind)
{
    struct run *run = take_node(runs);
    *run = (struct run){.start = start, .len = len, .kind = kind};
    RB_INSERT(runs_by_addr, &runs->by_addr, run);
    index_len(runs, run);
}

static void remove_run(struct runs *runs, struct run *run)
{
    unindex_len(runs, run);
    RB_REMOVE(runs_by_addr, &runs->by_addr, run);
    give_node(runs, run);
}

static void resize_run(struct runs *runs, struct run *run, uintptr_t start, size_t len)
{
    unindex_len(runs, run);
    run->start = start; /* keeps its place among its neighbours */
    run->len = len;
    index_len(runs, run);
}

int runs_init(struct runs *runs, uintptr_t start, size_t len)
{
    RB_INIT(&runs->by_addr);
    RB_INIT(&runs->free_by_len[0]);
    RB_INIT(&runs->free_by_len[1]);
    runs->pool.object_size = sizeof(struct run);
    if (refill_spare(runs) != 0)
        return -ENOMEM;
    insert_run(runs, start, len, (struct page_kind){.state = 0});
    return 0;
}

struct run *runs_at(struct runs *runs, uintptr_t addr)
{
    struct run *run = RB_ROOT(&runs->by_addr);
    while (run) {
        if (addr < run->start)
            run = RB_LEFT(run, by_addr);
        else if (addr - run->start >= run->len)
            run = RB_RIGHT(run, by_addr);
        else
            return run;
    }
    return NULL;
}

struct run *runs_next(struct run *run)
{
    return RB_NEXT(runs_by_addr, , run);
}

struct run *runs_fit(struct runs *runs, uint8_t state, size_t len, size_t align, uintptr_t *start)
{
    struct runs_by_len *tree = &runs->free_by_len[state];
    struct run *run = RB_NFIND(runs_by_len, tree, &(struct run){.len = len});
    for (int tries = 0; run && tries < FIT_TRIES; tries++, run = RB_NEXT(runs_by_len, tree, run)) {
        *start = (run->start + align - 1) & ~(align - 1);
        if (*start - run->start <= run->len - len)
            return run;
    }
    if (!run)
        return NULL;
    run = RB_NFIND(runs_by_len, tree, &(struct run){.len = len + align - OS_PAGE_SIZE});
    if (run)
        *start = (run->start + align - 1) & ~(align - 1);
    return run;
}

static void remove_if(struct runs *runs, struct run *run, bool is_whole)
{
    if (is_whole)
        remove_run(runs, run);
}

int runs_change(struct runs *runs, struct run *run, uintptr_t start, size_t len, struct page_kind kind)
{
    if (refill_spare(runs) != 0)
        return -ENOMEM;
    uintptr_t end = start + len, run_start = run->start, run_end = run->start + run->len;
    struct page_kind old = run->kind;
    struct run *before = start == run_start ? RB_PREV(runs_by_addr, , run) : NULL;
    struct run *after = end == run_end ? RB_NEXT(runs_by_addr, , run) : NULL;
    bool joins_before = before && is_alike(before->kind, kind),
         joins_after = after && is_alike(after->kind, kind);
    bool is_whole = start == run_start && end == run_end;
    if (is_alike(old, kind))
        return 0;
    if (start > run_start) {
        resize_run(runs, run, run_start, start - run_start);
        if (end < run_end)
            insert_run(runs, end, run_end - end, old);
    } else if (end < run_end) {
        resize_run(runs, run, end, run_end - end);
    }
    if (joins_before && joins_after) {
        uintptr_t after_end = after->start + after->len;
        remove_run(runs, after);
        remove_if(runs, run, is_whole);
        resize_run(runs, before, before->start, after_end - before->start);
    } else if (joins_before) {
        remove_if(runs, run, is_whole);
        resize_run(runs, before, before->start, end - before->start);
    } else if (joins_after) {
        remove_if(runs, run, is_whole);
        resize_run(runs, after, start, after->start + after->len - start);
    } else if (is_whole) {
        unindex_len(runs, run);
        run->kind = kind;
        index_len(runs, run);
    } else {
        insert_run(runs, start, len, kind);
    }
    return 0;
}

int runs_set(struct runs *runs, uintptr_t start, size_t len, struct page_kind kind)
{
    int error = 0;
    for (uintptr_t end = start + len, next; start < end && !error; start = next) {
        struct run *run = runs_at(runs, start);
        next = run->start + run->len < end ? run->start + run->len : end;
        error = runs_change(runs, run, start, next - start, kind);
    }
    return error;
}
