/* SPDX-License-Identifier: MIT */
/*
 * What it costs to register: lazy first lookups over a stretch of heap, or a mapping, beside the bare calls for
 * ranges of the same size, block by block in turns; in how many calls; undoing it; a fork. Run with the shim
 * preloaded:
 *   registration LABEL MIB ROUNDS [BDF]
 * LABEL goes into the figures' names; BDF is for VFIO. Each side has its own stretch, in the same state
 * beforehand, touched in turns: untouched, touched, or touched and collapsed into huge pages.
 */
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "anydma.h"
#include "bench.h"
#include "registration/pages.h"
#include "registration/pinner.h"

#define BLOCK ((uint64_t)2 << 20)
#define GOAL_FIRST 1.1
#define GOAL_AS_IT_LIES 1.2
#define GOAL_UNDONE 1.2
#define GOAL_SUPERPAGES (1 / 0.99)

static const char *label;
static uint64_t len;
static unsigned rounds;

enum side { OURS, BARE, NR_SIDES };
static const char *const side_names[NR_SIDES] = {"lookup", "bare_call"};

static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats;
    bench_require(anydma_stats(&stats, sizeof(stats)) == 0, "anydma_stats");
    return stats;
}

static void emit(const char *what, double value, double spread, const char *unit, const char *ref,
                 double ref_value, double goal)
{
    char name[96];
    snprintf(name, sizeof(name), "registration_%s_%s", label, what);
    bench_emit(&(struct figure){name, value, unit, ref, ref_value, goal, spread});
}

static void emit_times(const char *what, const struct samples *own, const char *ref,
                       const struct samples *other, double goal)
{
    emit(what, bench_median(own), bench_spread(own), "ms/GiB", ref, bench_median(other), goal);
}

static double ms_per_gib(uint64_t ns)
{
    return (double)ns / 1e6 * (double)(1 << 30) / (double)len;
}

/* --- first lookups -------------------------------------------------------------------------------- */

/* Registers one block in the way of that side. Returns how long that took. */
static uint64_t register_block(enum side side, uint64_t va)
{
    uint64_t began = bench_now_ns();
    bool done = side == OURS ? anydma_iova((void *)va) == va : pinner_map(va, BLOCK) == 0;
    uint64_t ended = bench_now_ns();
    bench_require(done, side_names[side]);
    return ended - began;
}

/* All blocks of all sides in turns; the order changes from block to block. */
static void register_all(const uint64_t *base, unsigned nr_sides, struct samples *times)
{
    uint64_t sum[NR_SIDES] = {0};
    for (uint64_t at = 0; at < len; at += BLOCK)
        for (unsigned i = 0; i < nr_sides; i++) {
            enum side side = (i + (unsigned)(at / BLOCK)) % nr_sides;
            sum[side] += register_block(side, base[side] + at);
        }
    for (unsigned side = 0; side < nr_sides; side++)
        bench_add(&times[side], ms_per_gib(sum[side]));
}

static uint64_t allocate(void)
{
    void *memory = aligned_alloc(BLOCK, len);
    bench_require(memory != NULL, "no memory");
    return (uint64_t)memory;
}

static void release(uint64_t base)
{
    free((void *)base);
    malloc_trim(0);
}

/* A block behind it is inaccessible: what the bare calls, which the shim does not see, register of one side's mapping is not to be
 * next to what a lookup could take in of the other's. */
static uint64_t map(void)
{
    char *memory = mmap(NULL, len + 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_require(memory != MAP_FAILED, "no mapping");
    size_t before = -(uintptr_t)memory & (BLOCK - 1);
    if (before)
        munmap(memory, before);
    munmap(memory + before + len + BLOCK, BLOCK - before);
    bench_require(mprotect(memory + before + len, BLOCK, PROT_NONE) == 0, "mprotect");
    return (uint64_t)memory + before;
}

static void unmap(uint64_t base)
{
    munmap((void *)base, len + BLOCK);
}

static const struct source {
    uint64_t (*take)(void);
    void (*give)(uint64_t base);
} heap = {allocate, release}, mapping = {map, unmap};

/* Undoes what register_all did, each side as it does: by freeing the memory alone, or after as many calls. */
static void undo_all(const struct source *source, const uint64_t *base, struct samples *times)
{
    uint64_t before = stats_now().pinned;
    for (unsigned side = OURS; side < NR_SIDES; side++) {
        uint64_t began = bench_now_ns();
        for (uint64_t at = 0; side != OURS && at < len; at += BLOCK)
            bench_require(pinner_unmap(base[side] + at, BLOCK) == 0, "the bare call to undo");
        source->give(base[side]);
        bench_add(&times[side], ms_per_gib(bench_now_ns() - began));
    }
    bench_require(before - stats_now().pinned >= len - BLOCK, "the freed memory is still registered");
}

/* A stretch for each side, touched in turns: the pages of one are as scattered as those of the other. */
static void allocate_sides(const struct source *source, uint64_t *base, enum pages kind)
{
    for (unsigned side = OURS; side < NR_SIDES; side++)
        base[side] = source->take();
    for (uint64_t at = 0; at < len; at += BLOCK)
        for (unsigned side = OURS; side < NR_SIDES; side++)
            pages_bring(base[side] + at, BLOCK, kind);
}

/* Figures of counts, which are the same in every round. */
static void emit_counts(const char *kind, const struct anydma_stats *before, const struct anydma_stats *after)
{
    char what[64];
    double gib = (double)len / (1 << 30);
    snprintf(what, sizeof(what), "%s_calls", kind);
    emit(what, (double)(after->maps - before->maps) / gib, 0, "calls/GiB", "2_mib_blocks", 512, 0);
    snprintf(what, sizeof(what), "%s_entries", kind);
    emit(what, (double)(after->entries_used - before->entries_used) / gib, 0, "entries/GiB", "2_mib_blocks",
         512, 0);
}

static void emit_superpages(const char *kind, uint64_t huge)
{
    char what[64];
    snprintf(what, sizeof(what), "%s_registered", kind);
    if (huge == UINT64_MAX)
        fprintf(stderr, "registration: this kernel does not say which pages are huge\n");
    else
        emit(what, (double)len / (1 << 20), 0, "MiB", "of_it_huge_pages", (double)huge / (1 << 20),
             GOAL_SUPERPAGES);
}

/* Where `is_huge`, all of it is to be huge pages. */
static void run_first(const char *name, const struct source *source, enum pages kind, unsigned nr_rounds,
                      bool is_huge)
{
    static struct samples made[NR_SIDES], undone[NR_SIDES];
    char what[64];
    memset(made, 0, sizeof(made));
    memset(undone, 0, sizeof(undone));
    for (unsigned round = 0; round < nr_rounds; round++) {
        uint64_t base[NR_SIDES];
        allocate_sides(source, base, kind);
        struct anydma_stats before = stats_now();
        register_all(base, NR_SIDES, made);
        struct anydma_stats after = stats_now();
        if (round == nr_rounds - 1) {
            emit_counts(name, &before, &after);
            if (is_huge)
                emit_superpages(name, pages_count_huge(base[OURS], len));
        }
        undo_all(source, base, undone);
    }
    snprintf(what, sizeof(what), "%s_lookups", name);
    emit_times(what, &made[OURS], side_names[BARE], &made[BARE],
               kind == PAGES_TOUCHED ? GOAL_AS_IT_LIES : GOAL_FIRST);
    snprintf(what, sizeof(what), "%s_undone", name);
    emit_times(what, &undone[OURS], side_names[BARE], &undone[BARE], GOAL_UNDONE);
}

/* --- one call for all ----------------------------------------------------------------------------- */

static void run_one_call(void)
{
    static struct samples lookups[1], one;
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t base = allocate(), bare = allocate();
        register_all(&base, 1, lookups);
        uint64_t began = bench_now_ns();
        bench_require(pinner_map(bare, len) == 0, "one call for all");
        bench_add(&one, ms_per_gib(bench_now_ns() - began));
        pinner_unmap(bare, len);
        release(bare);
        release(base);
    }
    emit_times("fresh_lookups", &lookups[0], "one_call_for_all", &one, 0);
}

/* --- again
 * -------------------------------------------------------------------------------------------------------------
 */

/* Calls that lookups over a stretch that was registered before, and freed, need. */
static double calls_again(bool decayed)
{
    uint64_t base = allocate();
    for (uint64_t at = 0; at < len; at += BLOCK)
        register_block(OURS, base + at);
    free((void *)base);
    if (decayed)
        malloc_trim(0);
    uint64_t again = allocate(), before = stats_now().maps;
    for (uint64_t at = 0; at < len; at += BLOCK)
        register_block(OURS, again + at);
    double calls = (double)(stats_now().maps - before);
    release(again);
    return calls;
}

static void run_again(void)
{
    double blocks = (double)len / BLOCK;
    emit("again_at_once_calls", calls_again(false), 0, "calls", "blocks", blocks, 0);
    emit("again_after_decay_calls", calls_again(true), 0, "calls", "blocks", blocks, 0);
}

/* --- small allocations ---------------------------------------------------------------------------- */

static void run_pieces(bool asks)
{
    enum { PIECE = 64 << 10 };
    size_t nr = len / PIECE;
    uint64_t *pieces = calloc(nr, sizeof(*pieces)), huge = 0;
    struct anydma_stats before = stats_now();
    for (size_t i = 0; i < nr; i++) {
        pieces[i] = (uint64_t)malloc(PIECE);
        *(char *)pieces[i] = 1;
        bench_require(anydma_iova((void *)pieces[i]) == pieces[i], "a piece has no IOVA");
    }
    struct anydma_stats after = stats_now();
    emit_counts("64k_pieces", &before, &after);
    for (size_t i = 0; i < nr && huge != UINT64_MAX; i++) {
        uint64_t more = pages_count_huge(pieces[i] & ~(uint64_t)4095, PIECE);
        huge = more == UINT64_MAX ? more : huge + more;
    }
    if (asks)
        emit_superpages("64k_pieces", huge);
    for (size_t i = 0; i < nr; i++)
        free((void *)pieces[i]);
    free(pieces);
    malloc_trim(0);
}

/* --- fork
 * --------------------------------------------------------------------------------------------------------------
 */

static double time_fork(void)
{
    uint64_t began = bench_now_ns();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    double ms = (double)(bench_now_ns() - began) / 1e6;
    bench_require(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
    return ms;
}

static void run_fork(void)
{
    static struct samples pinned, plain;
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t base = allocate();
        pages_bring(base, len, PAGES_TOUCHED);
        bench_add(&plain, time_fork());
        for (uint64_t at = 0; at < len; at += BLOCK)
            register_block(OURS, base + at);
        bench_add(&pinned, time_fork());
        release(base);
    }
    emit("fork", bench_median(&pinned), bench_spread(&pinned), "ms", "nothing_pinned", bench_median(&plain),
         0);
}

int main(int argc, char **argv)
{
    bench_require(argc >= 4, "usage: registration LABEL MIB ROUNDS [BDF]");
    bench_require(anydma_active(), "the shim is not preloaded");
    const char *thp = getenv("ANYDMA_THP");
    bool asks = !thp || strcmp(thp, "never") != 0;
    label = argv[1];
    len = strtoul(argv[2], NULL, 0) << 20;
    rounds = (unsigned)atoi(argv[3]);
    pinner_open(argc > 4 ? argv[4] : NULL);
    bench_pin(0);
    bench_require(stats_now().containers == 1, "no device is attached");
    if (asks) /* only now: the heap is huge pages from its first pin on */
        run_first("touched_before_first_pin", &heap, PAGES_TOUCHED, 1, false);
    for (enum pages kind = PAGES_FRESH; kind < (asks ? NR_PAGES_KINDS : PAGES_HUGE); kind++)
        run_first(pages_names[kind], &heap, kind, rounds, asks);
    run_first("mapping_fresh", &mapping, PAGES_FRESH, rounds, asks);
    run_first("mapping_touched", &mapping, PAGES_TOUCHED, rounds, false);
    run_one_call();
    run_pieces(asks);
    run_again();
    run_fork();
    return 0;
}
