/* SPDX-License-Identifier: MIT */
/*
 * The heap's own ways of giving pages back: large blocks, trims, other threads' arenas, realloc. What was
 * looked up is freed, allocated again, touched, looked up again and written by the device, beside a block
 * that stays alive.
 * @limit 120
 */
#include "device.h"
#include "expect.h"
#include "judge.h"

#include <malloc.h>

enum { PAGE = 4096, LARGE = 16 << 20, SMALL = 8192, NR_SMALL = 2048, STEP = 256 << 10, ROUNDS = 4 };

static unsigned nr_stale; /* of the behaviour that is being looked at */

/* Looks at every `step`th byte on: a live block must be answered for. */
static void judge_block(unsigned char *block, size_t len, size_t step)
{
    for (size_t at = 0; block && at + sizeof(uint64_t) <= len; at += step) {
        struct judged judged = judge(block + at, ANYDMA_BAD_IOVA);
        nr_stale += judged.verdict == STALE;
        EXPECT(judged.verdict == FRESH);
    }
}

static void look_up_block(unsigned char *block, size_t len)
{
    struct anydma_segment segments[1];
    memset(block, 1, len);
    EXPECT(anydma_segments(block, len, segments, 1) > 0);
}

/* A small block in a unit of registration that `large` reaches into, where that can be had. */
static uint64_t *block_beside(const unsigned char *large)
{
    uint64_t *block = NULL;
    for (int i = 0; i < 4096; i++) {
        block = malloc(256);
        if ((uintptr_t)block >> 21 == (uintptr_t)large >> 21 ||
            (uintptr_t)block >> 21 == (uintptr_t)(large + LARGE) >> 21)
            break; /* the rest is left: it stays alive as well */
    }
    return block;
}

static void large_blocks(void)
{
    unsigned char *block = malloc(LARGE);
    uint64_t *beside = block_beside(block);
    neighbour_start(beside);
    for (int round = 0; round < ROUNDS; round++) {
        look_up_block(block, LARGE);
        free(block);
        malloc_trim(0);
        block = malloc(LARGE);
        judge_block(block, LARGE, STEP);
    }
    EXPECT(neighbour_stop());
    free(block);
}

static unsigned char *small[NR_SMALL];

static void allocate_small(void)
{
    for (int i = 0; i < NR_SMALL; i++)
        if (!small[i])
            look_up_block(small[i] = malloc(SMALL), SMALL);
}

static void free_small_but(int kept)
{
    for (int i = 0; i < NR_SMALL; i++) {
        if (i == kept)
            continue;
        free(small[i]);
        small[i] = NULL;
    }
}

static void small_blocks(void)
{
    allocate_small();
    neighbour_start(small[NR_SMALL / 2]);
    for (int round = 0; round < ROUNDS; round++) {
        free_small_but(NR_SMALL / 2);
        malloc_trim(0);
        allocate_small();
        for (int i = 0; i < NR_SMALL; i++)
            if (i != NR_SMALL / 2)
                judge_block(small[i], SMALL, SMALL / 2);
    }
    EXPECT(neighbour_stop());
    free_small_but(-1);
}

static void *allocate_and_end(void *arg)
{
    allocate_small();
    return arg;
}

static void *free_and_end(void *arg)
{
    free_small_but(-1);
    malloc_trim(0);
    return arg;
}

static void run_thread(void *(*run)(void *))
{
    pthread_t thread;
    if (EXPECT(pthread_create(&thread, NULL, run, NULL) == 0))
        pthread_join(thread, NULL);
}

static void other_threads_blocks(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        run_thread(allocate_and_end);
        run_thread(free_and_end);
        allocate_small();
        for (int i = 0; i < NR_SMALL; i++)
            judge_block(small[i], SMALL, SMALL / 2);
        free_small_but(-1);
    }
}

static void reallocated_blocks(void)
{
    unsigned char *block = malloc(LARGE);
    uint64_t *beside = block_beside(block);
    neighbour_start(beside);
    look_up_block(block, LARGE);
    for (int round = 0; round < ROUNDS; round++) {
        const size_t sizes[] = {LARGE / 4, LARGE * 2, PAGE, LARGE};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            block = realloc(block, sizes[i]);
            judge_block(block, sizes[i], sizes[i] < STEP ? PAGE : STEP);
        }
    }
    EXPECT(neighbour_stop());
    free(block);
}

enum { NR_GROWING = 3, NR_OTHERS = 64, STEPS = 400, GROWN = 40 << 20 };

static unsigned below(unsigned limit)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 32) * limit >> 32);
}

static void judge_a_page(unsigned char *block, size_t len)
{
    struct judged judged =
        judge(block + (size_t)below((unsigned)(len / PAGE)) * PAGE + PAGE / 2, ANYDMA_BAD_IOVA);
    nr_stale += judged.verdict == STALE;
    EXPECT(judged.verdict == FRESH);
}

static void mark_pages(unsigned char *block, size_t from, size_t to)
{
    for (size_t at = from; at < to; at += PAGE)
        block[at] = (unsigned char)(at / PAGE);
}

/* Grows it by up to 6 MiB, or begins anew; it is asked for now and then. */
static void grow_one(unsigned char **block, size_t *len)
{
    size_t more = (size_t)(1 + below(1500)) * PAGE;
    if (*len > GROWN) {
        free(*block);
        *block = NULL;
        *len = 0;
    }
    *block = realloc(*block, *len + more);
    for (size_t at = 0; at < *len; at += PAGE)
        EXPECT((*block)[at] == (unsigned char)(at / PAGE));
    mark_pages(*block, *len, *len + more);
    *len += more;
    if (below(3) == 0)
        judge_a_page(*block, *len);
}

static void replace_one(unsigned char **block, size_t *len)
{
    if (*block)
        judge_a_page(*block, *len);
    free(*block);
    *len = (size_t)(1 + below(below(4) ? 16 : 800)) * PAGE;
    *block = malloc(*len);
    if (below(2))
        judge_a_page(*block, *len);
}

/* Where pages are registered, or a neighbour of theirs is, they do not move along. */
static void blocks_that_grow_among_others(void)
{
    unsigned char *growing[NR_GROWING] = {NULL}, *others[NR_OTHERS] = {NULL};
    size_t grown[NR_GROWING] = {0}, len[NR_OTHERS] = {0};
    for (int step = 0; step < STEPS; step++) {
        grow_one(&growing[step % NR_GROWING], &grown[step % NR_GROWING]);
        for (int i = 0; i < 8; i++) {
            unsigned other = below(NR_OTHERS);
            replace_one(&others[other], &len[other]);
        }
    }
    for (int i = 0; i < NR_GROWING; i++)
        free(growing[i]);
    for (int i = 0; i < NR_OTHERS; i++)
        free(others[i]);
}

static void look(const char *name, void (*how)(void))
{
    nr_stale = 0;
    behaviour(name, how);
    if (nr_stale)
        printf("STALE: %u in %s\n", nr_stale, name);
}

int main(void)
{
    device_start();
    if (!getenv("ANYDMA_HEAP")) /* else the shim's heap is switched off: routes_off.sh */
        shim_must_be_there();
    look("large_blocks_that_are_freed_and_allocated_again", large_blocks);
    look("small_blocks_that_are_freed_and_trimmed_around_a_live_one", small_blocks);
    look("blocks_of_threads_that_ended_freed_by_others", other_threads_blocks);
    look("blocks_that_realloc_shrinks_and_grows", reallocated_blocks);
    look("blocks_that_realloc_grows_among_others", blocks_that_grow_among_others);
    return behaviours_end();
}
