/* SPDX-License-Identifier: MIT */
/* The malloc family's doors. Common case: one test, then jemalloc. Pointers that are not ours (another allocator's, or
 * from before the start) go on to the next allocator. operator new and delete reach these through libstdc++. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/os.h"
#include "dma/hazards.h"
#include "interpose/lifecycle.h"
#include "interpose/sampled.h"
#include "memory/checked.h"
#include "memory/heap.h"
#include "profile/samples.h"

static _Atomic bool is_own;     /* jemalloc serves this process */
static _Atomic bool is_sampled; /* so it does, with every call passing the sampler: is_own stays false */
/* Where the heap is, once one of them is true, and how long: own_len where is_own, sampled_len where is_sampled, the other one is 0.
 * free finds by one comparison that a pointer lies in it, as most do. */
static struct {
    uintptr_t start;
    size_t own_len, sampled_len;
} heap;

/* glibc's own names, usable before dlsym is: */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
extern void __libc_free(void *ptr);
extern void *__libc_memalign(size_t align, size_t size);

/* The next allocator. */
struct allocator {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*memalign)(size_t, size_t);
    size_t (*malloc_usable_size)(void *);
    int (*malloc_trim)(size_t);
    struct mallinfo2 (*mallinfo2)(void);
    int (*malloc_info)(int, FILE *);
    void (*malloc_stats)(void);
    int (*mallopt)(int, int);
};

__attribute__((noinline, cold)) static const struct allocator *next_allocator(void)
{
    static struct allocator found = {
        __libc_malloc, __libc_calloc, __libc_realloc, __libc_free, __libc_memalign, NULL, NULL,
        NULL,          NULL,          NULL,           NULL};
    static _Atomic bool is_resolved;
    if (atomic_load_explicit(&is_resolved, memory_order_relaxed) ||
        atomic_exchange_explicit(&is_resolved, true, memory_order_relaxed))
        return &found; /* also for what dlsym itself allocates */
    found.malloc_usable_size = (__typeof__(found.malloc_usable_size))lifecycle_next("malloc_usable_size");
    found.malloc_trim = (__typeof__(found.malloc_trim))lifecycle_next("malloc_trim");
    found.mallinfo2 = (__typeof__(found.mallinfo2))lifecycle_next("mallinfo2");
    found.malloc_info = (__typeof__(found.malloc_info))lifecycle_next("malloc_info");
    found.malloc_stats = (__typeof__(found.malloc_stats))lifecycle_next("malloc_stats");
    found.mallopt = (__typeof__(found.mallopt))lifecycle_next("mallopt");
    found.malloc = (__typeof__(found.malloc))lifecycle_next("malloc");
    found.calloc = (__typeof__(found.calloc))lifecycle_next("calloc");
    found.realloc = (__typeof__(found.realloc))lifecycle_next("realloc");
    found.memalign = (__typeof__(found.memalign))lifecycle_next("memalign");
    found.free = (__typeof__(found.free))lifecycle_next("free");
    return &found;
}

void malloc_find_next(void)
{
    next_allocator();
}

/* --- check mode: a heap in which every allocation has pages of its own ---------------------------------------------------- */

static void *checked_memalign(size_t align, size_t size)
{
    void *ptr = checked_take(size, align);
    if (!ptr)
        errno = ENOMEM;
    return ptr;
}

static void *checked_malloc(size_t size)
{
    return checked_memalign(16, size);
}

static void *checked_calloc(size_t n, size_t size)
{
    size_t total;
    return checked_malloc(__builtin_mul_overflow(n, size, &total) ? SIZE_MAX : total);
}

static void checked_free(void *ptr)
{
    size_t size = checked_size(ptr);
    if (!size) {
        next_allocator()->free(ptr);
        return;
    }
    hazards_look((uintptr_t)ptr, size, true);
    checked_give(ptr);
}

static size_t checked_usable_size(void *ptr)
{
    size_t size = checked_size(ptr);
    return size ? size : next_allocator()->malloc_usable_size(ptr);
}

static void *checked_realloc(void *ptr, size_t size)
{
    size_t old_size = checked_size(ptr);
    if (!old_size)
        return next_allocator()->realloc(ptr, size);
    void *moved = size ? checked_malloc(size) : NULL;
    if (moved)
        memcpy(moved, ptr, old_size < size ? old_size : size);
    if (moved || !size)
        checked_free(ptr);
    return moved;
}

static const struct allocator checked_allocator = {
    .malloc = checked_malloc,
    .calloc = checked_calloc,
    .realloc = checked_realloc,
    .free = checked_free,
    .memalign = checked_memalign,
    .malloc_usable_size = checked_usable_size,
};

/* --- sampling: the same heap, and a look at every call ---------------------------------------------------------------- */

static void *sampled_aligned(size_t align, size_t size);

/* These get the pointers that are not jemalloc's. */
static void next_free(void *ptr)
{
    next_allocator()->free(ptr);
}

static void *next_realloc(void *ptr, size_t size)
{
    return next_allocator()->realloc(ptr, size);
}

static size_t next_usable_size(void *ptr)
{
    return next_allocator()->malloc_usable_size(ptr);
}

static const struct allocator sampled_allocator = {
    .malloc = sampled_malloc,
    .calloc = sampled_calloc,
    .memalign = sampled_aligned,
    .free = next_free,
    .realloc = next_realloc,
    .malloc_usable_size = next_usable_size,
};

/* The next allocator, once it is known that it serves for good (ANYDMA_HEAP=system). */
static _Atomic(const struct allocator *) settled;

/* Who serves what jemalloc does not: check mode's heap, or the next allocator. */
__attribute__((noinline, cold)) static const struct allocator *other_allocator(void)
{
    if (atomic_load_explicit(&is_sampled, memory_order_relaxed))
        return &sampled_allocator;
    return config.check && config.heap == HEAP_OWN && lifecycle_enter() ? &checked_allocator
                                                                        : next_allocator();
}

/* Whether to use jemalloc from now on; false while starting, when disabled, in check mode, or without an arena. */
__attribute__((noinline, cold)) static bool start_own(void)
{
    if (atomic_load_explicit(&is_sampled, memory_order_relaxed))
        return false;
    if (!lifecycle_enter())
        return false;
    if (config.heap != HEAP_OWN)
        atomic_store_explicit(&settled, next_allocator(), memory_order_release);
    if (config.heap != HEAP_OWN || config.check || !arena_first_heap.len)
        return false;
    heap.start = arena_first_heap.start;
    if (samples_near_len) {
        heap.sampled_len = samples_near_len;
        atomic_store_explicit(&is_sampled, true, memory_order_relaxed);
        return false;
    }
    heap.own_len = arena_first_heap.len;
    atomic_store_explicit(&is_own, true, memory_order_relaxed);
    return true;
}

static inline bool use_own(void)
{
    return __builtin_expect(atomic_load_explicit(&is_own, memory_order_relaxed), 1) || start_own();
}

/* For what the sampler has no interest in. */
static inline bool is_jemalloc(void)
{
    return use_own() || atomic_load_explicit(&is_sampled, memory_order_relaxed);
}

static inline bool owns(const void *ptr)
{
    return __builtin_expect(heap_owns(ptr), 1) || heap_owns_elsewhere(ptr);
}

/* Not every function of jemalloc says why it failed. */
static inline void *or_enomem(void *ptr)
{
    if (__builtin_expect(!ptr, 0))
        errno = ENOMEM;
    return ptr;
}

/* glibc rounds an alignment that is no power of two up; jemalloc would refuse it. */
static size_t round_alignment(size_t align)
{
    size_t power = 16;
    while (power < align)
        power *= 2;
    return power;
}

static void *sampled_aligned(size_t align, size_t size)
{
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    return or_enomem(sampled_memalign(round_alignment(align), size ? size : 1));
}

static inline void free_elsewhere(void *ptr)
{
    if (atomic_load_explicit(&is_sampled, memory_order_relaxed))
        sampled_free(ptr);
    else
        jem_free(ptr);
}

/* A sample, or nothing is decided yet, or another allocator serves. */
__attribute__((noinline)) static void *malloc_cold(size_t size)
{
    if (atomic_load_explicit(&is_sampled, memory_order_relaxed))
        return sampled_malloc(size);
    const struct allocator *allocator = atomic_load_explicit(&settled, memory_order_acquire);
    if (allocator)
        return allocator->malloc(size);
    return start_own() ? jem_malloc(size) : other_allocator()->malloc(size);
}

void *malloc(size_t size)
{
    if (__builtin_expect(atomic_load_explicit(&is_own, memory_order_relaxed), 1) || samples_pass_by(size))
        return jem_malloc(size);
    return malloc_cold(size);
}

void *calloc(size_t n, size_t size)
{
    if (!use_own())
        return other_allocator()->calloc(n, size);
    return jem_calloc(n, size);
}

__attribute__((noinline)) static void free_cold(void *ptr)
{
    const struct allocator *allocator = atomic_load_explicit(&settled, memory_order_acquire);
    if (allocator)
        allocator->free(ptr);
    else if (heap_owns_elsewhere(ptr))
        free_elsewhere(ptr);
    else
        other_allocator()->free(ptr);
}

/* jem_free by another name: by one, the compiler makes both jumps to it one, and sampling jumps to that first. */
extern void jem_free_again(void *ptr) __asm__("jem_free");

void free(void *ptr)
{
    size_t offset = (uintptr_t)ptr - heap.start;
    if (__builtin_expect(offset < heap.own_len, 1))
        jem_free(ptr);
    else if (__builtin_expect(offset < heap.sampled_len, 1))
        samples_are_near(offset) ? sampled_free(ptr) : jem_free_again(ptr);
    else if (ptr)
        free_cold(ptr);
}

void *realloc(void *ptr, size_t size)
{
    if (!ptr)
        return malloc(size);
    if (!owns(ptr))
        return other_allocator()->realloc(ptr, size);
    if (atomic_load_explicit(&is_sampled, memory_order_relaxed))
        return size ? or_enomem(sampled_realloc(ptr, size)) : sampled_realloc(ptr, 0);
    if (__builtin_expect(size > HEAP_CARRIES_ABOVE, 0))
        return or_enomem(heap_realloc_large(ptr, size));
    return size ? or_enomem(jem_realloc(ptr, size)) : jem_realloc(ptr, 0);
}

void *reallocarray(void *ptr, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(ptr, total);
}

void *memalign(size_t align, size_t size)
{
    if (!use_own())
        return other_allocator()->memalign(align, size);
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    /* jemalloc takes no notice of the alignment of no bytes. */
    return or_enomem(jem_memalign(round_alignment(align), size ? size : 1));
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    if (align % sizeof(void *) || !align || align & (align - 1))
        return EINVAL;
    int saved = errno;
    void *ptr = memalign(align, size);
    errno = saved;
    if (!ptr)
        return ENOMEM;
    *out = ptr;
    return 0;
}

void *valloc(size_t size)
{
    return memalign(OS_PAGE_SIZE, size);
}

void *pvalloc(size_t size)
{
    if (size > SIZE_MAX - OS_PAGE_SIZE) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(OS_PAGE_SIZE, os_page_up(size));
}

size_t malloc_usable_size(void *ptr)
{
    if (!ptr)
        return 0;
    return owns(ptr) ? jem_malloc_usable_size(ptr) : other_allocator()->malloc_usable_size(ptr);
}

int malloc_trim(size_t pad)
{
    return is_jemalloc() ? heap_trim() : next_allocator()->malloc_trim(pad);
}

/* glibc's parameters have no counterpart in jemalloc: accepted, without effect. */
int mallopt(int parameter, int value)
{
    return is_jemalloc() ? 1 : next_allocator()->mallopt(parameter, value);
}

struct mallinfo2 mallinfo2(void)
{
    if (!is_jemalloc())
        return next_allocator()->mallinfo2();
    struct heap_usage usage;
    heap_usage(&usage);
    return (struct mallinfo2){.arena = usage.mapped - usage.large,
                              .ordblks = 1, /* no allocator has none; how many is not known */
                              .hblks = usage.nr_large,
                              .hblkhd = usage.large,
                              .uordblks = usage.allocated - usage.large,
                              .fordblks = usage.mapped - usage.allocated,
                              .keepcost = usage.mapped - usage.active};
}

struct mallinfo mallinfo(void)
{
    struct mallinfo2 info = mallinfo2();
    return (struct mallinfo){.arena = (int)info.arena,
                             .ordblks = (int)info.ordblks,
                             .hblks = (int)info.hblks,
                             .hblkhd = (int)info.hblkhd,
                             .uordblks = (int)info.uordblks,
                             .fordblks = (int)info.fordblks,
                             .keepcost = (int)info.keepcost};
}

int malloc_info(int options, FILE *stream)
{
    if (!is_jemalloc())
        return next_allocator()->malloc_info(options, stream);
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct heap_usage usage;
    heap_usage(&usage);
    fprintf(stream,
            "<malloc version=\"1\">\n<total type=\"allocated\" size=\"%zu\"/>\n<total type=\"active\" "
            "size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n</malloc>\n",
            usage.allocated, usage.active, usage.mapped);
    return 0;
}

static void write_to_stderr(void *arg, const char *text)
{
    os_write(2, text, strlen(text));
}

void malloc_stats(void)
{
    if (is_jemalloc())
        jem_malloc_stats_print(write_to_stderr, NULL, NULL);
    else
        next_allocator()->malloc_stats();
}
