/* SPDX-License-Identifier: MIT */
/*
 * Looks inside the shim after each step of the random program, where its modules are linked in: what the
 * pagemap answers is what the registry recorded and where the IOMMU leads; the runs cover each zone; the
 * counters add up; what is idle is unregistered; what a hold protects is registered, and in eager mode what the
 * program has.
 */
#include "program.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dma/containers.h"
#include "dma/counts.h"
#include "dma/eager.h"
#include "dma/iova.h"
#include "dma/pagemap.h"
#include "dma/registrations.h"
#include "dma/registry.h"
#include "memory/arena.h"
#include "memory/zones.h"

/* The allocator is the sanitizer's, and the only one. */
void malloc_find_next(void)
{
}

static void check_runs(void)
{
    uint64_t held = 0;
    for (unsigned i = 0; i < nr_zones; i++) {
        struct zone *zone = &zones[i];
        uintptr_t at = zone->start;
        struct page_kind before = {.state = 0xff};
        for (struct run *run = runs_at(&zone->runs, at); run; run = runs_next(run)) {
            struct page_kind kind = run->kind;
            if (run->start != at || !run->len || run->len % PAGE)
                program_failed("a gap in the runs at 0x%lx: the next is 0x%lx, %zu bytes", at, run->start,
                               run->len);
            if (memcmp(&kind, &before, sizeof(kind)) == 0)
                program_failed("two runs that are alike meet at 0x%lx", at);
            if (kind.state == PAGE_BUSY || kind.state == PAGE_RETIRED)
                program_failed("0x%lx is in state %u and nobody is at work", at, kind.state);
            if (kind.state == PAGE_DETACHED && !registry_covers(run->start, run->len))
                program_failed("0x%lx, %zu bytes, is detached from no registration", run->start, run->len);
            if (kind.state == PAGE_HELD_BACK)
                held += run->len;
            before = kind;
            at += run->len;
        }
        if (at != zone->end)
            program_failed("the runs of zone %u end at 0x%lx, the zone at 0x%lx", i, at, zone->end);
    }
    if (pages_impossible)
        program_failed("%lu times an event met a state that the table of pages says it can't",
                       pages_impossible);
    if (held != arena_held_back_bytes())
        program_failed("%lu bytes are held, %lu are counted", held, arena_held_back_bytes());
}

/* Its pages are somebody's: nothing that could be given to others, and something that is in use. */
static void check_pages(const struct registration *reg)
{
    bool is_used = reg->pins > 0;
    uintptr_t end = reg->start + reg->len;
    if (!arena_contains(reg->start))
        return;
    for (uintptr_t va = reg->start; va < end;) {
        struct run *run = NULL;
        for (unsigned i = 0; i < nr_zones && !run; i++)
            run = runs_at(&zones[i].runs, va);
        if (!run || run->kind.state == PAGE_NONE)
            program_failed("0x%lx is registered and nobody's", va);
        is_used |= run->kind.state == PAGE_USED;
        va = run->start + run->len;
    }
    if (!is_used && reg->mapped)
        program_failed("0x%lx, %zu bytes, is idle and still registered", reg->start, reg->len);
}

static void check_translation(const struct registration *reg)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct container *container = container_at(i);
        if (!(reg->mapped & 1u << i))
            continue;
        if (!container->attached)
            program_failed("0x%lx is mapped in container %u, which is gone", reg->start, i);
        for (uintptr_t at = 0; at < reg->len; at += PAGE) {
            uintptr_t there = reg->start + at;
            uint64_t va;
            bool is_wanted = registration_has(reg, there, there + PAGE) & 1u << i;
            if (!is_wanted && sim_translate(&container->iommu, reg->iova + at, &va) == 0)
                program_failed("IOVA 0x%lx leads to 0x%lx, which is in no piece", reg->iova + at, va);
            if (is_wanted && (sim_translate(&container->iommu, reg->iova + at, &va) != 0 || va != there))
                program_failed("IOVA 0x%lx does not lead to 0x%lx", reg->iova + at, reg->start + at);
        }
    }
}

/* An address that answers without asking is registered everywhere, by that IOVA. */
static void check_answers(const struct registration *reg)
{
    for (uintptr_t va = reg->start; va < reg->start + reg->len; va += PAGE) {
        uint64_t iova;
        if (pagemap_is_registered(va, PAGE) && registration_has(reg, va, va + PAGE) != containers_attached())
            program_failed("0x%lx is marked as registered, and is not", va);
        if (!pagemap_lookup(va, &iova))
            continue;
        if (iova != reg->iova + (va - reg->start) ||
            registration_has(reg, va, va + PAGE) != containers_attached() || reg->is_stuck)
            program_failed("the pagemap says 0x%lx for 0x%lx, the record 0x%lx (in %x of %x)", iova, va,
                           reg->iova + (va - reg->start), registration_has(reg, va, va + PAGE),
                           containers_attached());
    }
    if (reg->mapped && (!pagemap_is_pinned(reg->start) || !pagemap_is_pinned(reg->start + reg->len - 1)))
        program_failed("0x%lx is registered and not marked", reg->start);
}

static uint64_t pinned_of(const struct registration *reg)
{
    uint64_t pinned = reg->len * (unsigned)__builtin_popcount(reg->mapped & ~reg->divided);
    for (const struct piece *piece = reg->pieces; piece; piece = piece->next) {
        if (!(reg->divided & 1u << piece->container) || piece->start < reg->start ||
            piece->start + piece->len > reg->start + reg->len)
            program_failed("the piece at 0x%lx is not one of 0x%lx", piece->start, reg->start);
        pinned += piece->len;
    }
    return pinned;
}

static void check_registrations(void)
{
    uint64_t nr = 0, pinned = 0, owed = 0, next_iova = 0;
    uintptr_t next = 0;
    for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg)) {
        if (reg->start < next || !reg->len || reg->len % PAGE)
            program_failed("registrations overlap at 0x%lx", reg->start);
        next = reg->start + reg->len;
        nr++;
        owed += !reg->mapped;
        pinned += pinned_of(reg);
        check_pages(reg);
        check_translation(reg);
        check_answers(reg);
    }
    for (struct registration *reg = registration_from_iova(0); reg; reg = registration_next_iova(reg), nr--) {
        if (reg->iova < next_iova)
            program_failed("registrations overlap at IOVA 0x%lx", reg->iova);
        next_iova = reg->iova + reg->len;
    }
    if (nr || pinned != counts_of(COUNTS_OURS)->pinned || owed != registrations_owed())
        program_failed("%ld too many by address; %lu pinned, %lu counted; %lu owed, %lu counted", (long)nr,
                       pinned, counts_of(COUNTS_OURS)->pinned, owed, registrations_owed());
}

static void check_containers(void)
{
    uint64_t app_bytes = 0;
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct container *container = container_at(i);
        uint64_t bytes, entries;
        if (!container->attached)
            continue;
        sim_usage(&container->iommu, &bytes, &entries);
        if (entries != container->nr_entries)
            program_failed("container %u holds %lu mappings, %lu are counted", i, entries,
                           container->nr_entries);
        app_bytes += bytes;
    }
    if (app_bytes != counts_of(COUNTS_OURS)->pinned + counts_of(COUNTS_APPLICATIONS)->pinned)
        program_failed("%lu bytes are mapped, %lu + %lu are counted", app_bytes,
                       counts_of(COUNTS_OURS)->pinned, counts_of(COUNTS_APPLICATIONS)->pinned);
}

/* The program's own mappings lead where it put them, by whomever they were made. */
static void check_app_maps(void)
{
    struct container *container = container_find(program.container, 0);
    for (size_t i = 0; i < model.nr_app_maps; i++) {
        const struct own_map *map = &model.app_maps[i];
        for (uint64_t at = 0; at < map->len; at += PAGE) {
            uint64_t va;
            if (sim_translate(&container->iommu, map->iova + at, &va) != 0 || va != map->va + at)
                program_failed("the program's IOVA 0x%lx does not lead to 0x%lx", map->iova + at,
                               map->va + at);
        }
    }
}

static void check_holds(void)
{
    for (size_t i = 0; i < model.nr_pins; i++)
        for (uintptr_t va = model.pins[i].start; va < model.pins[i].start + model.pins[i].len; va += PAGE) {
            struct registration *reg = registration_from(va);
            if (!reg || reg->start > va || !reg->pins)
                program_failed("0x%lx is held and not registered", va);
        }
}

/* What is not mapped has no answer. */
static void check_unmapped(void)
{
    uint64_t iova;
    for (int w = 0; w < 2; w++)
        for (size_t i = 0; i < model.windows[w].nr_used; i++)
            if (!model.windows[w].pages[i].is_mapped &&
                pagemap_lookup(model_address(&model.windows[w], i), &iova))
                program_failed("0x%lx is unmapped and has IOVA 0x%lx", model_address(&model.windows[w], i),
                               iova);
}

static bool is_offered(const struct run *run)
{
    const int rw = PROT_READ | PROT_WRITE;
    return run->kind.state == PAGE_USED && (run->kind.prot & rw) == rw && run->kind.flags == PAGE_ORDINARY;
}

/* Eager mode: what the program has, and can read and write, is registered in every container, but where the program has
 * made a mapping of its own at that IOVA. (The heap serves nobody here, and took its first pages before the device was
 * there.) */
static void check_eager(void)
{
    bool is_on = eager_is_on() && containers_attached();
    for (unsigned i = 0; is_on && i < nr_zones; i++)
        for (struct run *run = zones[i].kind == ZONE_MAP ? runs_at(&zones[i].runs, zones[i].start) : NULL;
             run; run = runs_next(run)) {
            uintptr_t va = run->start, end = run->start + run->len;
            while (is_offered(run) && va < end) {
                struct registration *reg = registration_from(va);
                bool is_registered = reg && reg->start <= va &&
                                     (reg->mapped == containers_attached() || program.had_late_attach);
                uint64_t unused;
                if (!is_registered && !iova_is_applications(va, PAGE, &unused))
                    program_failed("0x%lx is the program's and not registered in eager mode", va);
                va = is_registered ? reg->start + reg->len : va + PAGE;
            }
        }
}

static void look(void)
{
    check_runs();
    check_eager();
    check_registrations();
    check_containers();
    check_app_maps();
    check_holds();
    check_unmapped();
}

static bool is_promised(uint64_t iova, uint64_t len)
{
    struct registration *reg = registration_from_iova(iova);
    for (; reg && reg->iova < iova + len; reg = registration_next_iova(reg))
        if (reg->handed || reg->pins)
            return true;
    return false;
}

__attribute__((constructor)) static void start_looking(void)
{
    program_look_inside = look;
    program_is_promised = is_promised;
}

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0"; /* io_uring's rings, and the shim's own memory, are nobody's heap */
}
