/* SPDX-License-Identifier: MIT */
/*
 * What the programs in tests/preload share: expectations, and one line a behaviour on stdout for
 * tests/check.sh, "ok - NAME" or "not ok - NAME". What went wrong is told on stderr. One thread at a time may
 * expect.
 */
#ifndef TESTS_PRELOAD_EXPECT_H
#define TESTS_PRELOAD_EXPECT_H

#include "anydma.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int expect_failed __attribute__((unused));     /* in the behaviour that is being looked at */
static int behaviours_failed __attribute__((unused)); /* so far */
static int behaviours_told __attribute__((unused));
static const char *behaviour_shows_nothing
    __attribute__((unused)); /* why it does not, set while it is looked at */

/* Counts a failure and says where, unless the condition holds. Its value is the condition's. */
#define EXPECT(condition) expect_that((condition), #condition, __FILE__, __LINE__)

__attribute__((unused)) static bool expect_that(bool holds, const char *text, const char *file, int line)
{
    int saved = errno;
    if (!holds && expect_failed++ < 20)
        fprintf(stderr, "%s:%d: not so: %s (errno: %s)\n", file, line, text, strerror(saved));
    errno = saved;
    return holds;
}

/* Looks at one behaviour and prints how it went. */
__attribute__((unused)) static void behaviour(const char *name, void (*look)(void))
{
    expect_failed = 0;
    behaviour_shows_nothing = NULL;
    look();
    bool is_skipped = !expect_failed && behaviour_shows_nothing;
    printf("%s - %s%s%s\n", expect_failed ? "not ok" : "ok", name, is_skipped ? " # SKIP " : "",
           is_skipped ? behaviour_shows_nothing : "");
    fflush(stdout);
    behaviours_failed += expect_failed != 0;
    behaviours_told++;
}

/* At the end of each main: how many results there are, without which tests/check.sh believes none. Returns main's status. */
__attribute__((unused)) static int behaviours_end(void)
{
    printf("1..%d\n", behaviours_told);
    return behaviours_failed != 0;
}

/* Whether the address lies in the arena's first zones. */
__attribute__((unused)) static bool is_in_arena(const void *addr)
{
    uintptr_t va = (uintptr_t)addr;
    return va >= UINT64_C(256) << 30 && va < UINT64_C(512) << 30;
}

/* Every test here is one of the shim: ends the program when it is not there, or does not serve malloc and
 * lookups. */
__attribute__((unused)) static void shim_must_be_there(void)
{
    struct anydma_stats stats;
    void *probe = malloc(100);
    if (!anydma_active() || !is_in_arena(probe) || anydma_iova(probe) == ANYDMA_BAD_IOVA ||
        anydma_stats(&stats, sizeof(stats)) != 0 || stats.registrations == 0) {
        fprintf(stderr, "the shim is not there: active %d, malloc gave %p\n", anydma_active(), probe);
        exit(1);
    }
    free(probe);
}

#endif
