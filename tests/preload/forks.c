/* SPDX-License-Identifier: MIT */
/*
 * A child owns nothing of its parent's IOMMU: by whatever call it was made, its heap works, its lookups say
 * no, and nothing that it does is felt by the parent. Threads of the parent allocate and look up all the
 * while.
 */
#include "expect.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, NR_FORKS = 25, NR_THREADS = 3, NR_OWN = 40, CHILD_SECONDS = 20 };

extern char **environ;

static char *own[NR_OWN]; /* registered before any child is made */
static char *mapping;
static atomic_bool stop;
static atomic_uint rounds, refused;

static size_t own_bytes(int i)
{
    return (size_t)i * i * 1000 + 16;
}

static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats = {0};
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0);
    return stats;
}

/* What a child does, with the number of the first thing that is not as it should be as its exit status. */
static int live_as_a_child(void)
{
    uint64_t iova;
    alarm(CHILD_SECONDS);
    struct anydma_stats stats = stats_now();
    if (!anydma_active() || stats.containers || stats.registrations || stats.pinned || stats.owed)
        return 1;
    errno = 0;
    if (anydma_iova(own[1]) != ANYDMA_BAD_IOVA && stats_now().pinned)
        return 2;
    for (int i = 0; i < NR_OWN; i++)
        if (own[i][0] != (char)i || own[i][own_bytes(i) - 1] != (char)i)
            return 3;
    for (int i = 0; i < NR_OWN; i++) {
        own[i] = realloc(own[i], own_bytes(i) * 2);
        memset(own[i], 0xff, own_bytes(i) * 2);
        free(own[i]);
    }
    if (munmap(mapping, MIB) != 0 || munmap(mapping + 2 * MIB, MIB) != 0)
        return 4;
    malloc_trim(0);
    for (size_t bytes = 1; bytes < 8 * MIB; bytes = bytes * 3 + 5) {
        char *block = calloc(1, bytes), *aligned = memalign(4096, bytes);
        if (!block || !aligned || block[bytes - 1])
            return 5;
        memset(aligned, 1, bytes);
        free(block);
        free(aligned);
    }
    if (anydma_iova_range(mapping + MIB, MIB, &iova) == 0 && stats_now().pinned)
        return 6;
    return stats_now().maps || stats_now().unmaps ? 7 : 0;
}

static int wait_for(pid_t child)
{
    int status = -1;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

/* Between two children: what was registered is, and nothing was unmapped by them. */
static void parent_is_as_before(void)
{
    for (int i = 0; i < NR_OWN; i++) {
        EXPECT(anydma_iova(own[i]) == (uintptr_t)own[i]);
        EXPECT(own[i][0] == (char)i && own[i][own_bytes(i) - 1] == (char)i);
    }
    EXPECT(anydma_iova(mapping + MIB) == (uintptr_t)mapping + MIB);
    EXPECT(stats_now().containers == 1);
}

static void *allocate_all_the_while(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!atomic_load(&stop)) {
        size_t bytes = (size_t)(rand_r(&seed) % 200000) + 1;
        char *block = malloc(bytes);
        char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (anydma_iova(block) == ANYDMA_BAD_IOVA || anydma_iova(map) == ANYDMA_BAD_IOVA)
            atomic_fetch_add(&refused, 1);
        munmap(map, bytes);
        free(block);
        atomic_fetch_add(&rounds, 1);
    }
    return NULL;
}

static void beside_busy_threads(void)
{
    pthread_t threads[NR_THREADS];
    for (uintptr_t i = 0; i < NR_THREADS; i++)
        pthread_create(&threads[i], NULL, allocate_all_the_while, (void *)(i + 1));
    for (int i = 0; i < NR_FORKS; i++) {
        unsigned seen = atomic_load(&rounds);
        while (atomic_load(&rounds) == seen)
            sched_yield();
        pid_t child = fork();
        if (child == 0)
            _exit(live_as_a_child());
        EXPECT(wait_for(child) == 0);
        parent_is_as_before();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < NR_THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(refused == 0);
}

static void child_that_exits(void)
{
    uint64_t before = stats_now().unmaps;
    pid_t child = fork();
    if (child == 0)
        exit(live_as_a_child());
    EXPECT(wait_for(child) == 0);
    parent_is_as_before();
    EXPECT(stats_now().unmaps == before);
}

static void *live_in_a_thread(void *arg)
{
    return (void *)(intptr_t)live_as_a_child();
}

static void grandchild_and_its_threads(void)
{
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        void *result = NULL;
        child = fork();
        if (child == 0) {
            if (pthread_create(&thread, NULL, live_in_a_thread, NULL) != 0 ||
                pthread_join(thread, &result) != 0)
                _exit(8);
            _exit((int)(intptr_t)result);
        }
        _exit(WEXITSTATUS(wait_for(child)));
    }
    EXPECT(wait_for(child) == 0);
    parent_is_as_before();
}

/* By inline assembly: no fork handler runs, and no door sees it. */
static pid_t raw_clone(void)
{
    long result;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(SIGCHLD), "S"(0), "d"(0), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return (pid_t)result;
}

static void clones_behind_the_handlers(void)
{
    pid_t child = raw_clone();
    if (child == 0)
        _exit(live_as_a_child());
    EXPECT(wait_for(child) == 0);
    parent_is_as_before();
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(live_as_a_child());
    EXPECT(wait_for(child) == 0);
    parent_is_as_before();
}

static void vfork_closes_and_executes(void)
{
    char *arguments[] = {(char *)"/proc/self/exe", (char *)"fresh", NULL};
    pid_t child = vfork();
    if (child == 0) {
        close(1);
        execve(arguments[0], arguments, environ);
        _exit(9);
    }
    EXPECT(wait_for(child) == 0);
    parent_is_as_before();
}

static void spawned(void)
{
    char *arguments[] = {(char *)"/proc/self/exe", (char *)"fresh", NULL};
    pid_t child = -1;
    EXPECT(posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) == 0);
    EXPECT(wait_for(child) == 0);
    parent_is_as_before();
}

int main(int argc, char **argv)
{
    uint64_t iova;
    shim_must_be_there();
    if (argc > 1) /* executed: a program of its own, with an IOMMU of its own */
        return !(stats_now().containers == 1 && stats_now().registrations_peak > 0);
    for (int i = 0; i < NR_OWN; i++) {
        own[i] = malloc(own_bytes(i));
        memset(own[i], i, own_bytes(i));
        EXPECT(anydma_iova_range(own[i], own_bytes(i), &iova) == 0);
    }
    mapping = mmap(NULL, 3 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(anydma_iova_range(mapping, 3 * MIB, &iova) == 0);
    behaviour("child_that_exits_unmaps_nothing", child_that_exits);
    behaviour("grandchild_and_its_threads_own_nothing", grandchild_and_its_threads);
    behaviour("clone_without_handlers_is_a_child_too", clones_behind_the_handlers);
    behaviour("vfork_and_exec_leave_the_parent_alone", vfork_closes_and_executes);
    behaviour("posix_spawn_makes_a_program_of_its_own", spawned);
    behaviour("forks_beside_busy_threads_work", beside_busy_threads);
    return behaviours_end();
}
