/* SPDX-License-Identifier: MIT */
/* The random program's loop, its source of numbers, and what it compares after each step. */
#include "program.h"

#include "anydma.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FOREIGN_START ((uintptr_t)0x120000000000)

enum { LOOKS_PER_STEP = 4 };

struct program program = {.container = -1};
void (*program_look_inside)(void);
bool (*program_is_promised)(uint64_t iova, uint64_t len);
int (*program_open_container)(void);

static const struct {
    const char *name;
    void (*run)(void);
    unsigned weight;
} steps[] = {
    {"map", step_map, 12},
    {"map_fixed", step_map_fixed, 8},
    {"unmap", step_unmap, 12},
    {"remap", step_remap, 10},
    {"advise", step_advise, 12},
    {"protect", step_protect, 8},
    {"write", step_write, 10},
    {"fork", step_fork, 1},
    {"lookup", step_lookup, 20},
    {"lookup_range", step_lookup_range, 8},
    {"lookup_back", step_lookup_back, 4},
    {"pin", step_pin, 6},
    {"unpin", step_unpin, 6},
    {"app_map", step_app_map, 8},
    {"app_unmap", step_app_unmap, 8},
    {"attach", step_attach, 1},
    {"device_writes", step_device_writes, 6},
};

enum { NR_STEPS = sizeof(steps) / sizeof(steps[0]) };

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = program.seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

unsigned program_below(unsigned limit)
{
    if (!program.bytes)
        return (unsigned)(next_random() % limit);
    unsigned value = 0;
    for (unsigned width = 1; width < limit; width <<= 8) {
        value = value << 8 | (program.len ? *program.bytes++ : 0);
        program.len -= program.len != 0;
        if (width > UINT32_MAX >> 8)
            break;
    }
    return value % limit;
}

bool program_one_in(unsigned n)
{
    return program_below(n) == n - 1;
}

void program_failed(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "step %u (%s): ", program.step, program.doing);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

void program_trace(const char *format, ...)
{
    va_list args;
    if (!program.is_traced)
        return;
    va_start(args, format);
    printf("%u %s ", program.step, program.doing);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

unsigned long program_name(uintptr_t va)
{
    bool is_foreign = va >= model.windows[1].start && va < model.windows[1].start + FOREIGN_PAGES * PAGE;
    return is_foreign ? 0xf0000000 + (va - model.windows[1].start) : va - model.windows[0].start;
}

uintptr_t program_pick(size_t *nr_pages, bool is_live)
{
    const struct window *window = &model.windows[program_one_in(6)];
    size_t wanted = program_one_in(8) ? 1 + program_below(700) : 1 + program_below(12);
    if (!window->nr_used)
        return 0;
    size_t first = program_below((unsigned)window->nr_used);
    for (size_t i = 0; i < window->nr_used; i++) {
        size_t index = (first + i) % window->nr_used;
        if (!(is_live ? window->pages[index].is_mapped : window->pages[index].was_ever))
            continue;
        uintptr_t va = model_address(window, index);
        *nr_pages = model_known_run(va, wanted);
        return va;
    }
    return 0;
}

void program_check_page(uintptr_t va)
{
    struct page *page = model_page(va);
    if (!page->is_mapped || !(page->prot & PROT_READ) || page->knows_nothing)
        return;
    uint64_t seen = *(volatile uint64_t *)va;
    if (seen == 0 && page->may_be_zero) {
        page->tag = 0;
        page->may_be_zero = false;
    }
    if (seen != page->tag)
        program_failed("page 0x%lx reads %lx, not %lx", program_name(va), seen, page->tag);
    dma_check_page(va);
}

static void check_some_pages(void)
{
    size_t nr;
    uint64_t seed = program.seed; /* looking must not change what comes next */
    const uint8_t *bytes = program.bytes;
    size_t len = program.len;
    for (int i = 0; i < LOOKS_PER_STEP; i++) {
        uintptr_t va = program_pick(&nr, true);
        if (va)
            program_check_page(va);
    }
    program.seed = seed;
    program.bytes = bytes;
    program.len = len;
}

static void check_all_pages(void)
{
    for (int w = 0; w < 2; w++)
        for (size_t i = 0; i < model.windows[w].nr_used; i++)
            program_check_page(model_address(&model.windows[w], i));
}

void program_start(void)
{
    void *probe = mmap(NULL, 4u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!anydma_active() || probe == MAP_FAILED || anydma_iova(probe) == ANYDMA_BAD_IOVA) {
        fprintf(stderr, "the shim is not there: active %d, mmap gave %p, its IOVA: %d\n", anydma_active(),
                probe, errno);
        exit(1);
    }
    model.windows[0].start = (uintptr_t)probe & ~(((uintptr_t)2 << 20) - 1);
    model.windows[1].start = FOREIGN_START;
    munmap(probe, 4u << 20);
}

static void unmap_everything(void)
{
    for (int w = 0; w < 2; w++)
        for (size_t i = 0; i < model.windows[w].nr_used; i++)
            if (model.windows[w].pages[i].is_mapped)
                munmap((void *)model_address(&model.windows[w], i), PAGE);
}

/* How much of the windows is registered, from a snapshot: the heap, which eager mode registers, is not counted. */
static uint64_t pinned_in_windows(void)
{
    uint64_t start, len, pinned = 0;
    char path[32], line[128];
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    FILE *lines = anydma_snapshot(path) == 0 ? fdopen(fd, "r") : NULL;
    if (!lines)
        program_failed("no snapshot: %s", strerror(errno));
    while (fgets(line, sizeof(line), lines))
        if (sscanf(line, "0x%" SCNx64 " %" SCNu64, &start, &len) == 2 && strstr(line, "mapped"))
            pinned += model_page(start) ? len : 0;
    fclose(lines);
    return pinned;
}

static void check_idle(const struct anydma_stats *before)
{
    struct anydma_stats after;
    anydma_stats(&after, sizeof(after));
    uint64_t pinned = pinned_in_windows();
    if (pinned || after.held_back > before->held_back || after.unmap_failures)
        program_failed("left behind: %lu bytes pinned, %lu held back (%lu before), %lu failed unmaps", pinned,
                       after.held_back, before->held_back, after.unmap_failures);
}

void program_run(void)
{
    struct anydma_stats before;
    unsigned total = 0;
    anydma_stats(&before, sizeof(before));
    model_reset();
    for (int i = 0; i < NR_STEPS; i++)
        total += steps[i].weight;
    program.step = 0;
    program.had_late_attach = false;
    if (program.stays_attached)
        step_attach();
    for (program.step = 0; program.step < program.nr_steps && (!program.bytes || program.len);
         program.step++) {
        unsigned chosen = program_below(total), i = 0;
        for (; chosen >= steps[i].weight; i++)
            chosen -= steps[i].weight;
        program.doing = steps[i].name;
        steps[i].run();
        check_some_pages();
        if (program_look_inside)
            program_look_inside();
        if (program.step % 256 == 255)
            check_all_pages();
    }
    program.doing = "end";
    check_all_pages();
    dma_end();
    unmap_everything();
    if (program_look_inside)
        program_look_inside();
    check_idle(&before);
}
