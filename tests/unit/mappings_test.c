/* SPDX-License-Identifier: MIT */
/* Changes of mappings, stopped between their steps: what others see then, and what they do then, changes nothing of the
 * outcome. The arena over the registry and the simulated IOMMU; the kernel's calls are made by the test. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "anydma.h"
#include "attached.h"
#include "base/config.h"
#include "dma/dma.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "dma/stats.h"
#include "memory/arena.h"
#include "memory/mappings.h"
#include "memory/moves.h"
#include "memory/owners.h"
#include "memory/places.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

static const struct pages_ops *kernels;
static void (*before_call)(void), (*after_call)(void); /* once */
static int fail_with;

static void now(void (**what)(void))
{
    void (*call)(void) = *what;
    *what = NULL;
    if (call)
        call();
}

static int stopped_unmap(uintptr_t addr, size_t len)
{
    now(&before_call);
    int error = fail_with ? fail_with : kernels->unmap(addr, len);
    now(&after_call);
    return error;
}

static intptr_t stopped_map(uintptr_t addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    now(&before_call);
    intptr_t result = fail_with ? fail_with : kernels->map(addr, len, prot, flags, fd, offset);
    now(&after_call);
    return result;
}

static void (*before_advice)(void); /* once */

static int stopped_advise(uintptr_t addr, size_t len, int advice)
{
    now(&before_advice);
    return kernels->advise(addr, len, advice);
}

static intptr_t stopped_move(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t to)
{
    now(&before_call);
    intptr_t result = fail_with ? fail_with : kernels->move(addr, old_len, new_len, flags, to);
    now(&after_call);
    return result;
}

static void start_alone(void)
{
    start_unattached(&owners_memory_ops);
}

static void start(void)
{
    static struct pages_ops ops;
    start_alone();
    attach_sim();
    kernels = pages_ops;
    ops = *kernels;
    ops.map = stopped_map;
    ops.unmap = stopped_unmap;
    ops.move = stopped_move;
    ops.advise = stopped_advise;
    pages_ops = &ops;
}

static int look_up(uintptr_t va)
{
    uint64_t iova;
    size_t run_len;
    return registry_lookup(va, 1, &iova, &run_len);
}

static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats = {0};
    stats_fill(&stats);
    return stats;
}

static uintptr_t map(size_t nr_pages)
{
    intptr_t at = places_map(nr_pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, PAGE_ORDINARY);
    cr_assert_gt(at, 0);
    return (uintptr_t)at;
}

static uintptr_t ours, theirs; /* 16 registered pages */

static void map_registered(void)
{
    ours = map(16);
    theirs = ours + 8 * PAGE;
    memset((void *)ours, 7, 16 * PAGE);
    cr_assert_eq(look_up(ours), 0);
    cr_assert_eq(stats_now().pinned, 16 * PAGE);
}

static bool is_inside(uintptr_t at)
{
    return at >= ours && at < ours + 16 * PAGE;
}

/* --- what others see ---------------------------------------------------------------------------------------------------- */

static void lookups_say_no(void)
{
    uint64_t iova;
    cr_assert_eq(look_up(ours), -EFAULT);
    cr_assert_not(pagemap_lookup(ours, &iova));
    cr_assert_eq(look_up(theirs), 0);
}

Test(mappings, what_is_being_unmapped_has_no_answer_and_its_neighbours_have, .init = start)
{
    map_registered();
    before_call = after_call = lookups_say_no;
    cr_assert_eq(mappings_unmap(ours, 8 * PAGE), 0);
    cr_assert_null(after_call);
    cr_assert_eq(look_up(theirs), 0);
    cr_assert_eq(stats_now().unmaps, 0);
}

static void nobody_gets_it(void)
{
    for (int i = 0; i < 40; i++)
        cr_assert_not(is_inside(map(1)));
    cr_assert_not(mappings_claim(ours, PAGE));
    cr_assert_not(is_free(ours, PAGE));
}

Test(mappings, what_is_being_unmapped_is_given_to_nobody, .init = start)
{
    map_registered();
    after_call = nobody_gets_it;
    cr_assert_eq(mappings_unmap(ours, 16 * PAGE), 0);
    cr_assert(is_free(ours, 16 * PAGE));
}

/* --- calls that fail ---------------------------------------------------------------------------------------------------- */

static void expect_as_before(void)
{
    uint64_t iova;
    size_t run_len;
    cr_assert_eq(registry_lookup(ours, 16 * PAGE, &iova, &run_len), 0);
    cr_assert(iova == ours && run_len == 16 * PAGE);
    cr_assert_eq(stats_now().unmaps, 0, "no registration was given up");
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert(mappings_are_used(ours, 16 * PAGE, PAGE_ORDINARY));
}

Test(mappings, a_failed_unmap_gives_up_nothing, .init = start)
{
    map_registered();
    fail_with = -ENOMEM;
    cr_assert_eq(mappings_unmap(ours, 16 * PAGE), -ENOMEM);
    cr_assert_eq(mappings_unmap(ours + 4 * PAGE, 4 * PAGE), -ENOMEM);
    expect_as_before();
}

Test(mappings, a_failed_move_gives_up_nothing, .init = start)
{
    map_registered();
    uintptr_t to = map(16);
    cr_assert_eq(look_up(to), 0);
    fail_with = -EAGAIN;
    struct move moves[] = {{ours, 16 * PAGE, to, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED},
                           {to, 16 * PAGE, ours, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED},
                           {ours, 16 * PAGE, 0, 8 * PAGE, 0},
                           {ours, 16 * PAGE, 0, 4096 * PAGE, MREMAP_MAYMOVE},
                           {ours, 16 * PAGE, 0, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP}};
    for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
        fail_with = -EAGAIN;
        cr_assert_lt(moves_make(moves[i]), 0, "move %zu", i);
        fail_with = 0;
        expect_as_before();
        cr_assert_eq(look_up(to), 0);
    }
}

/* --- what others do meanwhile ------------------------------------------------------------------------------------------- */

static void their_half_goes(void)
{
    cr_assert_eq(mappings_unmap(theirs, 8 * PAGE), 0);
    cr_assert_eq(stats_now().unmaps, 0, "ours may turn out to have stayed");
    cr_assert_eq(arena_held_back_bytes(), 8 * PAGE);
}

Test(mappings, the_last_to_leave_ends_the_registration, .init = start)
{
    map_registered();
    after_call = their_half_goes;
    cr_assert_eq(mappings_unmap(ours, 8 * PAGE), 0);
    cr_assert_eq(stats_now().unmaps, 1);
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert(is_free(ours, 16 * PAGE));
}

Test(mappings, the_registration_stays_for_whose_unmap_failed_meanwhile, .init = start)
{
    map_registered();
    mappings_begin(ours, 8 * PAGE, PAGE_LEAVING);
    their_half_goes();
    mappings_end(ours, 8 * PAGE, PAGE_FAILED, NULL);
    cr_assert_eq(look_up(ours), 0);
    cr_assert_eq(stats_now().unmaps, 0);
    cr_assert_eq(mappings_unmap(ours, 8 * PAGE), 0);
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert_eq(stats_now().pinned, 0);
}

Test(mappings, a_registration_that_only_a_failed_call_kept_ends_with_it, .init = start)
{
    map_registered();
    cr_assert_eq(mappings_unmap(ours, 8 * PAGE), 0);
    cr_assert(mappings_claim(ours, PAGE));
    cr_assert_eq(mappings_unmap(theirs, 8 * PAGE), 0);
    mappings_end(ours, PAGE, PAGE_FAILED, NULL);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(arena_held_back_bytes(), 0);
}

static void they_map_over_it(void)
{
    struct page_kind kind = places_kind(PAGE, RW, PAGE_ORDINARY);
    mappings_begin(ours, PAGE, PAGE_REPLACING);
    mmap((void *)ours, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    mappings_end(ours, PAGE, PAGE_REPLACED, &kind);
}

Test(mappings, what_is_mapped_over_an_unmap_in_progress_stays, .init = start)
{
    map_registered();
    after_call = they_map_over_it;
    cr_assert_eq(mappings_unmap(ours, 8 * PAGE), 0);
    *(char *)ours = 1;
    cr_assert_eq(look_up(ours), -ESTALE, "the registration is of what was there before");
    cr_assert_eq(mappings_unmap(theirs, 8 * PAGE), 0);
    cr_assert_eq(look_up(ours), 0);
}

static void a_child_is_forked(void)
{
    dma_reset();
    pagemap_reset();
    arena_reset();
    cr_assert(mappings_are_used(theirs, 8 * PAGE, 0));
    cr_assert_eq(mappings_unmap(theirs, 8 * PAGE), 0);
    cr_assert(is_free(theirs, 8 * PAGE));
}

Test(mappings, a_child_forked_meanwhile_goes_on, .init = start)
{
    map_registered();
    cr_assert_eq(mappings_unmap(ours, PAGE), 0);
    before_call = a_child_is_forked;
    mappings_unmap(ours + 4 * PAGE, 4 * PAGE);
    cr_assert_eq(arena_held_back_bytes(), 0);
    cr_assert(is_free(ours, PAGE), "what was held is given back");
}

/* --- moves -------------------------------------------------------------------------------------------------------------- */

static uintptr_t destination;

static void neither_place_answers(void)
{
    cr_assert_eq(look_up(ours), -EFAULT);
    cr_assert_eq(look_up(destination), -EFAULT);
}

Test(mappings, what_is_being_moved_has_no_answer_at_either_place, .init = start)
{
    map_registered();
    destination = map(8);
    cr_assert_eq(look_up(destination), 0);
    before_call = after_call = neither_place_answers;
    struct move move = {ours, 8 * PAGE, destination, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED};
    cr_assert_eq((uintptr_t)moves_make(move), destination);
    cr_assert_eq(*(char *)destination, 7);
    cr_assert_eq(look_up(destination), 0);
    cr_assert_eq(look_up(theirs), 0);
    cr_assert_eq(arena_held_back_bytes(), 8 * PAGE);
}

static void the_moved_pages_are_given_to_nobody_yet(void)
{
    neither_place_answers();
    cr_assert_eq(*(char *)destination, 7);
    cr_assert_not(mappings_are_used(destination, PAGE, 0));
}

/* The old IOVA leads to the pages that have moved until they are others. */
Test(mappings, pages_that_a_neighbour_keeps_registered_are_renewed_before_a_move_ends, .init = start)
{
    map_registered();
    destination = map(8);
    before_advice = the_moved_pages_are_given_to_nobody_yet;
    struct move move = {ours, 8 * PAGE, destination, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED};
    cr_assert_eq((uintptr_t)moves_make(move), destination);
    cr_assert_null(before_advice, "other pages were asked for");
    for (size_t i = 0; i < 8 * PAGE; i++)
        cr_assert_eq(((char *)destination)[i], 7);
    cr_assert_eq(look_up(destination), 0);
    cr_assert_eq(look_up(ours), -EFAULT);
    cr_assert_eq(mappings_unmap(theirs, 8 * PAGE), 0);
    cr_assert(is_free(ours, 16 * PAGE));
    cr_assert_eq(pages_impossible, 0);
}

Test(mappings, a_move_takes_each_protection_along, .init = start)
{
    size_t len;
    map_registered();
    cr_assert_eq(mappings_protect(ours + 7 * PAGE, PAGE, PROT_READ, -1), 0);
    struct move move = {ours, 8 * PAGE, 0, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP};
    intptr_t to = moves_make(move);
    if (to == -EFAULT) /* several mappings at once: since Linux 6.17, and not with this flag */
        return;
    cr_assert_eq(mappings_at((uintptr_t)to, &len).prot, RW);
    cr_assert_eq(mappings_at((uintptr_t)to + 7 * PAGE, &len).prot, PROT_READ);
}

static void the_tail_is_taken(void)
{
    cr_assert_not(mappings_claim(theirs, PAGE));
    for (int i = 0; i < 40; i++)
        cr_assert_not(is_inside(map(1)));
}

Test(mappings, what_a_mapping_grows_into_is_given_to_nobody, .init = start)
{
    map_registered();
    cr_assert_eq(mappings_unmap(theirs, 8 * PAGE), 0);
    before_call = after_call = the_tail_is_taken;
    struct move move = {ours, 8 * PAGE, 0, 12 * PAGE, 0};
    cr_assert_eq((uintptr_t)moves_make(move), ours);
    cr_assert_eq(look_up(ours), 0);
    cr_assert_eq(look_up(theirs), -ESTALE);
    cr_assert_eq(mappings_unmap(ours, 12 * PAGE), 0);
    cr_assert_eq(stats_now().pinned, 0);
    cr_assert_eq(pages_impossible, 0);
}

/* --- before a device is attached ---------------------------------------------------------------------------------------- */

/* Two mappings of one unit. */
Test(mappings, a_neighbour_that_was_protected_costs_nobody_a_promise, .init = start_alone)
{
    ours = map(8);
    theirs = map(8);
    cr_assert_eq(theirs, ours - 8 * PAGE);
    cr_assert_eq(look_up(ours), 0);
    cr_assert_eq(stats_now().registrations, 1);
    cr_assert_eq(mappings_protect(theirs, 8 * PAGE, PROT_NONE, -1), 0);
    attach_sim();
    cr_assert_eq(look_up(ours), 0);
    cr_assert_eq(look_up(theirs), -EFAULT);
    cr_assert_eq(stats_now().pinned, 8 * PAGE);
}
