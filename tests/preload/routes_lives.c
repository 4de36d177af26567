/* SPDX-License-Identifier: MIT */
/*
 * Memory that anydma did not place, taken away by the C library and the loader: stacks of threads that end,
 * .bss of a library that is closed, the program's break. Each is mapped anew at the same address, touched,
 * looked up and written by the device.
 */
#include "device.h"
#include "expect.h"
#include "judge.h"

#include <dlfcn.h>
#include <limits.h>

enum { PAGE = 4096, DEEP = 256 << 10, LARGE_STACK = 64 << 20, BREAK = 1 << 20, ROUNDS = 8 };

static unsigned nr_stale,
    nr_same; /* of the behaviour: stale pages, and how often the address was the same again */

/* `wanted`: FRESH, or NO with ESTALE. */
static void expect_verdict(void *at, enum verdict wanted)
{
    struct judged judged = judge(at, ANYDMA_BAD_IOVA);
    nr_stale += judged.verdict == STALE;
    if (!EXPECT(judged.verdict == wanted && (wanted != NO || judged.error == ESTALE)))
        fprintf(stderr, "it is: %s\n", judged_text(judged));
}

/* --- threads -------------------------------------------------------------------------------------- */

static struct {
    unsigned char *at;     /* what the thread before looked up */
    enum verdict expected; /* of the next that finds itself there */
} on_stack;

static void *look_up_deep_in_the_stack(void *arg)
{
    unsigned char frame[DEEP];
    unsigned char *at = (unsigned char *)(((uintptr_t)frame + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    at[0] = 1;
    if (at == on_stack.at) {
        nr_same++;
        expect_verdict(at, on_stack.expected);
    } else {
        expect_verdict(at, FRESH);
    }
    on_stack.at = at;
    return arg;
}

static void run_thread(size_t stack_bytes)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack_bytes);
    if (EXPECT(pthread_create(&thread, &attr, look_up_deep_in_the_stack, NULL) == 0))
        pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

/* glibc purges the unused part of a stack that it keeps for the next thread. */
static void stacks_that_are_kept(void)
{
    on_stack.at = NULL;
    on_stack.expected = NO;
    for (int i = 0; i < ROUNDS; i++)
        run_thread(1 << 20);
    EXPECT(nr_same > 0);
}

static void stacks_that_are_unmapped(void)
{
    on_stack.at = NULL;
    on_stack.expected = FRESH;
    for (int i = 0; i < ROUNDS; i++)
        run_thread(LARGE_STACK);
    EXPECT(nr_same > 0);
}

/* --- a library ------------------------------------------------------------------------------------ */

static char library[PATH_MAX];

static void closed_libraries(void)
{
    unsigned char *before = NULL;
    for (int i = 0; i < ROUNDS; i++) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        unsigned char *bss = handle ? dlsym(handle, "library_bss") : NULL;
        if (!EXPECT(bss != NULL))
            return;
        nr_same += bss == before;
        before = bss;
        expect_verdict((void *)(((uintptr_t)bss + PAGE) & ~(uintptr_t)(PAGE - 1)), FRESH);
        dlclose(handle);
    }
    EXPECT(nr_same > 0);
}

/* --- the break ------------------------------------------------------------------------------------ */

static void the_break(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        unsigned char *at = sbrk(BREAK);
        expect_verdict((void *)(((uintptr_t)at + PAGE) & ~(uintptr_t)(PAGE - 1)), FRESH);
        EXPECT((i % 2 ? (void *)(intptr_t)brk(at) : sbrk(-BREAK)) != (void *)-1);
        nr_same += sbrk(0) == at;
    }
    EXPECT(nr_same == ROUNDS);
}

static void look(const char *name, void (*how)(void))
{
    nr_stale = nr_same = 0;
    behaviour(name, how);
    if (nr_stale)
        printf("STALE: %u in %s\n", nr_stale, name);
}

int main(int argc, char **argv)
{
    device_start();
    shim_must_be_there();
    ssize_t len = readlink("/proc/self/exe", library, sizeof(library) - 16);
    if (len < 0)
        return 1;
    library[len] = '\0';
    strcpy(strrchr(library, '/'), "/lib/bss.so");
    look("stacks_that_are_kept_for_the_next_thread_are_refused", stacks_that_are_kept);
    look("stacks_that_are_unmapped_with_their_thread_start_afresh", stacks_that_are_unmapped);
    look("bss_of_a_library_that_is_closed_and_opened_starts_afresh", closed_libraries);
    look("memory_below_a_break_that_moved_starts_afresh", the_break);
    return behaviours_end();
}
