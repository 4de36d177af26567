/* SPDX-License-Identifier: MIT */
/*
 * The heap hears of a thread's end without taking anything from the program: all of its keys of thread-specific data are there, and
 * whether it has left one for the heap, or a low one, or none, 10,000 threads leave nothing behind.
 */
#include "expect.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR_THREADS = 10000, MOST_LEFT_BYTES = 1 << 20, LARGEST = 32 << 10 };

extern char **environ;

static pthread_key_t keys[PTHREAD_KEYS_MAX];
static pthread_key_t key; /* with the destructor below */
static atomic_uint nr_ends;

/* Takes up to `most`. Returns how many there were. */
static int take_keys(int most)
{
    int nr = 0;
    while (nr < most && pthread_key_create(&keys[nr], NULL) == 0)
        nr++;
    return nr;
}

static void give_keys(int nr)
{
    while (nr > 0)
        EXPECT(pthread_key_delete(keys[--nr]) == 0);
}

static void every_key(void)
{
    int nr = take_keys(PTHREAD_KEYS_MAX);
    EXPECT(nr == PTHREAD_KEYS_MAX);
    give_keys(nr);
}

/* So much that the heap keeps some of each size for the thread. */
static void use_heap(void)
{
    void *blocks[4];
    for (size_t bytes = 16; bytes <= LARGEST; bytes *= 2) {
        for (int i = 0; i < 4; i++)
            EXPECT((blocks[i] = malloc(bytes)) != NULL);
        for (int i = 0; i < 4; i++)
            free(blocks[i]);
    }
}

/* Three times for each thread: before and after the heap's own, whichever of them comes first. */
static void at_end_of_thread(void *value)
{
    char *left = value;
    EXPECT(malloc_usable_size(value) >= 100);
    char before = left[0];
    free(value);
    use_heap();
    if (before > 1 && EXPECT((left = malloc(100)) != NULL)) {
        left[0] = (char)(before - 1);
        EXPECT(pthread_setspecific(key, left) == 0);
    }
    atomic_fetch_add(&nr_ends, 1);
}

static void *live_shortly(void *arg)
{
    char *value = malloc(100);
    value[0] = 3;
    EXPECT(pthread_setspecific(key, value) == 0);
    use_heap();
    return arg;
}

static void live_and_end(int nr)
{
    pthread_t thread;
    while (nr-- > 0 && EXPECT(pthread_create(&thread, NULL, live_shortly, NULL) == 0))
        EXPECT(pthread_join(thread, NULL) == 0);
}

static long resident_bytes(void)
{
    long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    EXPECT(file && fscanf(file, "%ld %ld", &size, &resident) == 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static long allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return (long)(info.uordblks + info.hblkhd);
}

static void many_threads(void)
{
    EXPECT(pthread_key_create(&key, at_end_of_thread) == 0);
    live_and_end(100);
    long allocated = allocated_bytes(), resident = resident_bytes();
    live_and_end(NR_THREADS);
    EXPECT(nr_ends == 3 * (NR_THREADS + 100));
    EXPECT(allocated_bytes() - allocated < MOST_LEFT_BYTES);
    EXPECT(resident_bytes() - resident < 4 * MOST_LEFT_BYTES);
}

/* The thread that forks is the child's only one; its threads end as the parent's did. Returns NULL when all went well. */
static void *have_a_child(void *arg)
{
    int status = -1;
    free(malloc(LARGEST));
    pid_t child = fork();
    if (child == 0) {
        use_heap();
        live_and_end(100);
        _exit(expect_failed != 0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? NULL : arg;
}

static void forks_of_threads(void)
{
    pthread_t threads[8];
    void *failed;
    for (int i = 0; i < 8; i++)
        EXPECT(pthread_create(&threads[i], NULL, have_a_child, threads) == 0);
    live_and_end(100);
    for (int i = 0; i < 8; i++)
        EXPECT(pthread_join(threads[i], &failed) == 0 && !failed);
}

/* The main thread ends before the process does. */
static void *outlive_main(void *arg)
{
    EXPECT(pthread_join(*(pthread_t *)arg, NULL) == 0);
    live_and_end(100);
    use_heap();
    exit(expect_failed != 0);
}

static void end_of_main(void)
{
    static pthread_t self;
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        self = pthread_self();
        if (pthread_create(&thread, NULL, outlive_main, &self) != 0)
            _exit(2);
        pthread_exit(NULL);
    }
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

/* This program once more, where so many keys are taken before the first thread is there. */
static void after_taking(const char *nr_keys)
{
    char *arguments[] = {(char *)"/proc/self/exe", (char *)nr_keys, NULL};
    int status = -1;
    pid_t child;
    EXPECT(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0 &&
           waitpid(child, &status, 0) == child && status == 0);
}

static void a_key_beyond_the_first_ones(void)
{
    after_taking("100");
}

static void no_key(void)
{
    after_taking("1023"); /* with this program's own, all */
}

static int threads_after_taking(int nr)
{
    EXPECT(take_keys(nr) == nr);
    many_threads();
    forks_of_threads();
    give_keys(nr);
    live_and_end(100); /* once there is one again */
    forks_of_threads();
    return expect_failed != 0;
}

int main(int argc, char **argv)
{
    shim_must_be_there();
    if (argc > 1)
        return threads_after_taking(atoi(argv[1]));
    behaviour("a_program_has_every_key", every_key);
    behaviour("threads_leave_nothing_behind", many_threads);
    behaviour("children_of_threads_leave_nothing_undone", forks_of_threads);
    behaviour("the_main_thread_ends_first", end_of_main);
    behaviour("threads_leave_nothing_behind_with_a_high_key", a_key_beyond_the_first_ones);
    behaviour("threads_leave_nothing_behind_without_a_key", no_key);
    return behaviours_end();
}
