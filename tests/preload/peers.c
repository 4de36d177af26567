/* SPDX-License-Identifier: MIT */
/*
 * UCX itself in the same process, where it is installed: its hooks go in as they do plainly (it tests them by itself), hear
 * of the program's calls, and ours answer as before; the heap stays ours.
 */
#include "expect.h"

#include <dlfcn.h>
#include <sys/mman.h>

/* Source: UCX's ucm/api/ucm.h. */
enum { UCM_EVENT_VM_MAPPED = 1 << 16, UCM_EVENT_VM_UNMAPPED = 1 << 17 };
typedef void ucm_callback(int type, void *event, void *arg);

enum { BYTES = 1 << 20 };
/* Volatile: the compiler takes mmap to be one that calls nothing in this file. */
static volatile unsigned nr_mapped, nr_unmapped;

static void on_event(int type, void *event, void *arg)
{
    (void)event;
    (void)arg;
    nr_mapped += type == UCM_EVENT_VM_MAPPED;
    nr_unmapped += type == UCM_EVENT_VM_UNMAPPED;
}

static int (*set_event_handler)(int events, int priority, ucm_callback *callback, void *arg);

static void its_hooks_go_in(void)
{
    EXPECT(set_event_handler(UCM_EVENT_VM_MAPPED | UCM_EVENT_VM_UNMAPPED, 1000, on_event, NULL) == 0);
}

static void both_hear_of_the_programs_calls(void)
{
    unsigned mapped = nr_mapped, unmapped = nr_unmapped;
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(nr_mapped == mapped + 1 && is_in_arena(memory));
    EXPECT(anydma_iova(memory) == (uint64_t)memory);
    EXPECT(munmap(memory, BYTES) == 0);
    EXPECT(nr_unmapped == unmapped + 1);
    EXPECT(anydma_iova(memory) == ANYDMA_BAD_IOVA);
}

static void the_heap_stays_ours(void)
{
    char *small = malloc(100), *large = malloc(16 * BYTES);
    EXPECT(is_in_arena(small) && is_in_arena(large));
    EXPECT(anydma_iova(small) == (uint64_t)small && anydma_iova(large) == (uint64_t)large);
    free(small);
    free(large);
}

int main(void)
{
    void *ucs = dlopen("libucs.so.0", RTLD_NOW | RTLD_GLOBAL), *ucm = dlopen("libucm.so.0", RTLD_NOW);
    shim_must_be_there();
    set_event_handler = ucm ? (__typeof__(set_event_handler))dlsym(ucm, "ucm_set_event_handler") : NULL;
    if (!ucs || !set_event_handler) {
        printf("UCX is not installed (libucx0)\n");
        return 77;
    }
    behaviour("its_hooks_go_in", its_hooks_go_in);
    behaviour("both_hear_of_the_programs_calls", both_hear_of_the_programs_calls);
    behaviour("the_heap_stays_ours", the_heap_stays_ours);
    return behaviours_end();
}
