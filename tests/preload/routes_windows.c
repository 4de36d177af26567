/* SPDX-License-Identifier: MIT */
/*
 * The two windows in which asking the kernel is not enough, forced open: a purge whose event has been read
 * and whose pages are still there, and an unmap that has happened and of which no event was read. Forced by
 * the scheduler: who must be late is idle-class work on a processor that the test keeps busy. Memory that
 * anydma did not place, taken away by instructions that no door sees. routes_windows [part of a result's
 * name]
 * @limit 600
 */
#include "device.h"
#include "expect.h"
#include "judge.h"
#include "ways.h"

#include <dirent.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

#ifndef UFFD_USER_MODE_ONLY /* 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif

enum { PURGED_PAGES = 4096, TRIES = 16, MOST_TRIES = 400 /* on a busy machine */, MANY_AREAS = 20000 };

static const char *only;

static unsigned char *map_hidden(size_t pages)
{
    return by_instruction.map(NULL, pages * WAY_PAGE, WAY_RW, WAY_PLAIN, -1);
}

/* To one processor, as idle-class work or as ordinary; 0: this thread. */
static void put_on_processor(pid_t tid, int processor, bool is_idle)
{
    struct sched_param none = {0};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(tid, sizeof(set), &set);
    sched_setscheduler(tid, is_idle ? SCHED_IDLE : SCHED_OTHER, &none);
}

static int first_processor(void)
{
    cpu_set_t set;
    int n = 0;
    sched_getaffinity(0, sizeof(set), &set);
    while (!CPU_ISSET(n, &set))
        n++;
    return n;
}

/* --- a purge after its event was read ------------------------------------------------------------- */

static struct {
    unsigned char *at;
    int processor;
    atomic_bool is_ready, go, is_done;
} purge;

static void *purge_late(void *arg)
{
    put_on_processor(0, purge.processor, true);
    atomic_store(&purge.is_ready, true);
    while (!atomic_load(&purge.go))
        sched_yield();
    advise_by_instruction(purge.at, PURGED_PAGES * WAY_PAGE, MADV_DONTNEED);
    atomic_store(&purge.is_done, true);
    return arg;
}

/* Until the purge's event has been heard of, by a page that was looked up before it. */
static void wait_for_the_event(const unsigned char *known)
{
    /* The processor is given away now and then only: the purge begins by that, and must not end by it. */
    for (unsigned n = 0; anydma_iova(known) != ANYDMA_BAD_IOVA && !atomic_load(&purge.is_done); n++)
        if (n % 256 == 0)
            sched_yield();
}

/* Whether what was looked up while its page was purged, and is again the program's, was told right. */
static bool is_sound_after(unsigned char *wanted, uint64_t iova)
{
    volatile uint64_t *word = (volatile uint64_t *)wanted;
    *word = 1;
    bool is_sound = iova == ANYDMA_BAD_IOVA || device_reaches(word, iova);
    return is_sound && judge(wanted, ANYDMA_BAD_IOVA).verdict != STALE;
}

/* --- the same where nobody watches (routes_off.sh): the purge is held by the test itself */

static void *purge_now(void *arg)
{
    advise_by_instruction(purge.at, PURGED_PAGES * WAY_PAGE, MADV_DONTNEED);
    return arg;
}

/* A purge of this page, and of what follows it, waits until its event is read. Returns the descriptor; -1: it can't be had. */
static int hold_purges_of(void *page)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
    struct uffdio_register range = {{(uintptr_t)page, WAY_PAGE}, UFFDIO_REGISTER_MODE_MISSING, 0};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &range) == 0)
        return fd;
    close(fd);
    return -1;
}

static void look_up_within_a_held_purge(size_t page, bool was_known)
{
    pthread_t thread;
    struct uffd_msg event;
    purge.at = map_hidden(PURGED_PAGES);
    memset(purge.at, 1, PURGED_PAGES * WAY_PAGE);
    unsigned char *wanted = purge.at + page * WAY_PAGE;
    EXPECT(!was_known || anydma_iova(wanted) != ANYDMA_BAD_IOVA);
    struct pollfd held = {.fd = hold_purges_of(purge.at), .events = POLLIN};
    if (held.fd < 0) {
        behaviour_shows_nothing = "there is no userfaultfd";
        return;
    }
    pthread_create(&thread, NULL, purge_now, NULL);
    EXPECT(poll(&held, 1, -1) == 1); /* it has begun, and has not come to `wanted` */
    uint64_t iova = anydma_iova(wanted);
    EXPECT(read(held.fd, &event, sizeof(event)) == sizeof(event) && event.event == UFFD_EVENT_REMOVE);
    pthread_join(thread, NULL);
    if (!EXPECT(is_sound_after(wanted, iova)))
        printf("STALE: found in a purge that was held\n");
    close(held.fd);
    unmap_by_instruction(purge.at, PURGED_PAGES * WAY_PAGE);
}

static bool nobody_watches(void)
{
    const char *policy = getenv("ANYDMA_FOREIGN");
    return policy && strcmp(policy, "trust") == 0;
}

/* Looks `wanted` up while the purge is under way; judges it when that is over. */
static bool lookup_within_purge(size_t page, bool was_known, unsigned *was_open)
{
    pthread_t thread;
    purge.at = map_hidden(PURGED_PAGES);
    advise_by_instruction(purge.at, PURGED_PAGES * WAY_PAGE,
                          MADV_NOHUGEPAGE); /* a huge page is gone at once */
    memset(purge.at, 1, PURGED_PAGES * WAY_PAGE);
    atomic_store(&purge.is_ready, false);
    atomic_store(&purge.go, false);
    atomic_store(&purge.is_done, false);
    unsigned char *wanted = purge.at + page * WAY_PAGE;
    if (anydma_iova(purge.at) == ANYDMA_BAD_IOVA || (was_known && anydma_iova(wanted) == ANYDMA_BAD_IOVA))
        return false;
    pthread_create(&thread, NULL, purge_late, NULL);
    while (!atomic_load(&purge.is_ready))
        sched_yield();
    atomic_store(&purge.go, true);
    wait_for_the_event(purge.at);
    uint64_t iova = anydma_iova(wanted);
    *was_open += !atomic_load(&purge.is_done);
    pthread_join(thread, NULL);
    bool is_sound = is_sound_after(wanted, iova);
    unmap_by_instruction(purge.at, PURGED_PAGES * WAY_PAGE);
    return is_sound;
}

static void look_up_within_purges(size_t page, bool was_known)
{
    unsigned was_open = 0, unsound = 0;
    cpu_set_t all;
    if (nobody_watches()) {
        look_up_within_a_held_purge(page, was_known);
        return;
    }
    sched_getaffinity(0, sizeof(all), &all);
    purge.processor = first_processor();
    put_on_processor(0, purge.processor, false);
    for (int i = 0; i < TRIES || (!was_open && i < MOST_TRIES); i++)
        unsound += !lookup_within_purge(page, was_known, &was_open);
    sched_setaffinity(0, sizeof(all), &all);
    if (!EXPECT(unsound == 0))
        printf("STALE: %u of %d\n", unsound, TRIES);
    if (!was_open) /* the scheduler decides */
        behaviour_shows_nothing = "the window was never open";
}

static void a_known_page_is_refused_while_a_purge_is_under_way(void)
{
    look_up_within_purges(PURGED_PAGES - 1, true);
}

static void a_page_never_looked_up_is_refused_while_a_purge_is_under_way(void)
{
    look_up_within_purges(PURGED_PAGES - 1, false);
}

/* --- an unmap in flight --------------------------------------------------------------------------- */

static struct {
    unsigned char *at;
    atomic_bool go, is_done;
} unmap;

static void *unmap_now(void *arg)
{
    while (!atomic_load(&unmap.go))
        sched_yield();
    unmap_by_instruction(unmap.at, WAY_PAGE);
    atomic_store(&unmap.is_done, true);
    return arg;
}

static atomic_bool is_idle_again;

/* Keeps its processor from idle-class work. */
static void *keep_busy(void *arg)
{
    put_on_processor(0, first_processor(), false);
    while (!atomic_load(&is_idle_again))
        ;
    return arg;
}

/* The thread that reads the events; 0: there is none. */
static pid_t find_reader(void)
{
    DIR *tasks = opendir("/proc/self/task");
    pid_t found = 0;
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "re");
        if (file && fgets(name, sizeof(name), file) && !strcmp(name, "anydma-watch\n"))
            found = atoi(task->d_name);
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return found;
}

static bool lookup_within_unmap(unsigned *was_open)
{
    pthread_t thread;
    unmap.at = map_hidden(1);
    atomic_store(&unmap.go, false);
    atomic_store(&unmap.is_done, false);
    volatile uint64_t *word = (volatile uint64_t *)unmap.at;
    *word = 1;
    if (anydma_iova(unmap.at) == ANYDMA_BAD_IOVA)
        return false;
    pthread_create(&thread, NULL, unmap_now, NULL);
    atomic_store(&unmap.go, true);
    /* Until the pages are gone: the thread waits in the kernel for its event to be read. */
    while (by_instruction.map(unmap.at, WAY_PAGE, WAY_RW, WAY_PLAIN | MAP_FIXED_NOREPLACE, -1) != unmap.at)
        ;
    *was_open += !atomic_load(&unmap.is_done);
    *word = 2;
    uint64_t iova = anydma_iova(unmap.at);
    bool is_sound = iova == ANYDMA_BAD_IOVA || device_reaches(word, iova);
    pthread_join(thread, NULL);
    is_sound &= judge(unmap.at, ANYDMA_BAD_IOVA).verdict != STALE;
    unmap_by_instruction(unmap.at, WAY_PAGE);
    return is_sound;
}

static void what_was_unmapped_a_moment_ago_is_not_answered_for(void)
{
    unsigned was_open = 0, unsound = 0;
    unsigned char *first = map_hidden(1);
    EXPECT(anydma_iova(first) != ANYDMA_BAD_IOVA);
    pid_t reader = find_reader();
    pthread_t busy;
    if (EXPECT(reader != 0))
        put_on_processor(reader, first_processor(), true);
    pthread_create(&busy, NULL, keep_busy, NULL);
    for (int i = 0; i < TRIES || (!was_open && i < MOST_TRIES); i++)
        unsound += !lookup_within_unmap(&was_open);
    if (!EXPECT(unsound == 0))
        printf("STALE: %u of %d\n", unsound, TRIES);
    EXPECT(was_open > 0);
    atomic_store(&is_idle_again, true);
    pthread_join(busy, NULL);
}

/* --- what is left behind -------------------------------------------------------------------------- */

/* A quarter of vm.max_map_count may be watched: of what is there, not of what ever was. */
static void mappings_that_are_gone_do_not_count_as_watched(void)
{
    for (int i = 0; i < MANY_AREAS; i++) {
        unsigned char *at = map_hidden(1);
        if (!EXPECT(anydma_iova(at) != ANYDMA_BAD_IOVA)) {
            fprintf(stderr, "at number %d\n", i);
            return;
        }
        unmap_by_instruction(at, WAY_PAGE);
    }
}

/* What goes on behind the doors between two lookups is no reason to distrust everything else. */
static void many_events_between_two_lookups_do_no_harm(void)
{
    unsigned char *kept = map_hidden(1), *many = map_hidden(MANY_AREAS);
    EXPECT(anydma_iova(kept) != ANYDMA_BAD_IOVA && anydma_iova(many) != ANYDMA_BAD_IOVA);
    for (int i = 1; i < MANY_AREAS; i += 2)
        unmap_by_instruction(many + (size_t)i * WAY_PAGE, WAY_PAGE);
    EXPECT(judge(kept, anydma_iova(kept)).verdict == KEPT);
    unmap_by_instruction(many, MANY_AREAS * WAY_PAGE);
}

static void look(const char *name, void (*how)(void))
{
    if (!only || strstr(name, only))
        behaviour(name, how);
}
#define LOOK(name) look(#name, name)

int main(int argc, char **argv)
{
    device_start();
    shim_must_be_there();
    only = argc > 1 ? argv[1] : NULL;
    LOOK(a_known_page_is_refused_while_a_purge_is_under_way);
    LOOK(a_page_never_looked_up_is_refused_while_a_purge_is_under_way);
    LOOK(mappings_that_are_gone_do_not_count_as_watched);
    LOOK(many_events_between_two_lookups_do_no_harm);
    LOOK(what_was_unmapped_a_moment_ago_is_not_answered_for);
    return behaviours_end();
}
