/* SPDX-License-Identifier: MIT */
/*
 * Judges a page after a route: the CPU touches it, it is looked up again, the device writes, and the CPU must
 * see it; or the lookup says no. Beside it a neighbour, looked up before, is written by the device in a
 * thread of its own. Needs device_write(iova, bytes, len) of device.h (or another device of that name).
 */
#ifndef TESTS_PRELOAD_JUDGE_H
#define TESTS_PRELOAD_JUDGE_H

#include "anydma.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The device writes `len` bytes to [iova, iova + len). Returns 0; -EFAULT: a DMA fault; -errno. */
int device_write(uint64_t iova, const void *bytes, size_t len);

/* What became of a page that had been looked up. */
enum verdict {
    KEPT,    /* the IOVA from before led to it all along, and a lookup gives the same */
    FRESH,   /* a new lookup gives an IOVA that leads to it */
    NO,      /* a new lookup is refused: judged.error says why */
    STALE,   /* the device's write went elsewhere, or faulted, though the lookup had answered */
    SKIPPED, /* this kernel has no such call */
};

struct judged {
    enum verdict verdict;
    int error;
};

/* What the device writes: one of these, in turn. A real device may have them in store. */
enum { JUDGE_NR_TOKENS = 500 };

static uint64_t judge_token(unsigned long nr)
{
    return 0x9e3779b97f4a7c15u * (nr % JUDGE_NR_TOKENS + 1);
}

static uint64_t judge_next_token(void)
{
    static atomic_ulong nr;
    return judge_token(atomic_fetch_add(&nr, 1));
}

/* Whether a write of the device to `iova` is what the CPU then finds at `at`. */
static bool device_reaches(volatile uint64_t *at, uint64_t iova)
{
    uint64_t token = judge_next_token();
    return device_write(iova, &token, sizeof(token)) == 0 && *at == token;
}

/* `before`: the IOVA that was handed out for `at` before the route; ANYDMA_BAD_IOVA: none. */
__attribute__((unused)) static struct judged judge(void *at, uint64_t before)
{
    volatile uint64_t *word = at;
    *word = judge_next_token();
    bool is_kept = before != ANYDMA_BAD_IOVA && device_reaches(word, before);
    uint64_t iova = anydma_iova(at);
    if (iova == ANYDMA_BAD_IOVA)
        return (struct judged){NO, errno};
    if (!device_reaches(word, iova))
        return (struct judged){STALE, 0};
    return (struct judged){is_kept && iova == before ? KEPT : FRESH, 0};
}

__attribute__((unused)) static const char *judged_text(struct judged judged)
{
    static const char *const texts[] = {"the IOVA stays good", "looked up afresh", "", "STALE", "skipped"};
    switch (judged.verdict == NO ? judged.error : 0) {
    case 0:
        return texts[judged.verdict];
    case ESTALE:
        return "refused (ESTALE)";
    case EOPNOTSUPP:
        return "refused (EOPNOTSUPP)";
    case EFAULT:
        return "refused (EFAULT)";
    case ENODEV:
        return "refused (ENODEV)";
    default:
        return "refused, for another reason";
    }
}

/* --- the neighbour -------------------------------------------------------------------------------- */

static struct {
    pthread_t thread;
    volatile uint64_t *at;
    uint64_t iova;
    atomic_ulong seen, lost;
    atomic_bool stop;
} neighbour __attribute__((unused));

__attribute__((unused)) static void *neighbour_write(void *arg)
{
    while (!atomic_load(&neighbour.stop)) {
        bool is_seen = device_reaches(neighbour.at, neighbour.iova);
        atomic_fetch_add(is_seen ? &neighbour.seen : &neighbour.lost, 1);
    }
    return arg;
}

/* Waits for `more` writes, each seen or lost. */
__attribute__((unused)) static void neighbour_wait(unsigned long more)
{
    unsigned long target = atomic_load(&neighbour.seen) + atomic_load(&neighbour.lost) + more;
    while (atomic_load(&neighbour.seen) + atomic_load(&neighbour.lost) < target)
        sched_yield();
}

/* The device writes to `at`, which was looked up, until neighbour_stop; it has begun when this returns. */
__attribute__((unused)) static void neighbour_start(void *at)
{
    neighbour.at = at;
    neighbour.iova = anydma_iova(at);
    atomic_store(&neighbour.seen, 0);
    atomic_store(&neighbour.lost, 0);
    atomic_store(&neighbour.stop, false);
    if (neighbour.iova == ANYDMA_BAD_IOVA ||
        pthread_create(&neighbour.thread, NULL, neighbour_write, NULL) != 0) {
        fprintf(stderr, "the neighbour at %p can't be written\n", at);
        exit(1);
    }
    neighbour_wait(1);
}

/* Whether every write arrived, those after the route too. */
__attribute__((unused)) static bool neighbour_stop(void)
{
    neighbour_wait(2);
    atomic_store(&neighbour.stop, true);
    pthread_join(neighbour.thread, NULL);
    return atomic_load(&neighbour.lost) == 0;
}

#endif
