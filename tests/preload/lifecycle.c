/* SPDX-License-Identifier: MIT */
/*
 * The shim serves before its constructor has run, in libraries that are opened and closed, at the end of
 * threads and of the program; and lets go of memory that another allocator handed out.
 */
#include "expect.h"

#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR_EARLY = 300, MAP_BYTES = 256 << 10 };

extern char **environ;
extern void *__libc_malloc(size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static char *early[NR_EARLY], *early_mapping;
static bool active_before_constructors;

static size_t early_bytes(int i)
{
    return (size_t)i * 97 + 1;
}

/* Before the constructor of any library. */
static void allocate_early(void)
{
    for (int i = 0; i < NR_EARLY; i++) {
        early[i] = i % 3 ? malloc(early_bytes(i)) : realloc(calloc(1, 5), early_bytes(i));
        memset(early[i], i, early_bytes(i));
    }
    early_mapping = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    active_before_constructors = anydma_active();
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = allocate_early;

static void before_the_constructor(void)
{
    EXPECT(active_before_constructors);
    for (int i = 0; i < NR_EARLY; i++) {
        EXPECT(early[i][0] == (char)i && early[i][early_bytes(i) - 1] == (char)i);
        EXPECT(anydma_iova(early[i]) == (uintptr_t)early[i]);
        free(early[i]);
    }
    EXPECT(is_in_arena(early_mapping) && anydma_iova(early_mapping) == (uintptr_t)early_mapping);
    EXPECT(munmap(early_mapping, MAP_BYTES) == 0);
}

/* The file of that name in plugins/ beside this program. */
static void *open_plugin(const char *name, int flags)
{
    char path[PATH_MAX + 32];
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    while (len > 0 && path[len - 1] != '/')
        len--;
    snprintf(path + len, sizeof(path) - (size_t)len, "plugins/%s.so", name);
    void *plugin = dlopen(path, flags);
    if (!EXPECT(plugin != NULL))
        fprintf(stderr, "%s\n", dlerror());
    return plugin;
}

static void opened_library(void)
{
    for (int i = 0; i < 3; i++) {
        void *plugin = open_plugin("early", RTLD_NOW);
        int (*is_whole)(void) = (int (*)(void))dlsym(plugin, "early_is_whole");
        uint64_t *iova = dlsym(plugin, "early_iova");
        EXPECT(is_whole && is_whole() && *iova != ANYDMA_BAD_IOVA);
        EXPECT(dlclose(plugin) == 0);
        malloc_trim(0);
    }
}

/* Everything that an exit handler might want. */
static void use_everything(void)
{
    uint64_t iova;
    for (size_t bytes = 10; bytes < 4 << 20; bytes *= 7) {
        char *block = calloc(1, bytes),
             *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EXPECT(block && anydma_iova_range(block, bytes, &iova) == 0);
        EXPECT(mapping != MAP_FAILED && anydma_iova_range(mapping, bytes, &iova) == 0);
        block = realloc(block, bytes * 2);
        EXPECT(munmap(mapping, bytes) == 0);
        free(block);
    }
}

static pthread_key_t key;
static int destructor_runs;

static void at_end_of_thread(void *value)
{
    use_everything();
    free(value);
    if (++destructor_runs % 4)
        pthread_setspecific(key, malloc(100)); /* and once more */
}

static void *live_shortly(void *arg)
{
    pthread_setspecific(key, malloc(1000));
    return arg;
}

static void ends_of_threads(void)
{
    pthread_key_create(&key, at_end_of_thread);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        EXPECT(pthread_create(&thread, NULL, live_shortly, NULL) == 0);
        EXPECT(pthread_join(thread, NULL) == 0);
    }
    EXPECT(destructor_runs == 20 * 4);
    pthread_key_delete(key);
}

static void at_exit_of_program(void)
{
    use_everything();
    malloc_trim(0);
    if (expect_failed)
        _exit(2);
}

__attribute__((destructor)) static void destroy(void)
{
    at_exit_of_program();
}

/* This program once more, ending itself by `how`. */
static int status_of_exit(const char *how)
{
    char *arguments[] = {(char *)"/proc/self/exe", (char *)how, NULL};
    pid_t child;
    int status = -1;
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0)
        waitpid(child, &status, 0);
    return status;
}

static void exits(void)
{
    EXPECT(status_of_exit("return") == 7 << 8);
    EXPECT(status_of_exit("exit") == 7 << 8);
    EXPECT(status_of_exit("thread") == 7 << 8);
}

static void *exit_in_thread(void *arg)
{
    exit(7);
    return arg;
}

static int exit_by(const char *how)
{
    pthread_t thread;
    shim_must_be_there();
    atexit(at_exit_of_program);
    if (strcmp(how, "exit") == 0)
        exit(7);
    if (strcmp(how, "thread") == 0 && pthread_create(&thread, NULL, exit_in_thread, NULL) == 0)
        pthread_join(thread, NULL);
    return 7;
}

static void others_memory(void)
{
    void *plugin = open_plugin("deepbind", RTLD_NOW | RTLD_DEEPBIND);
    void *(*theirs)(size_t) = (void *(*)(size_t))dlsym(plugin, "deepbind_malloc");
    for (size_t bytes = 1; bytes < 3 << 20; bytes = bytes * 3 + 1) {
        char *a = theirs(bytes), *b = __libc_malloc(bytes), *c = __libc_memalign(4096, bytes),
             *d = theirs(bytes);
        EXPECT(!is_in_arena(a) && !is_in_arena(b) && !is_in_arena(c));
        EXPECT(malloc_usable_size(a) >= bytes && malloc_usable_size(c) >= bytes);
        memset(d, 9, bytes);
        d = realloc(d, bytes * 2);
        EXPECT(d && d[0] == 9 && d[bytes - 1] == 9);
        free(a);
        free(b);
        free(c);
        free(d);
    }
    EXPECT(realloc(__libc_malloc(10), 0) == NULL);
    dlclose(plugin);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return exit_by(argv[1]);
    shim_must_be_there();
    behaviour("memory_from_before_the_constructor_is_whole_and_has_iovas", before_the_constructor);
    behaviour("library_may_allocate_while_it_is_opened_and_closed", opened_library);
    behaviour("thread_may_use_everything_while_it_ends", ends_of_threads);
    behaviour("program_may_use_everything_while_it_exits", exits);
    behaviour("memory_of_another_allocator_goes_back_to_it", others_memory);
    return behaviours_end();
}
