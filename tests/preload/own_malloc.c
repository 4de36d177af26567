/* SPDX-License-Identifier: MIT */
/*
 * A program with a malloc built into it, as browsers have one: its first call, before any constructor, takes a lock and
 * makes a mapping under it, which starts the shim. Nothing that the shim does then may allocate: that malloc is entered
 * once. Its memory, being mapped, has IOVAs all the same.
 */
#include "expect.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK = 8 << 20, HEADER = 16 };

static atomic_flag is_inside = ATOMIC_FLAG_INIT;
static char *next_free, *chunk_end;
static unsigned nr_chunks;

static void enter(void)
{
    static const char text[] = "malloc was called from within malloc\n";
    if (!atomic_flag_test_and_set(&is_inside))
        return;
    if (write(STDERR_FILENO, text, sizeof(text) - 1) > 0)
        _exit(1);
    _exit(2);
}

void *malloc(size_t size)
{
    size_t need = (size + HEADER + 15) & ~(size_t)15;
    enter();
    if ((size_t)(chunk_end - next_free) < need) {
        size_t len = need > CHUNK ? need : CHUNK;
        next_free = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        chunk_end = next_free + len;
        nr_chunks++;
    }
    char *block = next_free + HEADER;
    memcpy(next_free, &size, sizeof(size));
    next_free += need;
    atomic_flag_clear(&is_inside);
    return block;
}

void free(void *ptr)
{
    (void)ptr;
}

void *calloc(size_t n, size_t size)
{
    return malloc(n * size); /* never used before: zero */
}

void *realloc(void *ptr, size_t size)
{
    size_t old = 0;
    if (ptr)
        memcpy(&old, (char *)ptr - HEADER, sizeof(old));
    void *block = malloc(size);
    return ptr ? memcpy(block, ptr, old < size ? old : size) : block;
}

static char *first;

static void before_everything(void)
{
    first = malloc(100);
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_everything;

/* There is no environ yet then: the settings are known all the same. */
static void first_call(void)
{
    struct anydma_stats stats;
    EXPECT(nr_chunks >= 1 && anydma_active());
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0 && stats.containers == 1);
    EXPECT(is_in_arena(first) && anydma_iova(first) == (uintptr_t)first);
}

static void later_calls(void)
{
    for (int i = 0; i < 50; i++) {
        char *block = malloc(CHUNK / 3);
        EXPECT(is_in_arena(block) && anydma_iova(block) == (uintptr_t)block);
        free(block);
    }
    EXPECT(nr_chunks > 10);
}

int main(void)
{
    behaviour("its_first_call_starts_the_shim", first_call);
    behaviour("its_memory_has_iovas", later_calls);
    return behaviours_end();
}
