/* SPDX-License-Identifier: MIT */
/*
 * The malloc family behaves as glibc documents it: sizes, alignments, errno, contents. Where glibc's own
 * answer is the measure, it is asked for it (through a handle of libc.so.6).
 */
#include "expect.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* These calls are wrong on purpose. */
#pragma GCC diagnostic ignored "-Walloc-size-larger-than="
#pragma GCC diagnostic ignored "-Wuse-after-free"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { KIB = 1 << 10, MIB = 1 << 20, PAGE = 4096 };
static const size_t too_large[] = {SIZE_MAX,    SIZE_MAX - PAGE, (size_t)PTRDIFF_MAX + 1,
                                   PTRDIFF_MAX, (size_t)1 << 62, (size_t)1 << 52};
enum { NR_TOO_LARGE = sizeof(too_large) / sizeof(too_large[0]) };

static bool is_aligned(const void *ptr, size_t align)
{
    return ((uintptr_t)ptr & (align - 1)) == 0;
}

static bool is_all(const unsigned char *bytes, unsigned char value, size_t len)
{
    return len == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void malloc_of_0(void)
{
    char *a = malloc(0), *b = malloc(0);
    EXPECT(a != NULL);
    EXPECT(b != NULL);
    EXPECT(a != b);
    free(a);
    free(b);
    free(NULL);
    EXPECT((a = calloc(0, 8)) != NULL);
    free(a);
    EXPECT((a = calloc(8, 0)) != NULL);
    free(a);
    EXPECT((a = realloc(NULL, 0)) != NULL);
    free(a);
}

static void is_refused(void *ptr)
{
    EXPECT(ptr == NULL);
    EXPECT(errno == ENOMEM);
    free(ptr);
    errno = 0;
}

static void what_is_too_large(void)
{
    for (int i = 0; i < NR_TOO_LARGE; i++) {
        size_t size = too_large[i];
        void *out = &size;
        errno = 0;
        is_refused(malloc(size));
        is_refused(calloc(1, size));
        is_refused(calloc(size, 2));
        is_refused(realloc(NULL, size));
        is_refused(memalign(64, size));
        is_refused(aligned_alloc(PAGE, size));
        is_refused(valloc(size));
        is_refused(pvalloc(size));
        is_refused(reallocarray(NULL, size, 4));
        EXPECT(posix_memalign(&out, 64, size) == ENOMEM);
        EXPECT(out == &size);
        EXPECT(errno == 0);
    }
}

static void products_that_overflow(void)
{
    char *ptr = malloc(100);
    strcpy(ptr, "kept");
    errno = 0;
    is_refused(calloc(SIZE_MAX / 2, 3));
    is_refused(calloc((size_t)1 << 32, (size_t)1 << 32));
    is_refused(reallocarray(ptr, SIZE_MAX / 2, 3));
    is_refused(reallocarray(ptr, (size_t)1 << 32, (size_t)1 << 32));
    EXPECT(strcmp(ptr, "kept") == 0);
    free(ptr);
}

static void failed_realloc(void)
{
    for (int i = 0; i < NR_TOO_LARGE; i++) {
        size_t bytes = i % 2 ? 3 * MIB : 300;
        unsigned char *ptr = malloc(bytes);
        memset(ptr, 0x5a, bytes);
        errno = 0;
        EXPECT(realloc(ptr, too_large[i]) == NULL);
        EXPECT(errno == ENOMEM);
        EXPECT(is_all(ptr, 0x5a, bytes));
        free(ptr);
    }
}

static void errno_of_success(void)
{
    static const size_t sizes[] = {1, 100, 5000, 100 * KIB, 5 * MIB, 40 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        errno = 4321;
        void *a = malloc(sizes[i]), *b = calloc(1, sizes[i]), *c = memalign(4 * PAGE, sizes[i]);
        a = realloc(a, sizes[i] * 3);
        EXPECT(errno == 4321);
        free(a);
        free(b);
        free(c);
        malloc_trim(0);
        EXPECT(errno == 4321);
    }
}

static void every_size_is_16_aligned(void)
{
    for (size_t size = 0; size < 300; size++) {
        void *a = malloc(size), *b = calloc(1, size), *c = realloc(NULL, size),
             *d = realloc(malloc(64), size ? size : 1);
        void *e = reallocarray(NULL, 1, size), *f = NULL;
        EXPECT(posix_memalign(&f, sizeof(void *), size) == 0);
        EXPECT(is_aligned(a, 16) && is_aligned(b, 16) && is_aligned(c, 16) && is_aligned(d, 16));
        EXPECT(is_aligned(e, 16) && is_aligned(f, 16));
        free(a);
        free(b);
        free(c);
        free(d);
        free(e);
        free(f);
    }
}

/* The device reaches it, so all of it must be ours to write. */
static void fill_usable(void *ptr, size_t least)
{
    EXPECT(ptr != NULL);
    EXPECT(is_in_arena(ptr));
    EXPECT(malloc_usable_size(ptr) >= least);
    memset(ptr, 0xa5, malloc_usable_size(ptr));
}

static void powers_of_two(void)
{
    static const size_t sizes[] = {0, 1, 17, 4095, 4096, 70000, 3 * MIB};
    for (size_t align = 1; align <= 64 * MIB; align *= 2) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            void *ptr = memalign(align, sizes[i]);
            fill_usable(ptr, sizes[i]);
            EXPECT(is_aligned(ptr, align));
            free(ptr);
            ptr = aligned_alloc(align, sizes[i]);
            EXPECT(ptr && is_aligned(ptr, align));
            free(ptr);
            if (align < sizeof(void *))
                continue;
            EXPECT(posix_memalign(&ptr, align, sizes[i]) == 0 && is_aligned(ptr, align));
            free(ptr);
        }
    }
}

static void other_alignments(void)
{
    static const size_t aligns[] = {0, 3, 5, 17, 48, 100, 1000, 4097, 3 * MIB};
    static const size_t rounded[] = {1, 4, 8, 32, 64, 128, 1024, 8192, 4 * MIB};
    for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
        void *ptr = memalign(aligns[i], 1000);
        EXPECT(ptr != NULL && is_aligned(ptr, rounded[i]));
        free(ptr);
        ptr = aligned_alloc(aligns[i], 1000);
        EXPECT(ptr != NULL && is_aligned(ptr, rounded[i]));
        free(ptr);
        void *out = &ptr;
        if (aligns[i] % sizeof(void *) == 0 && aligns[i] && !(aligns[i] & (aligns[i] - 1)))
            continue;
        errno = 0;
        EXPECT(posix_memalign(&out, aligns[i], 1000) == EINVAL);
        EXPECT(out == &ptr && errno == 0);
    }
}

/* What no address can be aligned to: glibc's errno, whatever it is. */
static void impossible_alignments(void)
{
    static const size_t aligns[] = {SIZE_MAX, SIZE_MAX / 2 + 2, SIZE_MAX / 2 + 1, SIZE_MAX / 4 + 1,
                                    (size_t)1 << 52};
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    void *(*glibc_memalign)(size_t, size_t) = (void *(*)(size_t, size_t))dlsym(libc, "memalign");
    EXPECT(glibc_memalign != NULL && glibc_memalign != memalign);
    for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
        errno = 0;
        void *theirs = glibc_memalign(aligns[i], 100);
        int expected = errno;
        errno = 0;
        void *ours = memalign(aligns[i], 100);
        EXPECT(ours == NULL && theirs == NULL);
        if (!EXPECT(errno == expected))
            fprintf(stderr, "memalign(%#zx): glibc says %s\n", aligns[i], strerror(expected));
        free(ours);
    }
}

static void pages(void)
{
    for (size_t size = 0; size < 3 * PAGE; size += 511) {
        void *a = valloc(size), *b = pvalloc(size);
        EXPECT(a && is_aligned(a, PAGE));
        EXPECT(b && is_aligned(b, PAGE));
        EXPECT(malloc_usable_size(b) >= (size + PAGE - 1) / PAGE * PAGE);
        free(a);
        free(b);
    }
}

static void usable_size(void)
{
    EXPECT(malloc_usable_size(NULL) == 0);
    for (size_t size = 1; size < 20 * MIB; size = size * 5 / 4 + 3) {
        unsigned char *ptr = malloc(size);
        fill_usable(ptr, size);
        size_t usable = malloc_usable_size(ptr);
        ptr = realloc(ptr, usable + 1);
        EXPECT(is_all(ptr, 0xa5, usable));
        free(ptr);
    }
}

static void realloc_to_0(void)
{
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++) {
        errno = 0;
        EXPECT(realloc(malloc(10 * KIB), 0) == NULL);
        EXPECT(reallocarray(malloc(10 * KIB), 0, 3) == NULL);
        EXPECT(errno == 0);
    }
    EXPECT(mallinfo2().uordblks < before + 2 * MIB);
}

static void realloc_keeps_contents(void)
{
    static const size_t sizes[] = {10,       5000,        100, 3 * MIB,  40 * KIB,
                                   20 * MIB, 3 * MIB + 1, 1,   64 * KIB, 8 * MIB};
    size_t had = 1;
    unsigned char *ptr = malloc(1);
    *ptr = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t common = had < sizes[i] ? had : sizes[i];
        if (i % 2)
            EXPECT(anydma_iova(ptr) != ANYDMA_BAD_IOVA);
        ptr = realloc(ptr, sizes[i]);
        if (!EXPECT(ptr && is_all(ptr, (unsigned char)i, common)))
            return;
        memset(ptr, (int)i + 1, sizes[i]);
        had = sizes[i];
    }
    free(ptr);
}

/* Pages that a device may know are kept, not given back: they come again with what was in them, were they not
 * zeroed. */
static void calloc_after_registered_memory(void)
{
    static const size_t sizes[] = {40, 3000, 5000, 20 * KIB, 300 * KIB, 2 * MIB, 5 * MIB, 32 * MIB};
    for (size_t round = 0; round < 4 * sizeof(sizes) / sizeof(sizes[0]); round++) {
        size_t size = sizes[round / 4];
        uint64_t iova;
        unsigned char *dirty = malloc(size), *neighbour = malloc(size);
        memset(dirty, 0xee, size);
        memset(neighbour, 0xee, size);
        EXPECT(anydma_iova_range(dirty, size, &iova) == 0);
        free(dirty);
        if (round % 2)
            malloc_trim(0);
        if (round % 4 < 2)
            free(neighbour);
        for (int i = 0; i < 8; i++) {
            unsigned char *clean = calloc(size / 8, 8);
            EXPECT(clean && is_all(clean, 0, size));
            memset(clean, 0xdd, size);
            EXPECT(i % 2 || anydma_iova_range(clean, size, &iova) == 0);
            free(clean);
        }
        if (round % 4 >= 2)
            free(neighbour);
    }
}

/* How many bytes malloc_stats writes to `fd`. */
static off_t stats_written_to(int fd)
{
    int out = dup(1), err = dup(2), nowhere = memfd_create("nowhere", 0), file = memfd_create("written", 0);
    fflush(NULL);
    dup2(fd == 1 ? file : nowhere, 1);
    dup2(fd == 2 ? file : nowhere, 2);
    malloc_stats();
    fflush(NULL);
    dup2(out, 1);
    dup2(err, 2);
    off_t written = lseek(file, 0, SEEK_END);
    close(out);
    close(err);
    close(nowhere);
    close(file);
    return written;
}

static void statistics_are_printed(void)
{
    EXPECT(stats_written_to(1) == 0);
    EXPECT(stats_written_to(2) > 0);
}

static void malloc_info_is_xml(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    EXPECT(malloc_info(0, stream) == 0);
    fclose(stream);
    EXPECT(len > 0 && strncmp(text, "<malloc version=", 16) == 0 && strstr(text, "</malloc>\n") != NULL);
    free(text);
    EXPECT(malloc_info(1, stdout) != 0);
}

static bool is_all_zero(const char *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Registered pages keep what was written to them when they are given back, and are handed out again. */
static void calloc_is_zero_where_pages_stay(void)
{
    enum { NR = 64 };
    char *blocks[NR], *neighbour = malloc(MIB);
    for (int round = 0; round < 40; round++) {
        size_t size = (size_t)(round % 8 + 1) * 20000;
        for (int i = 0; i < NR; i++) {
            blocks[i] = i % 2 ? calloc(1, size) : malloc(size);
            EXPECT(anydma_iova(blocks[i]) != ANYDMA_BAD_IOVA);
            if (i % 2)
                EXPECT(is_all_zero(blocks[i], size));
            memset(blocks[i], 0xee, size);
        }
        for (int i = 0; i < NR; i++)
            free(blocks[i]);
        if (round % 4 == 3)
            malloc_trim(0);
    }
    free(neighbour);
}

/* Large blocks that lay side by side are one stretch when they are freed, to be used again for small ones. */
static void freed_pages_are_used_again(void)
{
    enum { NR_LARGE = 64, NR_SMALL = 8192, SMALL = 1000 };
    static void *large[NR_LARGE], *small[NR_SMALL];
    for (int i = 0; i < NR_LARGE; i++)
        large[i] = malloc(MIB / 2);
    size_t mapped = mallinfo2().arena + mallinfo2().hblkhd;
    for (int i = 0; i < NR_LARGE; i++)
        free(large[i]);
    for (int i = 0; i < NR_SMALL; i++)
        small[i] = malloc(SMALL);
    EXPECT(mallinfo2().arena + mallinfo2().hblkhd <= mapped);
    for (int i = 0; i < NR_SMALL; i++)
        free(small[i]);
}

/* To the size of 64 steps it is copied where its place ends, no oftener. */
static void grows_in_place(void)
{
    const size_t step = (size_t)16 << 20;
    unsigned nr_moves = 0;
    char *block = malloc(step);
    for (size_t len = 2 * step; len <= 64 * step; len += step) {
        char *grown = realloc(block, len);
        if (!EXPECT(grown))
            return;
        nr_moves += grown != block;
        block = grown;
        block[len - 1] = (char)(len / step);
        EXPECT(block[len - step - 1] == (char)(len / step - 1) || len == 2 * step);
    }
    EXPECT(nr_moves <= 4);
    free(block);
}

enum { NR_TURNS = 4, MOST_IN_TURNS = 48 };

/* Each a step of 1 MiB longer, one after the other: none of them has room behind it. Returns how many pages were brought in. */
static long grow_in_turns(bool is_looked_up)
{
    unsigned char *blocks[NR_TURNS] = {NULL};
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (size_t len = 0; len < MOST_IN_TURNS * MIB; len += MIB)
        for (int i = 0; i < NR_TURNS; i++) {
            blocks[i] = realloc(blocks[i], len + MIB);
            if (!EXPECT(blocks[i]))
                return 0;
            memset(blocks[i] + len, (int)(len / MIB) * NR_TURNS + i, MIB);
            if (is_looked_up && !i)
                EXPECT(anydma_iova(blocks[i] + len) == (uintptr_t)blocks[i] + len);
        }
    getrusage(RUSAGE_SELF, &after);
    for (int i = 0; i < NR_TURNS; i++) {
        for (size_t len = 0; len < MOST_IN_TURNS * MIB; len += MIB)
            EXPECT(is_all(blocks[i] + len, (unsigned char)((int)(len / MIB) * NR_TURNS + i), MIB));
        free(blocks[i]);
    }
    return after.ru_minflt - before.ru_minflt;
}

/* Each page is brought in once, and those of the first few MiB a few times. Pages are counted, of which huge ones would be few. */
static void blocks_that_grow_in_turns(void)
{
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    EXPECT(grow_in_turns(false) < NR_TURNS * (MOST_IN_TURNS + 16) * MIB / 4096);
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
}

static void one_of_them_is_registered(void)
{
    grow_in_turns(true);
}

static void mallinfo_counts(void)
{
    struct mallinfo2 before = mallinfo2();
    char *ptr = malloc(8 * MIB);
    struct mallinfo2 with = mallinfo2();
    struct mallinfo small = mallinfo();
    /* As glibc's: what is large is counted by itself, and not among the rest. */
    EXPECT(with.hblks == before.hblks + 1 && with.hblkhd >= before.hblkhd + 8 * MIB);
    EXPECT(with.uordblks < before.uordblks + MIB && with.ordblks > 0);
    EXPECT(with.arena == with.uordblks + with.fordblks);
    EXPECT(small.uordblks == (int)with.uordblks && small.hblkhd == (int)with.hblkhd &&
           small.hblks == (int)with.hblks);
    free(ptr);
    EXPECT(mallinfo2().hblks == before.hblks && mallinfo2().hblkhd < with.hblkhd);
    char *many[1000];
    for (int i = 0; i < 1000; i++)
        many[i] = malloc(10 * KIB);
    EXPECT(mallinfo2().uordblks >= before.uordblks + 700 * 10 * KIB);
    for (int i = 0; i < 1000; i++)
        free(many[i]);
    EXPECT(mallopt(M_ARENA_MAX, 2) == 1);
}

static void libc_allocates_here(void)
{
    char *copy = strdup("text"), *printed = NULL, *cwd = getcwd(NULL, 0);
    EXPECT(is_in_arena(copy));
    EXPECT(asprintf(&printed, "%d", 42) == 2 && is_in_arena(printed));
    EXPECT(is_in_arena(cwd));
    EXPECT(anydma_iova(printed) != ANYDMA_BAD_IOVA);
    free(copy);
    free(printed);
    free(cwd);
}

int main(void)
{
    shim_must_be_there();
    behaviour("malloc_of_0_gives_distinct_pointers", malloc_of_0);
    behaviour("what_is_too_large_gives_enomem", what_is_too_large);
    behaviour("products_that_overflow_give_enomem", products_that_overflow);
    behaviour("blocks_that_grow_in_turns_are_moved_not_copied",
              blocks_that_grow_in_turns); /* nothing is registered yet */
    behaviour("one_that_is_registered_keeps_what_is_in_it", one_of_them_is_registered);
    behaviour("failed_realloc_keeps_the_block", failed_realloc);
    behaviour("success_leaves_errno_alone", errno_of_success);
    behaviour("every_size_is_16_aligned", every_size_is_16_aligned);
    behaviour("alignments_that_are_powers_of_two_are_kept", powers_of_two);
    behaviour("other_alignments_are_rounded_up_or_refused", other_alignments);
    behaviour("impossible_alignments_get_the_errno_of_glibc", impossible_alignments);
    behaviour("valloc_and_pvalloc_give_whole_pages", pages);
    behaviour("usable_size_is_usable", usable_size);
    behaviour("realloc_to_0_frees", realloc_to_0);
    behaviour("realloc_keeps_contents", realloc_keeps_contents);
    behaviour("calloc_zeroes_memory_that_was_registered", calloc_after_registered_memory);
    behaviour("malloc_stats_goes_to_stderr", statistics_are_printed);
    behaviour("malloc_info_is_xml", malloc_info_is_xml);
    behaviour("calloc_is_zero_where_pages_stay", calloc_is_zero_where_pages_stay);
    behaviour("freed_pages_are_used_again", freed_pages_are_used_again);
    behaviour("a_block_grows_where_it_is", grows_in_place);
    behaviour("mallinfo_counts_live_bytes", mallinfo_counts);
    behaviour("libc_itself_allocates_here", libc_allocates_here);
    return behaviours_end();
}
