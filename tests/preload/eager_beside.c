/* SPDX-License-Identifier: MIT */
/*
 * Eager mode beside other threads: every byte that mmap returns is registered when it does so, while others map, unmap parts and
 * map again, also at hints into what was just unmapped, and while a second container comes and goes.
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 */
#include "expect.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 1500, PAGES = 16, PAGE = 4096 };

static _Atomic unsigned nr_unregistered, nr_maps, nr_containers;
static _Atomic bool is_over;

static char *map_at(void *hint, size_t pages)
{
    char *at = mmap(hint, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    nr_maps++;
    for (size_t i = 0; at != MAP_FAILED && i < pages; i++)
        nr_unregistered += anydma_addr((uintptr_t)at + i * PAGE) != at + i * PAGE;
    return at;
}

/* A hole in what is registered, and a mapping that is asked for there. */
static void one_round(unsigned round)
{
    size_t from = 1 + round % (PAGES - 2), pages = 1 + round % 3;
    char *at = map_at(NULL, PAGES);
    if (from + pages > PAGES - 1)
        pages = PAGES - 1 - from;
    munmap(at + from * PAGE, pages * PAGE);
    char *again = map_at(round % 2 ? at + from * PAGE : NULL, pages);
    munmap(at, from * PAGE);
    munmap(at + (from + pages) * PAGE, (PAGES - from - pages) * PAGE);
    munmap(again, pages * PAGE);
}

static void *maps(void *arg)
{
    for (unsigned round = 0; round < ROUNDS; round++)
        one_round(round);
    return arg;
}

static void *attaches(void *arg)
{
    while (!is_over) {
        int fd = memfd_create("container", MFD_CLOEXEC);
        nr_containers += anydma_attach(fd, 0) == 0;
        close(fd);
    }
    return arg;
}

static void run_threads(bool with_containers)
{
    pthread_t threads[THREADS], container;
    nr_unregistered = nr_maps = nr_containers = is_over = 0;
    if (with_containers)
        pthread_create(&container, NULL, attaches, NULL);
    for (size_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, maps, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_over = true;
    if (with_containers)
        pthread_join(container, NULL);
    EXPECT(nr_maps == 2 * THREADS * ROUNDS);
    EXPECT(nr_containers > 0 || !with_containers);
    if (!EXPECT(nr_unregistered == 0))
        fprintf(stderr, "%u pages of %u mappings\n", nr_unregistered, nr_maps);
}

static void beside_threads(void)
{
    run_threads(false);
}

static void beside_containers(void)
{
    run_threads(true);
}

static void in_a_hole(void)
{
    char *at = map_at(NULL, PAGES);
    munmap(at + 4 * PAGE, PAGE);
    nr_unregistered = 0;
    char *again = map_at(at + 4 * PAGE, 1);
    EXPECT(again != MAP_FAILED && nr_unregistered == 0);
    munmap(again, PAGE);
    munmap(at, PAGES * PAGE);
    again = map_at(at, PAGES);
    EXPECT(again == at && nr_unregistered == 0);
    munmap(at, PAGES * PAGE);
}

int main(void)
{
    shim_must_be_there();
    behaviour("a_hint_into_a_hole_of_what_is_registered", in_a_hole);
    behaviour("beside_other_threads", beside_threads);
    behaviour("beside_containers_that_come_and_go", beside_containers);
    return behaviours_end();
}
