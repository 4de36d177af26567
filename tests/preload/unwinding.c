/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and cancellation in a program in C with a C++ library, and in libc's own functions, are unwound by libgcc's
 * unwinder, as without the shim: none that the shim needs stands before it in the global scope. Any argument: the
 * shim need not be there. tests/preload/unwinding_modes.sh runs this with captures, in check mode, and switched off.
 */
#include "expect.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

static void *library;

static int call(const char *name)
{
    int (*function)(void) = (int (*)(void))dlsym(library, name);
    return function ? function() : -1;
}

static void the_unwinder_is_libgccs(void)
{
    const char *(*by)(void) = (const char *(*)(void))dlsym(library, "unwinds_by");
    if (EXPECT(by != NULL) && !EXPECT(strstr(by(), "/libgcc_s.so") != NULL))
        fprintf(stderr, "it is %s\n", by());
    EXPECT(dlsym(RTLD_DEFAULT, "_Unwind_RaiseException") == NULL);
    EXPECT(dlsym(RTLD_DEFAULT, "unw_step") == NULL && dlsym(RTLD_DEFAULT, "lzma_code") == NULL);
}

static void exceptions_run_destructors(void)
{
    EXPECT(call("unwinds_throw") == 20);
}

static void cancellation_runs_destructors(void)
{
    EXPECT(call("unwinds_cancel") == 1);
    EXPECT(call("unwinds_exit") == 1);
}

static FILE *file;

static void *write_line(void *gate)
{
    pthread_barrier_wait(gate); /* the cancellation is pending by now */
    fputs("never", file);
    return NULL;
}

/* libc's own cleanup, which is found by the personality routine of a libgcc that pthread_cancel loads. */
static void cancellation_unlocks_stdio(void)
{
    pthread_t thread;
    pthread_barrier_t gate;
    void *result;
    file = tmpfile();
    setvbuf(file, NULL, _IONBF, 0);
    pthread_barrier_init(&gate, NULL, 2);
    EXPECT(pthread_create(&thread, NULL, write_line, &gate) == 0);
    pthread_cancel(thread);
    pthread_barrier_wait(&gate);
    pthread_join(thread, &result);
    EXPECT(result == PTHREAD_CANCELED);
    EXPECT(ftrylockfile(file) == 0);
}

int main(int argc, char **argv)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
    if (argc < 2)
        shim_must_be_there();
    behaviour("cancellation unlocks stdio", cancellation_unlocks_stdio);
    while (len > 0 && path[len - 1] != '/')
        len--;
    strcpy(path + len, "plugins/unwinds.so");
    library = dlopen(path, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    behaviour("the unwinder is libgcc's", the_unwinder_is_libgccs);
    behaviour("exceptions run destructors", exceptions_run_destructors);
    behaviour("cancellation runs destructors", cancellation_runs_destructors);
    return behaviours_end();
}
