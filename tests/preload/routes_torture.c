/* SPDX-License-Identifier: MIT */
/*
 * The race torture: some threads allocate, free, map, unmap, purge, move and fork; others look up what the
 * first keep alive and have the device write there. Every byte that the device wrote must be where the CPU
 * looks, or the lookup had said no. Long-lived neighbours, looked up once, are written all the while.
 * TORTURE_SECONDS says for how long (5).
 */
#include "anydma.h"
#include "device.h"
#include "expect.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { NR_CHANGERS = 3, NR_WRITERS = 2, NR_SLOTS = 48, NR_NEIGHBOURS = 64, MAX_PAGES = 24, PAGE = 4096 };

/* What a changer published: alive and in place for whoever holds the lock. Lookups are also made without it,
 * of memory that is just leaving: their answers are worth nothing, and must not spoil what comes after. */
struct slot {
    pthread_mutex_t lock;
    unsigned char *at;
    size_t len;
    bool is_mapped; /* by mmap; else by malloc */
};

static struct slot slots[NR_SLOTS];
static uint64_t *neighbours[NR_NEIGHBOURS];
static uint64_t neighbour_iovas[NR_NEIGHBOURS];
static atomic_bool is_over;
static atomic_ulong nr_written, nr_refused, nr_changes, nr_forks, nr_stale, nr_faults, nr_lost,
    nr_child_failures;

static unsigned random_below(uint64_t *state, unsigned limit)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*state >> 33) % limit;
}

/* --- the threads that take memory away ------------------------------------------------------------ */

static void fill_slot(struct slot *slot, uint64_t *random)
{
    slot->is_mapped = random_below(random, 2);
    if (slot->is_mapped) {
        slot->len = PAGE * (1 + (size_t)random_below(random, MAX_PAGES));
        slot->at = mmap(NULL, slot->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (slot->at == MAP_FAILED)
            slot->at = NULL;
        return;
    }
    slot->len = 16u << random_below(random, 14);
    slot->at = malloc(slot->len);
}

static void empty_slot(struct slot *slot)
{
    if (slot->is_mapped)
        munmap(slot->at, slot->len);
    else
        free(slot->at);
    slot->at = NULL;
}

/* Moves, purges or replaces the pages of a mapping, under its lock. */
static void change_mapping(struct slot *slot, uint64_t *random)
{
    size_t first = PAGE * (size_t)random_below(random, (unsigned)(slot->len / PAGE)), len = slot->len - first;
    void *moved;
    switch (random_below(random, 6)) {
    case 0:
        madvise(slot->at + first, len, MADV_DONTNEED);
        break;
    case 1:
        madvise(slot->at + first, len, MADV_FREE);
        break;
    case 2:
        if (mmap(slot->at + first, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) == MAP_FAILED)
            abort();
        break;
    case 3:
        len = PAGE * (1 + (size_t)random_below(random, MAX_PAGES));
        moved = mremap(slot->at, slot->len, len, MREMAP_MAYMOVE);
        if (moved != MAP_FAILED) {
            slot->at = moved;
            slot->len = len;
        }
        break;
    case 4:
        mprotect(slot->at + first, len, PROT_NONE);
        mprotect(slot->at + first, len, PROT_READ | PROT_WRITE);
        break;
    default:
        if (first) {
            munmap(slot->at + first, len);
            slot->len = first;
        }
    }
}

/* The child has nothing registered, and its heap works. */
static void fork_once(void)
{
    pid_t child = fork();
    if (child == 0) {
        void *own = malloc(3000);
        bool is_right =
            own && anydma_iova(own) == ANYDMA_BAD_IOVA && anydma_iova(neighbours[0]) == ANYDMA_BAD_IOVA;
        free(own);
        _exit(is_right ? 0 : 1);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        atomic_fetch_add(&nr_child_failures, 1);
    atomic_fetch_add(&nr_forks, 1);
}

static void *change(void *arg)
{
    uint64_t random = 77 + (uint64_t)(uintptr_t)arg;
    while (!atomic_load(&is_over)) {
        struct slot *slot = &slots[random_below(&random, NR_SLOTS)];
        pthread_mutex_lock(&slot->lock);
        if (!slot->at)
            fill_slot(slot, &random);
        else if (slot->is_mapped && random_below(&random, 2))
            change_mapping(slot, &random);
        else
            empty_slot(slot);
        pthread_mutex_unlock(&slot->lock);
        atomic_fetch_add(&nr_changes, 1);
        if (random_below(&random, 400) == 0)
            malloc_trim(0);
        if (random_below(&random, 1500) == 0)
            fork_once();
    }
    return NULL;
}

/* --- the threads that have the device write ------------------------------------------------------- */

static void write_to(unsigned char *at, uint64_t token)
{
    uint64_t iova = anydma_iova(at), seen;
    if (iova == ANYDMA_BAD_IOVA) {
        atomic_fetch_add(&nr_refused, 1);
        return;
    }
    int error = device_write(iova, &token, sizeof(token));
    memcpy(&seen, at, sizeof(seen));
    if (error && atomic_fetch_add(&nr_faults, 1) == 0)
        fprintf(stderr, "a DMA fault at IOVA 0x%lx, promised for %p: %d\n", iova, (void *)at, error);
    if (!error && seen != token && atomic_fetch_add(&nr_stale, 1) == 0)
        fprintf(stderr, "stale: the device wrote 0x%lx to IOVA 0x%lx, the CPU reads 0x%lx at %p\n", token,
                iova, seen, (void *)at);
    atomic_fetch_add(&nr_written, 1);
}

static void *write_all_over(void *arg)
{
    uint64_t random = 9999 + (uint64_t)(uintptr_t)arg;
    while (!atomic_load(&is_over)) {
        uint64_t token = random;
        struct slot *slot = &slots[random_below(&random, NR_SLOTS)];
        pthread_mutex_lock(&slot->lock);
        if (slot->at && slot->len >= sizeof(uint64_t))
            write_to(slot->at + 8 * (size_t)random_below(&random, (unsigned)(slot->len / 8)), token);
        pthread_mutex_unlock(&slot->lock);
        unsigned char *leaving =
            __atomic_load_n(&slots[random_below(&random, NR_SLOTS)].at, __ATOMIC_RELAXED);
        if (leaving && anydma_iova(leaving + random_below(&random, 4 * PAGE)) == ANYDMA_BAD_IOVA)
            atomic_fetch_add(&nr_refused, 1);
        size_t i = (uintptr_t)arg + NR_WRITERS * random_below(&random, NR_NEIGHBOURS / NR_WRITERS);
        if (device_write(neighbour_iovas[i], &token, sizeof(token)) != 0 ||
            *(volatile uint64_t *)neighbours[i] != token)
            atomic_fetch_add(&nr_lost, 1);
    }
    return NULL;
}

static void make_neighbours(void)
{
    for (size_t i = 0; i < NR_NEIGHBOURS; i++) {
        neighbours[i] = i % 4 ? malloc(64 << (i % 8))
                              : mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        neighbour_iovas[i] = anydma_iova(neighbours[i]);
        EXPECT(neighbour_iovas[i] != ANYDMA_BAD_IOVA);
    }
}

static void torture(void)
{
    const char *wanted = getenv("TORTURE_SECONDS");
    const struct timespec how_long = {.tv_sec = wanted ? atoi(wanted) : 5};
    pthread_t threads[NR_CHANGERS + NR_WRITERS];
    make_neighbours();
    for (size_t i = 0; i < NR_SLOTS; i++)
        pthread_mutex_init(&slots[i].lock, NULL);
    for (uintptr_t i = 0; i < NR_CHANGERS + NR_WRITERS; i++)
        pthread_create(&threads[i], NULL, i < NR_WRITERS ? write_all_over : change, (void *)i);
    nanosleep(&how_long, NULL);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < NR_CHANGERS + NR_WRITERS; i++)
        pthread_join(threads[i], NULL);
    printf("%lu writes, %lu lookups refused, %lu changes, %lu forks\n", nr_written, nr_refused, nr_changes,
           nr_forks);
    EXPECT(nr_written > 0 && nr_changes > 0);
    EXPECT(nr_stale == 0);
    EXPECT(nr_faults == 0);
    EXPECT(nr_lost == 0);
    EXPECT(nr_child_failures == 0);
    EXPECT(atomic_load(device.calls_by_others) == 0);
}

/* Nothing stays registered or held back for what is gone. */
static void everything_is_given_back(void)
{
    struct anydma_stats stats;
    for (size_t i = 0; i < NR_SLOTS; i++)
        if (slots[i].at)
            empty_slot(&slots[i]);
    for (size_t i = 0; i < NR_NEIGHBOURS; i++) {
        if (i % 4)
            free(neighbours[i]);
        else
            munmap(neighbours[i], PAGE);
    }
    malloc_trim(0);
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0);
    EXPECT(stats.held_back == 0);
    EXPECT(stats.unmap_failures == 0);
    EXPECT(stats.maps > 0 && stats.unmaps > 0);
}

int main(void)
{
    device_start();
    shim_must_be_there();
    behaviour("what the device wrote is where the CPU looks, whatever other threads do", torture);
    behaviour("everything is given back", everything_is_given_back);
    return behaviours_end();
}
