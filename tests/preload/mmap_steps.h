/* SPDX-License-Identifier: MIT */
/*
 * The random steps of mmap_differential.c, each made in both worlds (worlds.h) and compared. A step's
 * function returns false, and has said why, when the worlds differ.
 */
#ifndef TESTS_PRELOAD_MMAP_STEPS_H
#define TESTS_PRELOAD_MMAP_STEPS_H

#include "worlds.h"

#include <stdarg.h>

enum { MAX_PAGES = 20 };
enum { GUARD_INSTALL = 102, GUARD_REMOVE = 103, DONTNEED_LOCKED = 24 };

/* --- steps: made before they run, so that any of them can be left out ----------------------------- */

enum kind {
    STORE,
    UNMAP,
    MAP_OVER,
    MAP_NOREPLACE,
    MAP_NEW,
    PROTECT,
    ADVISE,
    SHRINK,
    GROW,
    MOVE,
    MOVE_OVER,
    KEEP_OLD,
    RETURN,
    DROP,
    LOCK,
    WRONG,
    LOOK_UP,
    NR_KINDS
};
static const char *const kind_names[] = {
    "store", "unmap",     "map over", "map noreplace", "map new", "protect", "advise", "shrink", "grow",
    "move",  "move over", "keep old", "return",        "drop",    "lock",    "wrong",  "look up"};

struct step {
    enum kind kind;
    unsigned at, pages, to, choice, value;
    bool by_syscall;
};

static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % limit);
}

static struct step random_step(unsigned value)
{
    struct step step = {.value = value};
    step.kind = random_below(4) ? random_below(NR_KINDS) : random_below(2) ? STORE : MAP_OVER;
    step.at = random_below(WINDOW_PAGES - 1);
    step.pages = 1 + random_below(random_below(3) ? 6 : MAX_PAGES);
    if (step.at + step.pages > WINDOW_PAGES)
        step.pages = WINDOW_PAGES - step.at;
    step.to = random_below(WINDOW_PAGES);
    step.choice = random_below(1000);
    step.by_syscall = random_below(4) == 0;
    return step;
}

/* --- the state of both worlds --------------------------------------------------------------------- */

static struct world ours, kernels;
static unsigned region_pages[MAX_REGIONS];
static unsigned
    owner[WINDOW_PAGES]; /* which mapping a page of the window belongs to, 0: none; a mapping may be split */
static bool is_shared[WINDOW_PAGES];
static unsigned next_owner = 1;
static bool with_lookups;
static unsigned lookups_done;
static const char *last_step;

__attribute__((format(printf, 1, 2))) static bool differ(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "    the worlds differ, in step %s: ", last_step);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

static void set_owner(unsigned at, unsigned pages, unsigned who, bool shared)
{
    for (unsigned i = at; i < at + pages && i < WINDOW_PAGES; i++) {
        owner[i] = who;
        is_shared[i] = shared;
    }
}

/* mremap takes one mapping: whether that is one for certain (the kernel may have merged neighbours, or not).
 */
static bool is_one_mapping(unsigned at, unsigned pages)
{
    for (unsigned i = at; i < at + pages; i++)
        if (i >= WINDOW_PAGES || !owner[i] || owner[i] != owner[at])
            return false;
    return true;
}

/* Which pages of two ranges, one in each world, differ. */
static bool same_pages(const char *a, const char *b, unsigned pages)
{
    static char copy_a[PAGE], copy_b[PAGE];
    for (unsigned i = 0; i < pages; i++) {
        enum access access_a = look_at_page(a + (size_t)i * PAGE, copy_a);
        enum access access_b = look_at_page(b + (size_t)i * PAGE, copy_b);
        if (access_a != access_b)
            return differ("page %u may be accessed to %d (0 not, 1 read, 2 write), the kernel's to %d", i,
                          access_a, access_b);
        if (access_a != ACCESS_NONE && memcmp(copy_a, copy_b, PAGE) != 0)
            return differ("page %u has %08x.., the kernel's %08x..", i, *(unsigned *)copy_a,
                          *(unsigned *)copy_b);
    }
    return true;
}

static bool same_worlds(void)
{
    if (!same_pages(ours.window, kernels.window, WINDOW_PAGES))
        return false;
    for (unsigned i = 0; i < WINDOW_PAGES; i++)
        if (!owner[i] && anydma_iova(ours.window + i * PAGE) != ANYDMA_BAD_IOVA)
            return differ("page %u is unmapped, but a lookup gives an IOVA", i);
    for (int i = 0; i < MAX_REGIONS; i++)
        if (ours.regions[i] && !same_pages(ours.regions[i], kernels.regions[i], region_pages[i]))
            return differ("(in region %d)", i);
    return true;
}

static bool is_in_window(const struct world *world, long addr)
{
    return (uintptr_t)addr - (uintptr_t)world->window < WINDOW_BYTES;
}

static bool is_error(long result)
{
    return result < 0 && result > -4096;
}

/* The same call in both worlds: args[0], and args[4] of mremap, are counted from the window's start; the file
 * is each world's own (-2). */
static void call_both(const struct step *step, long number, const long args[6], long *a, long *b)
{
    long for_a[6], for_b[6];
    memcpy(for_a, args, sizeof(for_a));
    memcpy(for_b, args, sizeof(for_b));
    for_a[0] += (long)ours.window;
    for_b[0] += (long)kernels.window;
    if (number == SYS_mremap && args[3] & MREMAP_FIXED) {
        for_a[4] += (long)ours.window;
        for_b[4] += (long)kernels.window;
    } else if (number == SYS_mmap && args[4] == -2) {
        for_a[4] = ours.file;
        for_b[4] = kernels.file;
    }
    *a = world_call(&ours, step->by_syscall, number, for_a);
    *b = world_call(&kernels, false, number, for_b);
}

/* Both gave the same error, or the same place in the window. */
static bool same_results(long a, long b)
{
    if (is_error(a) != is_error(b) || (is_error(a) && a != b))
        return differ("result %ld (%s), the kernel's %ld (%s)", a,
                      is_error(a) ? strerror((int)-a) : "success", b,
                      is_error(b) ? strerror((int)-b) : "success");
    if (!is_error(a) && is_in_window(&kernels, b) && a - (long)ours.window != b - (long)kernels.window)
        return differ("result at %#lx, the kernel's at %#lx of the window", a - (long)ours.window,
                      b - (long)kernels.window);
    return true;
}

static bool call_alike(const struct step *step, long number, const long args[6], bool *succeeded)
{
    long a, b;
    call_both(step, number, args, &a, &b);
    *succeeded = !is_error(a);
    return same_results(a, b);
}

/* --- what lies outside of the window -------------------------------------------------------------- */

static bool drop_region(unsigned index)
{
    size_t len = (size_t)region_pages[index] * PAGE;
    long result = ours.regions[index] ? munmap(ours.regions[index], len) : 0;
    if (kernels.regions[index])
        raw_call(SYS_munmap, (long)kernels.regions[index], (long)len, 0, 0, 0, 0);
    ours.regions[index] = kernels.regions[index] = NULL;
    return result == 0 || differ("munmap of region %u: %s", index, strerror(errno));
}

/* Keeps what was placed freely in both worlds. The arena may have used a hole of the window: that goes at
 * once. */
static bool keep_region(const struct step *step, long a, long b, unsigned pages)
{
    unsigned index = step->choice % MAX_REGIONS;
    if (ours.regions[index] && !drop_region(index))
        return false;
    ours.regions[index] = (char *)a;
    kernels.regions[index] = (char *)b;
    region_pages[index] = pages;
    if (!same_pages(ours.regions[index], kernels.regions[index], pages))
        return differ("(in what was placed freely)");
    bool landed_here = (uintptr_t)a < (uintptr_t)ours.window + WINDOW_BYTES &&
                       (uintptr_t)a + (size_t)pages * PAGE > (uintptr_t)ours.window;
    return landed_here ? drop_region(index) : true;
}

/* --- the steps
 * ------------------------------------------------------------------------------------------------------------
 */

static const int protections[] = {
    PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE | PROT_EXEC,
    PROT_READ | PROT_EXEC};
#define ANY(array, number) (array)[(number) % (sizeof(array) / sizeof((array)[0]))]

static bool store(const struct step *step)
{
    char copy[PAGE];
    for (unsigned i = step->at; i < step->at + step->pages; i++)
        if (look_at_page(ours.window + i * PAGE, copy) == ACCESS_WRITE) {
            for (size_t at = step->choice % 512 * 8; at < PAGE; at += sizeof(unsigned)) {
                *(unsigned *)(ours.window + i * PAGE + at) = step->value << 8 | i;
                *(unsigned *)(kernels.window + i * PAGE + at) = step->value << 8 | i;
            }
        }
    return true;
}

static bool unmap(const struct step *step, long at, long len)
{
    bool done;
    if (!call_alike(step, SYS_munmap, (long[6]){at, len}, &done))
        return false;
    set_owner(step->at, step->pages, 0, false);
    return true;
}

static bool map_over(const struct step *step, long at, long len)
{
    static const struct {
        int flags, file;
    } sorts[] = {{MAP_PRIVATE | MAP_ANONYMOUS, -1},
                 {MAP_PRIVATE | MAP_ANONYMOUS, -1},
                 {MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1},
                 {MAP_SHARED | MAP_ANONYMOUS, -1},
                 {MAP_PRIVATE, -2},
                 {MAP_SHARED, -2},
                 {MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1}};
    int how = step->kind == MAP_NOREPLACE ? MAP_FIXED_NOREPLACE : MAP_FIXED;
    int flags = ANY(sorts, step->choice).flags, file = ANY(sorts, step->choice).file;
    bool done;
    if (!call_alike(step, SYS_mmap,
                    (long[6]){at, len, ANY(protections, step->choice / 7), flags | how, file, 0}, &done))
        return false;
    if (done)
        set_owner(step->at, step->pages, next_owner++, flags & MAP_SHARED);
    return true;
}

static bool map_new(const struct step *step, long len)
{
    long a, b, args[6] = {0, len, ANY(protections, step->choice / 6), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0};
    a = world_call(&ours, step->by_syscall, SYS_mmap, args);
    b = world_call(&kernels, false, SYS_mmap, args);
    if (is_error(a) || is_error(b))
        return same_results(a, b);
    return keep_region(step, a, b, step->pages);
}

static bool protect(const struct step *step, long at, long len)
{
    bool done;
    if (!call_alike(step, SYS_mprotect, (long[6]){at, len, ANY(protections, step->choice)}, &done))
        return false;
    for (unsigned i = step->at; i < step->at + step->pages;
         i++) /* the kernel may have got to the first hole */
        if (owner[i])
            owner[i] = next_owner + i;
    next_owner += WINDOW_PAGES;
    return true;
}

static bool advise(const struct step *step, long at, long len)
{
    static const int advice[] = {
        MADV_DONTNEED,       MADV_DONTNEED,   MADV_DONTNEED, MADV_REMOVE,  DONTNEED_LOCKED,
        GUARD_INSTALL,       GUARD_REMOVE,    MADV_COLD,     MADV_PAGEOUT, MADV_POPULATE_READ,
        MADV_POPULATE_WRITE, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_FREE,    99};
    int value = ANY(advice, step->choice);
    bool done;
    if (!call_alike(step, SYS_madvise, (long[6]){at, len, value}, &done))
        return false;
    if (value == MADV_FREE) /* what is read until it is written again is not certain */
        return store(&(struct step){.at = step->at, .pages = step->pages, .value = step->value});
    if (value == MADV_SEQUENTIAL)
        for (unsigned i = step->at; i < step->at + step->pages; i++)
            owner[i] = owner[i] ? next_owner + i : 0;
    next_owner += WINDOW_PAGES;
    return true;
}

static bool shrink(const struct step *step, long at, long len)
{
    unsigned left = 1 + step->choice % step->pages;
    bool done;
    if (!is_one_mapping(step->at, step->pages))
        return true;
    if (!call_alike(step, SYS_mremap, (long[6]){at, len, left * PAGE, step->choice & 64 ? MREMAP_MAYMOVE : 0},
                    &done))
        return false;
    set_owner(step->at + left, step->pages - left, 0, false);
    return true;
}

/* In place where the window has room. */
static bool grow(const struct step *step, long at, long len)
{
    unsigned more = 1 + step->choice % 9;
    long a, b, new_len = len + more * PAGE, flags = step->choice & 16 ? MREMAP_MAYMOVE : 0;
    unsigned who = owner[step->at];
    bool shared = is_shared[step->at];
    if (!is_one_mapping(step->at, step->pages) || shared || step->at + step->pages + more > WINDOW_PAGES)
        return true;
    call_both(step, SYS_mremap, (long[6]){at, len, new_len, flags}, &a, &b);
    if (is_error(a) || is_error(b) || is_in_window(&kernels, b)) {
        if (!is_error(a) && !is_error(b))
            set_owner(step->at, step->pages + more, who, shared);
        return same_results(a, b);
    }
    set_owner(step->at, step->pages, 0, false);
    return keep_region(step, a, b, step->pages + more);
}

/* To a place in the window, over what is there. */
static bool move_over(const struct step *step, long at, long len)
{
    unsigned pages = step->choice & 1 ? step->pages : 1 + step->choice % step->pages;
    bool shared = is_shared[step->at], done, keeps = step->kind == KEEP_OLD;
    long flags = MREMAP_MAYMOVE | MREMAP_FIXED | (keeps ? MREMAP_DONTUNMAP : 0);
    if (keeps)
        pages = step->pages;
    if (!is_one_mapping(step->at, step->pages) || step->to + pages > WINDOW_PAGES)
        return true;
    if (!call_alike(step, SYS_mremap, (long[6]){at, len, (long)pages * PAGE, flags, (long)step->to * PAGE},
                    &done))
        return false;
    if (!done)
        return true;
    if (!keeps)
        set_owner(step->at, step->pages, 0, false);
    set_owner(step->to, pages, next_owner++, shared);
    return true;
}

/* To wherever there is room: only MREMAP_DONTUNMAP goes there without growing, and a shared mapping's
 * duplicate. */
static bool move_away(const struct step *step, long at, long len)
{
    bool duplicate = is_shared[step->at] && step->choice & 1;
    long a, b, flags = MREMAP_MAYMOVE | (duplicate ? 0 : MREMAP_DONTUNMAP);
    if (!is_one_mapping(step->at, step->pages))
        return true;
    call_both(step, SYS_mremap, (long[6]){at, duplicate ? 0 : len, len, flags}, &a, &b);
    if (is_error(a) || is_error(b))
        return same_results(a, b);
    return keep_region(step, a, b, step->pages);
}

/* A region comes back into the window. */
static bool return_region(const struct step *step)
{
    unsigned index = step->choice % MAX_REGIONS, pages = region_pages[index];
    size_t len = (size_t)pages * PAGE;
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (!ours.regions[index] || step->at + pages > WINDOW_PAGES)
        return true;
    long a = (long)mremap(ours.regions[index], len, len, flags, ours.window + step->at * PAGE);
    a = a == -1 ? -errno : a;
    long b = raw_call(SYS_mremap, (long)kernels.regions[index], (long)len, (long)len, flags,
                      (long)kernels.window + step->at * PAGE, 0);
    if (!same_results(a, b))
        return false;
    if (!is_error(a)) {
        ours.regions[index] = kernels.regions[index] = NULL;
        set_owner(step->at, pages, next_owner++, false);
    }
    return true;
}

/* A hole can't be locked; the arena's reservation can: not compared. Nor is what a purge does before it meets
 * locked memory. */
static bool lock(const struct step *step, long at, long len)
{
    bool done;
    if (!is_one_mapping(step->at, step->pages) || with_lookups)
        return true;
    if (!call_alike(step, step->choice & 1 ? SYS_mlock : SYS_munlock, (long[6]){at, len}, &done))
        return false;
    for (unsigned i = step->at; i < step->at + step->pages; i++)
        owner[i] = owner[i] ? next_owner + i : 0;
    next_owner += WINDOW_PAGES;
    return true;
}

/* Calls that the kernel refuses, or that do nothing. */
static bool wrong(const struct step *step, long at, long len)
{
    const int rw = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    const struct {
        long number, args[6];
    } calls[] = {
        {SYS_munmap, {at + 1, len}},
        {SYS_munmap, {at, 0}},
        {SYS_munmap, {at, -PAGE}},
        {SYS_munmap, {at, (long)1 << 62}},
        {SYS_mmap, {at, 0, rw, anonymous | MAP_FIXED, -1, 0}},
        {SYS_mmap, {at + 8, len, rw, anonymous | MAP_FIXED, -1, 0}},
        {SYS_mmap, {at, (long)1 << 62, rw, anonymous | MAP_FIXED, -1, 0}},
        {SYS_mmap, {at, (long)1 << 62, rw, anonymous, -1, 0}},
        {SYS_mmap, {at, len, rw, MAP_ANONYMOUS | MAP_FIXED, -1, 0}},
        {SYS_mmap, {at, len, rw, MAP_PRIVATE | MAP_FIXED, -1, 0}},
        {SYS_mmap, {at, len, rw, MAP_PRIVATE | MAP_FIXED, -2, 12}},
        {SYS_mmap, {at, len, rw, MAP_SHARED_VALIDATE | MAP_FIXED | 1 << 23, -2, 0}},
        {SYS_mremap, {at + 1, len, len, MREMAP_MAYMOVE}},
        {SYS_mremap, {at, len, 0, MREMAP_MAYMOVE}},
        {SYS_mremap, {at, len, len, 64}},
        {SYS_mremap, {at, len, len, MREMAP_FIXED, at}},
        {SYS_mremap, {at, len, len, MREMAP_FIXED | MREMAP_MAYMOVE, at}},
        {SYS_mremap, {at, len, len, MREMAP_FIXED | MREMAP_MAYMOVE, at + 12}},
        {SYS_mremap, {at, len, len, MREMAP_DONTUNMAP}},
        {SYS_mremap, {at, len, len + PAGE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE}},
        {SYS_mremap, {at, len, (long)1 << 62, MREMAP_MAYMOVE}},
        {SYS_madvise, {at + 1, len, MADV_DONTNEED}},
        {SYS_madvise, {at, 0, MADV_DONTNEED}},
        {SYS_madvise, {at, -PAGE, MADV_DONTNEED}},
        {SYS_madvise, {at, -1, MADV_DONTNEED}},
        {SYS_madvise, {at, len, 12345}},
        {SYS_mprotect, {at + 1, len, PROT_READ}},
        {SYS_mprotect, {at, 0, PROT_READ}},
        {SYS_mprotect, {at, -PAGE, PROT_READ}},
        {SYS_mprotect, {at, len, PROT_READ | 0x1000000 | 0x2000000}},
    };
    bool done;
    unsigned i = step->choice % (sizeof(calls) / sizeof(calls[0]));
    bool needs_mapping = calls[i].number == SYS_mremap || calls[i].number == SYS_mprotect;
    if (needs_mapping && !is_one_mapping(step->at, step->pages))
        return true;
    return call_alike(step, calls[i].number, calls[i].args, &done) ||
           differ("(call %u of the wrong ones)", i);
}

static bool look_up(const struct step *step, long at, long len)
{
    struct anydma_segment segments[MAX_PAGES];
    uint64_t iova;
    if (!with_lookups)
        return true;
    if (step->choice & 1)
        anydma_iova_range(ours.window + at, (size_t)len, &iova);
    else if (step->choice & 2)
        anydma_segments(ours.window + at, (size_t)len, segments, MAX_PAGES);
    else
        iova = anydma_iova(ours.window + at);
    lookups_done++;
    return true;
}

static bool perform(const struct step *step)
{
    long at = (long)step->at * PAGE, len = (long)step->pages * PAGE;
    last_step = kind_names[step->kind];
    switch (step->kind) {
    case STORE:
        return store(step);
    case UNMAP:
        return unmap(step, at, len);
    case MAP_OVER:
    case MAP_NOREPLACE:
        return map_over(step, at, len);
    case MAP_NEW:
        return map_new(step, len);
    case PROTECT:
        return protect(step, at, len);
    case ADVISE:
        return advise(step, at, len);
    case SHRINK:
        return shrink(step, at, len);
    case GROW:
        return grow(step, at, len);
    case MOVE:
        return move_away(step, at, len);
    case MOVE_OVER:
    case KEEP_OLD:
        return move_over(step, at, len);
    case RETURN:
        return return_region(step);
    case DROP:
        return drop_region(step->choice % MAX_REGIONS);
    case LOCK:
        return lock(step, at, len);
    case WRONG:
        return wrong(step, at, len);
    case LOOK_UP:
        return look_up(step, at, len);
    case NR_KINDS:
        break;
    }
    return true;
}

#endif
