/* SPDX-License-Identifier: MIT */
/* The random program's memory calls, and the model after each. What the kernel may refuse for reasons that
 * the model does not know is given up: unmapped on both sides. */
#include "program.h"

#include "anydma.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)

enum { MOST_LIVE_PAGES = 4000, ADVICE_DONTNEED_LOCKED = 24, ADVICE_GUARD_INSTALL = 102 };

static size_t live_pages(void)
{
    size_t n = 0;
    for (int w = 0; w < 2; w++)
        for (size_t i = 0; i < model.windows[w].nr_used; i++)
            n += model.windows[w].pages[i].is_mapped;
    return n;
}

static int random_prot(void)
{
    static const int prots[] = {RW, RW, RW, RW, RW, PROT_READ, PROT_NONE};
    return prots[program_below(sizeof(prots) / sizeof(prots[0]))];
}

static void give_up(uintptr_t va, size_t len)
{
    if (munmap((void *)va, len) != 0)
        program_failed("munmap(0x%lx, %zu): %s", program_name(va), len, strerror(errno));
    model_unmap(va, len);
}

static void tag_page(uintptr_t va)
{
    struct page *page = model_page(va);
    page->tag = ++model.last_tag;
    page->may_be_zero = false;
    *(volatile uint64_t *)va = page->tag;
}

static void tag_some(uintptr_t va, size_t len)
{
    for (size_t at = 0; at < len; at += PAGE * (1 + program_below(4)))
        if (model_is_all(va + at, PAGE, PROT_WRITE, false))
            tag_page(va + at);
}

/* Memory that the shim did not place: a hint keeps it out of the arena. */
static void map_foreign(void)
{
    size_t at = program_below(FOREIGN_PAGES - 16) * PAGE, len = (1 + program_below(16)) * PAGE;
    uintptr_t va = model.windows[1].start + at;
    void *got = mmap((void *)va, len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    program_trace("0x%lx %zu: %d", program_name(va), len / PAGE, got == MAP_FAILED ? errno : 0);
    if (got == MAP_FAILED)
        return;
    model_map(va, len, RW, false);
    tag_some(va, len);
}

void step_map(void)
{
    if (live_pages() > MOST_LIVE_PAGES)
        return step_unmap();
    if (program_one_in(8))
        return map_foreign();
    size_t len = (program_one_in(12) ? 400 + program_below(400) : 1 + program_below(40)) * PAGE;
    int prot = random_prot(), flags = MAP_PRIVATE | MAP_ANONYMOUS | (program_one_in(8) ? MAP_NORESERVE : 0);
    uintptr_t va = (uintptr_t)mmap(NULL, len, prot, flags, -1, 0);
    if (va == (uintptr_t)MAP_FAILED)
        program_failed("mmap: %s", strerror(errno));
    if (va < model.windows[0].start || va + len > model.windows[0].start + ARENA_PAGES * PAGE) {
        munmap((void *)va, len);
        return;
    }
    for (size_t at = 0; at < len; at += PAGE)
        if (model_page(va + at)->is_mapped)
            program_failed("mmap gave 0x%lx, which is mapped", program_name(va + at));
    program_trace("0x%lx %zu", program_name(va), len / PAGE);
    model_map(va, len, prot, true);
    tag_some(va, len);
}

void step_map_fixed(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, program_one_in(2));
    unsigned kind = program_below(6);
    if (!va)
        return;
    size_t len = nr * PAGE;
    int prot = random_prot(), fd = -1, flags = MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE;
    if (kind == 4)
        flags = MAP_FIXED | MAP_ANONYMOUS | MAP_SHARED;
    if (kind == 5)
        flags = MAP_FIXED | MAP_PRIVATE, fd = 9999; /* fails, and changes nothing */
    void *got = mmap((void *)va, len, prot, flags, fd, 0);
    program_trace("0x%lx %zu kind %u: %d", program_name(va), nr, kind, got == MAP_FAILED ? errno : 0);
    if ((got == MAP_FAILED) != (kind == 5))
        program_failed("mmap(MAP_FIXED) at 0x%lx, kind %u: %s", program_name(va), kind, strerror(errno));
    if (kind == 5)
        return;
    model_map(va, len, prot, kind != 4 && va < model.windows[1].start);
    for (size_t at = 0; at < len && kind == 4; at += PAGE)
        model_page(va + at)->knows_nothing = true; /* purges of shared memory are another matter */
    tag_some(va, len);
}

void step_unmap(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    if (!va)
        return;
    if (program_one_in(3)) { /* whole mappings */
        while (model_known_run(va - PAGE, 1) && model_page(va - PAGE)->is_mapped)
            va -= PAGE, nr++;
        nr = model_known_run(va, nr + 64);
    }
    program_trace("0x%lx %zu", program_name(va), nr);
    give_up(va, nr * PAGE);
}

/* How far one mapping goes from `va` on: the same protection and kind. */
static size_t mapping_run(uintptr_t va, size_t nr_pages)
{
    struct page *first = model_page(va), *page;
    size_t n = 0;
    for (;
         n < nr_pages && (page = model_page(va + n * PAGE)) && page->is_mapped && page->prot == first->prot &&
         page->is_ordinary == first->is_ordinary && page->knows_nothing == first->knows_nothing;
         n++)
        ;
    return n;
}

static void remap_fixed(uintptr_t from, size_t len, bool keeps)
{
    size_t nr;
    uintptr_t to = program_pick(&nr, false);
    if (model_known_run(to, len / PAGE) < len / PAGE || (to < from + len && from < to + len))
        return;
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (keeps ? MREMAP_DONTUNMAP : 0);
    void *got = mremap((void *)from, len, len, flags, (void *)to);
    program_trace("0x%lx %zu to 0x%lx: %d", program_name(from), len / PAGE, program_name(to),
                  got != MAP_FAILED);
    if (got == MAP_FAILED) {
        give_up(to, len);
        give_up(from, len);
        return;
    }
    model_move(from, to, len, keeps);
}

static void remap_anywhere(uintptr_t va, size_t old_len, size_t new_len, int flags)
{
    uintptr_t got = (uintptr_t)mremap((void *)va, old_len, new_len, flags, NULL);
    size_t kept = old_len < new_len ? old_len : new_len;
    program_trace("0x%lx %zu to 0x%lx %zu flags %d: %d", program_name(va), old_len / PAGE,
                  got == (uintptr_t)MAP_FAILED ? 0 : program_name(got), new_len / PAGE, flags,
                  got != (uintptr_t)MAP_FAILED);
    if (got == (uintptr_t)MAP_FAILED)
        return;
    struct page like = *model_page(va);
    if (got != va && (!model_page(got) || !model_page(got + new_len - PAGE))) {
        munmap((void *)got, new_len);
        model_unmap(va, old_len);
        if (flags & MREMAP_DONTUNMAP)
            give_up(va, old_len);
        return;
    }
    if (got != va)
        model_move(va, got, kept, flags & MREMAP_DONTUNMAP);
    if (new_len > kept)
        model_map(got + kept, new_len - kept, like.prot, like.is_ordinary);
    if (kept < old_len && !(flags & MREMAP_DONTUNMAP))
        model_unmap(va + kept, old_len - kept);
}

void step_remap(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    if (!va || !(nr = mapping_run(va, nr)))
        return;
    if (va >= model.windows[1].start) { /* its neighbours there are the kernel's */
        if (program_one_in(2))
            remap_anywhere(va, nr * PAGE, (1 + program_below((unsigned)nr)) * PAGE, program_below(2));
        else
            remap_fixed(va, nr * PAGE, program_one_in(3));
        return;
    }
    switch (program_below(5)) {
    case 0:
        remap_anywhere(va, nr * PAGE, (1 + program_below((unsigned)nr)) * PAGE, program_below(2));
        break;
    case 1:
        if (!model_page(va)->knows_nothing) /* shared memory ends where it ends */
            remap_anywhere(va, nr * PAGE, (nr + program_below(40)) * PAGE, program_below(2));
        break;
    case 2:
        remap_anywhere(va, nr * PAGE, nr * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
        break;
    default:
        remap_fixed(va, nr * PAGE, program_one_in(3));
    }
}

void step_advise(void)
{
    static const int advices[] = {MADV_DONTNEED, MADV_DONTNEED, MADV_FREE,           ADVICE_DONTNEED_LOCKED,
                                  MADV_COLD,     MADV_PAGEOUT,  ADVICE_GUARD_INSTALL};
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    if (!va || !(nr = mapping_run(va, nr)))
        return;
    int advice = advices[program_below(sizeof(advices) / sizeof(advices[0]))];
    bool is_guard = advice == ADVICE_GUARD_INSTALL;
    int result = madvise((void *)va, nr * PAGE, advice);
    program_trace("0x%lx %zu advice %d: %d", program_name(va), nr, advice,
                  is_guard || result == 0 ? 0 : errno);
    if (is_guard) /* newer kernels only: the same everywhere after this */
        give_up(va, nr * PAGE);
    else if (result != 0 && errno != EINVAL)
        program_failed("madvise(0x%lx, %d): %s", program_name(va), advice, strerror(errno));
    else if (result == 0 && (advice == MADV_DONTNEED || advice == ADVICE_DONTNEED_LOCKED))
        model_zero(va, nr * PAGE);
    else if (result == 0 && advice == MADV_FREE)
        for (size_t i = 0; i < nr; i++)
            model_page(va + i * PAGE)->may_be_zero = true;
}

void step_protect(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    int prot = random_prot();
    if (!va || !model_is_all(va, nr * PAGE, PROT_NONE, false))
        return;
    if (mprotect((void *)va, nr * PAGE, prot) != 0)
        program_failed("mprotect(0x%lx, %zu): %s", program_name(va), nr, strerror(errno));
    program_trace("0x%lx %zu %d", program_name(va), nr, prot);
    model_protect(va, nr * PAGE, prot);
}

void step_write(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    if (va)
        tag_some(va, nr * PAGE);
}

/* The child sees nothing registered, and whatever it does to its memory is nothing to the parent's. */
static void live_as_child(void)
{
    size_t nr;
    for (int i = 0; i < 12; i++) {
        uintptr_t va = program_pick(&nr, true);
        if (!va)
            break;
        if (anydma_iova((void *)va) != ANYDMA_BAD_IOVA)
            program_failed("a child was given an IOVA for 0x%lx", program_name(va));
        for (struct page *page = model_page(va); page; page = NULL)
            page->has_iova = false;
        program_check_page(va);
        if (program_one_in(2))
            give_up(va, nr * PAGE);
        else
            tag_some(va, nr * PAGE);
    }
    _exit(0);
}

void step_fork(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        live_as_child();
    if (child > 0 && waitpid(child, &status, 0) == child && status != 0)
        program_failed("the child ended with status 0x%x", (unsigned)status);
    program_trace("%d", status);
}
