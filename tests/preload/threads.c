/* SPDX-License-Identifier: MIT */
/*
 * 64 threads that meet every lock of the shim: all doors, lookups of every kind of memory, containers that come and go,
 * libraries opened and closed, forks, signals to one another, destructors of thread-local storage, short-lived threads; and
 * an exit while half of them are still at it, whose handlers do the same. Nothing hangs: the program ends itself when no
 * thread has finished a step for a while, and gdb or /proc/PID/task/\*\/stack then show where. How much is done is bounded
 * by processor time, so that a slow or busy machine does less, and not for longer.
 * @limit 600
 */
#include "expect.h"

#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NR_THREADS = 64, LEAST_ROUNDS = 30, MOST_ROUNDS = 300, MOST_CPU_SECONDS = 15, IDLE_SECONDS = 30 };
enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE };

extern char **environ;

static pthread_t threads[NR_THREADS];
static atomic_uint failed, nr_handled, nr_destructed, nr_children, nr_opened;
static atomic_uint nr_steps;
static atomic_bool is_ending;
static pthread_key_t key;
static pthread_barrier_t all_done;
static char plugin_path[PATH_MAX + 32];
static int container_file;

static void must(bool holds, const char *what)
{
    if (!holds && atomic_fetch_add(&failed, 1) < 10)
        fprintf(stderr, "not so: %s (errno: %s)\n", what, strerror(errno));
}

static void use_mappings(unsigned n)
{
    size_t bytes = (1 + n % 70) * PAGE;
    char *at = mmap(NULL, bytes, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(at != MAP_FAILED && anydma_iova(at) != ANYDMA_BAD_IOVA, "a mapping is looked up");
    must(anydma_pin(at, bytes) == 0, "a mapping is pinned");
    madvise(at, bytes, MADV_DONTNEED);
    mprotect(at, PAGE,
             RW | PROT_EXEC); /* none, and its neighbours could not be mapped in a container just then */
    mprotect(at, PAGE, RW);
    must(anydma_unpin(at, bytes) == 0, "a mapping is unpinned");
    char *moved = mremap(at, bytes, 2 * bytes, MREMAP_MAYMOVE);
    must(moved != MAP_FAILED, "a mapping grows");
    must(mmap(moved, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == moved,
         "a mapping is replaced");
    must(munmap(moved, 2 * bytes) == 0, "a mapping is unmapped");
}

static void use_heap(unsigned n)
{
    size_t bytes = (size_t)1 << n % 22;
    char *block = malloc(bytes);
    must(block && anydma_iova(block) != ANYDMA_BAD_IOVA, "a block is looked up");
    block = realloc(block, bytes * 3);
    must(block && anydma_iova(block + bytes) != ANYDMA_BAD_IOVA, "a larger block is looked up");
    free(block);
    if (n % 16 == 0)
        malloc_trim(0);
}

/* Memory that is watched: a stack may be refused, where the C library purged it. */
static void use_stack(void)
{
    volatile char here[2 * PAGE];
    here[PAGE] = 1;
    anydma_iova((const void *)&here[PAGE]);
}

static void open_library(void)
{
    void *plugin = dlopen(plugin_path, RTLD_NOW);
    must(plugin != NULL, "a library is opened");
    if (plugin)
        dlclose(plugin);
    atomic_fetch_add(&nr_opened, 1);
}

static void have_a_child(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        char *at = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        free(malloc(PAGE));
        _exit(at == MAP_FAILED || munmap(at, PAGE) != 0);
    }
    must(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a child does as it should");
    atomic_fetch_add(&nr_children, 1);
}

static void use_a_container(void)
{
    int fd = dup(container_file);
    must(fd >= 0, "a descriptor is duplicated");
    if (anydma_attach(fd, 0) == 0)
        use_heap(12);
    close(fd);
}

static void *end_at_once(void *arg)
{
    pthread_setspecific(key, malloc(100));
    use_stack();
    return arg;
}

static void start_another(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_at_once, NULL) == 0)
        pthread_join(thread, NULL);
}

static void use_everything(unsigned n)
{
    atomic_fetch_add(&nr_steps, 1);
    switch (n % 16) {
    case 0:
        open_library();
        break;
    case 1:
        have_a_child();
        break;
    case 2:
        use_a_container();
        break;
    case 3:
        start_another();
        break;
    case 4:
        use_stack();
        break;
    case 5:
        pthread_kill(threads[n / 16 % NR_THREADS], SIGUSR1);
        break;
    default:
        if (n % 2)
            use_heap(n / 16);
        else
            use_mappings(n / 16);
    }
}

/* What is async-signal safe by the manual, and the doors, which are system calls to the program. */
static void on_signal(int number)
{
    int saved = errno;
    (void)number;
    use_mappings(atomic_fetch_add(&nr_handled, 1));
    use_stack();
    errno = saved;
}

static void at_end_of_thread(void *value)
{
    use_heap(14);
    use_mappings(3);
    free(value);
    atomic_fetch_add(&nr_destructed, 1);
}

static bool is_spent(void)
{
    struct timespec used;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0 && used.tv_sec >= MOST_CPU_SECONDS;
}

/* Every IDLE_SECONDS. A signal handler of its own, which any thread may run. */
static void look_for_progress(int number)
{
    static unsigned seen;
    static const char told[] = "no thread has finished a step for 30 s: it hangs\n";
    (void)number;
    if (nr_steps == seen) {
        (void)!write(STDERR_FILENO, told, sizeof(told) - 1);
        _exit(4);
    }
    seen = nr_steps;
}

static void watch_progress(int seconds)
{
    const struct itimerval interval = {{seconds, 0}, {seconds, 0}};
    struct sigaction action = {.sa_handler = look_for_progress, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &interval, NULL);
}

static void *work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg * 977 + 1;
    pthread_setspecific(key, malloc(1000));
    for (int round = 0;
         round < LEAST_ROUNDS || (round < MOST_ROUNDS && !is_spent()) || atomic_load(&is_ending); round++)
        use_everything((unsigned)rand_r(&seed));
    pthread_barrier_wait(&all_done); /* none is joined while another may send it a signal */
    return NULL;
}

static void start(int nr)
{
    for (int i = 0; i < NR_THREADS; i++)
        threads[i] = pthread_self(); /* until it is there */
    pthread_barrier_init(&all_done, NULL, (unsigned)nr);
    for (int i = 0; i < nr; i++)
        must(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0, "a thread is started");
}

static void all_at_once(void)
{
    start(NR_THREADS);
    for (int i = 0; i < NR_THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(failed == 0 && nr_handled && nr_children && nr_opened && nr_destructed >= NR_THREADS);
}

static void at_exit(void)
{
    for (unsigned n = 0; n < 64; n++)
        use_everything(n % 16 == 5 ? 6 : n);
    if (failed)
        _exit(3);
}

/* exit() with threads that do not stop. */
static int exit_amid(void)
{
    atexit(at_exit);
    atomic_store(&is_ending, true);
    start(NR_THREADS / 2);
    for (unsigned n = 0; n < 200 && !is_spent(); n++)
        use_everything(n % 16 == 5 ? 6 : n);
    exit(failed != 0);
}

static void end_another_amid(void)
{
    char *arguments[] = {(char *)"/proc/self/exe", (char *)"exit", NULL};
    int status = -1;
    pid_t child;
    watch_progress(0); /* it watches itself */
    EXPECT(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0 &&
           waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    shim_must_be_there();
    ssize_t len = readlink("/proc/self/exe", plugin_path, PATH_MAX);
    while (len > 0 && plugin_path[len - 1] != '/')
        len--;
    snprintf(plugin_path + len, 32, "plugins/early.so");
    container_file = memfd_create("container", MFD_CLOEXEC);
    pthread_key_create(&key, at_end_of_thread);
    sigaction(SIGUSR1, &action, NULL);
    watch_progress(IDLE_SECONDS);
    if (argc > 1)
        return exit_amid();
    behaviour("64_threads_and_signals_meet_every_lock", all_at_once);
    behaviour("exit_amid_32_threads", end_another_amid);
    return behaviours_end();
}
