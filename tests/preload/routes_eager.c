/* SPDX-License-Identifier: MIT */
/*
 * Eager mode registers all of it: every byte that malloc or mmap returned is registered at the moment it is returned,
 * whatever became of the memory before: freed, purged, trimmed, unmapped in part, another thread's. The device is asked
 * (mapped.h), which registers nothing.
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 * @limit 120
 */
#include "expect.h"
#include "mapped.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    BLOCK = 2 << 20,
    NR_SLOTS = 64,
    NR_THREADS = 3,
    NR_STEPS = 20000,
    RW = PROT_READ | PROT_WRITE
};

static atomic_ulong nr_asked, nr_missing;

static void *ask(void *ptr, size_t len)
{
    const char *hole = ptr && ptr != MAP_FAILED ? mapped_hole(ptr, len) : ptr;
    atomic_fetch_add(&nr_asked, 1);
    if (hole && atomic_fetch_add(&nr_missing, 1) < 5)
        fprintf(stderr, "of %p, %zu bytes, %p is not registered\n", ptr, len, (const void *)hole);
    return ptr;
}

static bool none_missing(void)
{
    unsigned long asked = atomic_exchange(&nr_asked, 0), missing = atomic_exchange(&nr_missing, 0);
    if (missing)
        fprintf(stderr, "%lu of %lu were not registered\n", missing, asked);
    return asked && !missing;
}

/* Every size twice, with a trim in between, and two of them at once. */
static void freed_and_taken_again(void)
{
    for (size_t size = 1000; size < 40u << 20; size += size / 2) {
        char *first = ask(malloc(size), size), *second = ask(calloc(1, size), size);
        memset(first, 1, size);
        free(first);
        malloc_trim(0);
        first = ask(malloc(size), size);
        free(second);
        second = ask(aligned_alloc(1 << 16, size), size);
        free(first);
        free(second);
        malloc_trim(0);
        free(ask(malloc(size / 2), size / 2));
    }
    EXPECT(none_missing());
}

static void grown_by_realloc(void)
{
    char *block = ask(malloc(100), 100);
    for (size_t size = 200; size < 30u << 20; size += size / 3)
        block = ask(realloc(block, size), size);
    for (size_t size = 30u << 20; size > 100; size -= size / 3)
        block = ask(realloc(block, size), size);
    free(block);
    EXPECT(none_missing());
}

/* What one thread has allocated another one frees. */
static _Atomic(void *) slots[NR_SLOTS];

static void *churn(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    for (int step = 0; step < NR_STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned kind = random >> 60;
        size_t size = 1 + (random >> 33) % (kind ? 300 << 10 : 4 << 20);
        void *block = kind == 1   ? ask(calloc(1, size), size)
                      : kind == 2 ? ask(memalign(PAGE, size), size)
                                  : ask(malloc(size), size);
        free(atomic_exchange(&slots[random >> 50 & (NR_SLOTS - 1)], block));
        if (step % 512 == 0)
            malloc_trim(0);
    }
    return NULL;
}

static void among_threads(void)
{
    pthread_t threads[NR_THREADS];
    for (uintptr_t i = 0; i < NR_THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
    for (int i = 0; i < NR_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < NR_SLOTS; i++)
        free(atomic_exchange(&slots[i], NULL));
    EXPECT(none_missing());
}

static char *map(size_t len, int prot)
{
    return mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void mappings(void)
{
    for (size_t len = PAGE; len < 20u << 20; len = 2 * len + PAGE) {
        char *whole = ask(map(len, RW), len), *other = ask(map(len, RW), len);
        munmap(whole, len);
        whole = ask(map(len, RW), len);
        whole = ask(mremap(whole, len, 3 * len, MREMAP_MAYMOVE), 3 * len);
        munmap(whole + len, len);
        ask(mmap(whole, len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), len);
        ask(whole + 2 * len, len);
        madvise(other, len, MADV_DONTNEED);
        ask(other, len);
        munmap(whole, 3 * len);
        munmap(other, len);
    }
    EXPECT(none_missing());
}

static void made_accessible_later(void)
{
    char *reserved = map(8 * BLOCK, PROT_NONE);
    EXPECT(reserved != MAP_FAILED && mapped_hole(reserved, PAGE));
    EXPECT(mprotect(reserved, 3 * BLOCK, RW) == 0);
    ask(reserved, 3 * BLOCK);
    ask(mmap(reserved + 5 * BLOCK, BLOCK, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), BLOCK);
    munmap(reserved, 8 * BLOCK);
    EXPECT(none_missing());
}

/* A container that ends takes its registrations with it; the next one gets what is alive, and what comes. */
static void with_another_container(void)
{
    char *before = malloc(BLOCK), *mapped = map(BLOCK, RW);
    for (int round = 0; round < 2; round++) {
        int fd = open("/dev/null", O_RDWR);
        EXPECT(anydma_attach(fd, 0) == 0);
        ask(before, BLOCK);
        ask(mapped, BLOCK);
        free(ask(malloc(BLOCK), BLOCK));
        EXPECT(close(fd) == 0);
    }
    free(before);
    munmap(mapped, BLOCK);
    EXPECT(none_missing());
}

/* For eager_limits.sh: takes up to 96 MiB, half of it by malloc, and says what it got and what a device reaches of it. */
static int take_a_lot(void)
{
    enum { NR = 12, EACH = 4 << 20 };
    unsigned nr_got = 0, nr_reached = 0;
    for (int i = 0; i < 2 * NR; i++) {
        char *block = i % 2 ? malloc(EACH) : map(EACH, RW);
        if (block == MAP_FAILED || !block) {
            EXPECT(errno == ENOMEM);
            continue;
        }
        memset(block, 1, EACH);
        nr_got++;
        nr_reached += !mapped_hole(block, EACH);
    }
    void *grown = mremap(map(EACH, RW), EACH, 2 * EACH, MREMAP_MAYMOVE);
    char *reserved = map(EACH, PROT_NONE);
    printf("got=%u reached=%u grown=%d accessible=%d\n", nr_got, nr_reached, grown != MAP_FAILED,
           mprotect(reserved, EACH, RW) == 0);
    return expect_failed;
}

/* And once more where it is read only, which no device is to write to. */
static int share(void)
{
    int nr = 0;
    for (int i = 0; i < 3; i++) {
        char *shared = mmap(NULL, BLOCK, i < 2 ? RW : PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        nr += i < 2 && shared != MAP_FAILED && mapped_hole(shared, BLOCK);
    }
    printf("shared=%d\n", nr);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "shared") == 0)
        return share();
    if (argc > 1)
        return take_a_lot();
    shim_must_be_there();
    behaviour("what was freed and is handed out again is registered", freed_and_taken_again);
    behaviour("so is what realloc moved and grew", grown_by_realloc);
    behaviour("and what other threads have freed", among_threads);
    behaviour("so are mappings, however they came", mappings);
    behaviour("and memory that is made accessible later", made_accessible_later);
    behaviour("a further container is given all of it", with_another_container);
    return behaviours_end();
}
