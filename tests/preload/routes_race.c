/* SPDX-License-Identifier: MIT */
/*
 * Two threads look a stretch of memory up all the while a third takes its pages away, by each way: when that
 * is over, what a lookup says is true. routes_race [part of a result's name]
 * @limit 180
 */
#include "device.h"
#include "expect.h"
#include "run_ways.h"

enum { ROUNDS = 60, NR_LOOKERS = 2, BYTES = SUBJECT_PAGES * 4096 };

static struct {
    _Atomic(unsigned char *) at;
    atomic_ulong lookups, answers;
    atomic_bool stop;
} race;

static void *look_up(void *arg)
{
    for (size_t page = 0; !atomic_load(&race.stop); page = (page + 1) % SUBJECT_PAGES) {
        unsigned char *at = atomic_load(&race.at);
        if (!at)
            continue;
        atomic_fetch_add(&race.answers, anydma_iova(at + page * WAY_PAGE) != ANYDMA_BAD_IOVA);
        atomic_fetch_add(&race.lookups, 1);
    }
    return arg;
}

static unsigned char *take_mapping(const struct how *how)
{
    unsigned char *at = how->map(NULL, BYTES, WAY_RW, WAY_PLAIN, -1);
    if (at == MAP_FAILED)
        exit(1);
    memset(at, 1, BYTES);
    return at;
}

static void give_mapping(const struct how *how, struct subject *s)
{
    atomic_store(&race.at, NULL);
    how->unmap(s->at, s->len);
    if (s->moved)
        how->unmap(s->moved, s->len);
}

struct setting {
    const char *memory;
    const struct how *taken, *gone;
};

static const struct setting settings[] = {
    {"own mapping", &by_libc, &by_libc},
    {"mapped unseen", &by_instruction, &by_libc},
    {"mapped unseen", &by_instruction, &by_instruction},
};

/* Returns how many rounds ended with a stale page; *nr_done: how many were gone at all. */
static unsigned race_way(const struct way *way, const struct setting *setting, unsigned *nr_done)
{
    unsigned nr_stale = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct subject s = {take_mapping(setting->taken), BYTES, NULL, setting->gone, way->arg};
        anydma_iova(s.at + (size_t)(round % SUBJECT_PAGES) * WAY_PAGE);
        atomic_store(&race.at, s.at);
        unsigned char *at = way->go(&s);
        if (at && at != MAP_FAILED) {
            for (size_t page = 0; page < SUBJECT_PAGES && at == s.at; page++)
                nr_stale += judge(s.at + page * WAY_PAGE, ANYDMA_BAD_IOVA).verdict == STALE;
            nr_stale += judge(at, ANYDMA_BAD_IOVA).verdict == STALE;
            ++*nr_done;
        }
        give_mapping(setting->taken, &s);
    }
    return nr_stale;
}

/* What keeps the pages there is no race; what the kernel does not tell of is in routes_own and
 * routes_foreign. */
static bool is_raced(const struct way *way, const struct setting *setting)
{
    static const char *const still[] = {"mseal",
                                        "mlock, munlock, mlock2",
                                        "mlockall, munlockall",
                                        "madvise, COLD",
                                        "madvise, MERGEABLE",
                                        "mremap, the moved pages",
                                        "mremap, move by growing"};
    for (size_t i = 0; i < sizeof(still) / sizeof(still[0]); i++)
        if (!strcmp(way->name, still[i]))
            return false;
    return setting->gone != &by_instruction || strcmp(way->name, "madvise, GUARD_INSTALL");
}

static void run_race(const struct way *way, const struct setting *setting)
{
    char text[64];
    unsigned nr_done = 0;
    if (!is_raced(way, setting) || !run_is_wanted(setting->memory, way, setting->gone))
        return;
    unsigned nr_stale = race_way(way, setting, &nr_done);
    snprintf(text, sizeof(text),
             nr_stale  ? "%u STALE pages"
             : nr_done ? "no stale page"
                       : "skipped",
             nr_stale);
    run_say(!nr_stale, setting->memory, ", lookups racing", way, setting->gone, text);
}

int main(int argc, char **argv)
{
    pthread_t lookers[NR_LOOKERS];
    device_start();
    shim_must_be_there();
    run_only = argc > 1 ? argv[1] : NULL;
    for (int i = 0; i < NR_LOOKERS; i++)
        pthread_create(&lookers[i], NULL, look_up, NULL);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        for (int n = 0; n < NR_WAYS; n++)
            run_race(&ways[n], &settings[i]);
    atomic_store(&race.stop, true);
    for (int i = 0; i < NR_LOOKERS; i++)
        pthread_join(lookers[i], NULL);
    fprintf(stderr, "%lu lookups beside, %lu answered\n", atomic_load(&race.lookups),
            atomic_load(&race.answers));
    behaviours_failed += run_failures != 0 || atomic_load(&race.answers) == 0;
    behaviours_told += run_told;
    return behaviours_end();
}
