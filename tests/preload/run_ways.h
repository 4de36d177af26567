/* SPDX-License-Identifier: MIT */
/*
 * Goes one way on one subject and says what became of it, beside a neighbour or alone; one line of result
 * each: "ok - MEMORY, HOW IT LIES: WAY: WHAT HAPPENED". What happens must be what the row says.
 */
#ifndef TESTS_PRELOAD_RUN_WAYS_H
#define TESTS_PRELOAD_RUN_WAYS_H

#include "judge.h"
#include "ways.h"

enum { NEIGHBOUR_PAGES = 2, SUBJECT_PAGES = 8, HOLE_PAGES = 4, LOT_PAGES = NEIGHBOUR_PAGES + SUBJECT_PAGES };

/* A stretch of memory in one unit of registration: the neighbour's pages, then the subject's. */
struct lot {
    unsigned char *at;
    bool has_neighbour; /* else those pages are never looked up, and are not alive */
};

static const char *run_only
    __attribute__((unused)); /* part of the name of what is to be run; NULL: everything */
static int run_failures __attribute__((unused)), run_told __attribute__((unused));

static void run_say(bool is_ok, const char *memory, const char *lie, const struct way *way,
                    const struct how *how, const char *text)
{
    printf("%s - %s%s: %s%s: %s\n", is_ok ? "ok" : "not ok", memory, lie, way->name, how->name, text);
    fflush(stdout);
    run_failures += !is_ok;
    run_told++;
}

static bool run_is_wanted(const char *memory, const struct way *way, const struct how *how)
{
    char name[256];
    snprintf(name, sizeof(name), "%s: %s%s;", memory, way->name, how->name);
    return !run_only || strstr(name, run_only);
}

/* Whether the device, writing to where it was told before, leaves the pages alone that have moved away.
 * Behind the doors nothing can be done about it before the next lookup: not asked then. */
static bool moved_pages_are_left_alone(const struct subject *s, const struct how *how, uint64_t before)
{
    uint64_t token = judge_next_token();
    if (!s->moved || how == &by_instruction)
        return true;
    volatile uint64_t *moved = (volatile uint64_t *)s->moved;
    *moved = 0;
    device_write(before, &token, sizeof(token)); /* may fault */
    return *moved == 0;
}

static struct judged run_one(const struct lot *lot, const struct way *way, const struct how *how,
                             const char **wrong)
{
    struct subject s = {lot->at + NEIGHBOUR_PAGES * WAY_PAGE, SUBJECT_PAGES * WAY_PAGE, NULL, how, way->arg};
    uint64_t before;
    memset(s.at, 1, s.len);
    int error = anydma_iova_range(lot->has_neighbour ? lot->at : s.at,
                                  s.len + (lot->has_neighbour ? NEIGHBOUR_PAGES * WAY_PAGE : 0), &before);
    if (error) {
        *wrong = "it could not be looked up in the first place";
        return (struct judged){NO, -error};
    }
    before = anydma_iova(s.at);
    if (lot->has_neighbour)
        neighbour_start(lot->at);
    unsigned char *at = way->go(&s);
    struct judged judged = {SKIPPED, errno};
    if (at == MAP_FAILED)
        *wrong = "the call did not do what the kernel's does";
    else if (at)
        judged = judge(at, at == s.moved ? ANYDMA_BAD_IOVA : before + (uint64_t)(at - s.at));
    if (at && !moved_pages_are_left_alone(&s, how, before))
        *wrong = "STALE: the old IOVA leads to the pages that moved away";
    if (lot->has_neighbour && !neighbour_stop())
        *wrong = "writes to the neighbour were LOST";
    return judged;
}

/* What must become of it: 'K'ept, 'F'resh; refused with E'S'TALE, E'O'PNOTSUPP, E'A' for EFAULT; '-': not
 * gone. */
static struct judged run_fate(char letter)
{
    switch (letter) {
    case 'K':
        return (struct judged){KEPT, 0};
    case 'F':
        return (struct judged){FRESH, 0};
    case 'S':
        return (struct judged){NO, ESTALE};
    case 'O':
        return (struct judged){NO, EOPNOTSUPP};
    case 'L':
        return (struct judged){STALE, 0};
    default:
        return (struct judged){NO, EFAULT};
    }
}

static void run_way(const char *memory, const struct lot *lot, const struct way *way, const struct how *how,
                    char fate)
{
    const char *lie = lot->has_neighbour ? ", beside a neighbour" : "", *wrong = NULL;
    struct judged judged = run_one(lot, way, how, &wrong), expected = run_fate(fate);
    bool is_expected =
        judged.verdict == SKIPPED || (judged.verdict == expected.verdict && judged.error == expected.error);
    run_say(is_expected && !wrong, memory, lie, way, how,
            wrong                        ? wrong
            : fate == 'L' && is_expected ? "not noticed"
                                         : judged_text(judged));
    if (!is_expected && judged.verdict != STALE)
        fprintf(stderr, "expected: %s; errno %d\n", judged_text(expected), judged.error);
}

/* Memory to go the ways with. */
struct memory {
    const char *name;
    /* Returns LOT_PAGES, with HOLE_PAGES behind them free and then something, where that can be had. The
     * neighbour's are nobody's when has_neighbour is false. */
    unsigned char *(*take)(bool has_neighbour);
};

/* A way and its fate for each memory of a test's own list: 2 letters a memory, alone and beside a neighbour.
 */
struct row {
    const char *way;
    const char *fates;
};

static const struct way *run_find_way(const char *name)
{
    for (int i = 0; i < NR_WAYS; i++)
        if (!strcmp(ways[i].name, name))
            return &ways[i];
    fprintf(stderr, "there is no way named %s\n", name);
    exit(1);
}

__attribute__((unused)) static void run_row(const struct row *row, const struct memory *memories, size_t nr,
                                            const struct how *how)
{
    const struct way *way = run_find_way(row->way);
    for (size_t i = 0; i < 2 * nr; i++) {
        const struct memory *memory = &memories[i / 2];
        if (row->fates[i] == '-' || !run_is_wanted(memory->name, way, how))
            continue;
        struct lot lot = {memory->take(i % 2), i % 2};
        run_way(memory->name, &lot, way, how, row->fates[i]);
    }
}

#endif
