/* SPDX-License-Identifier: MIT */
/* A program that writes jumps over libc's memory calls, as UCX and other registration caches do: its own
 * functions end in syscall(), and everything works as before. */
#include "jumps.h"

#include <dlfcn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *door(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

static void each_call_reaches_its_door_once(void)
{
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED && is_in_arena(memory));
    EXPECT(anydma_iova(memory) == (uint64_t)memory);
    memory[0] = 1;
    EXPECT(madvise(memory, PAGE, MADV_DONTNEED) == 0 && memory[0] == 0);
    memory = mremap(memory, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    EXPECT(memory != MAP_FAILED && is_in_arena(memory));
    EXPECT(munmap(memory, 64 * PAGE) == 0);
    EXPECT(anydma_iova(memory) == ANYDMA_BAD_IOVA);
    int id = shmget(IPC_PRIVATE, PAGE, 0600);
    void *shared = shmat(id, NULL, 0);
    EXPECT(shared != (void *)-1 && shmdt(shared) == 0);
    shmctl(id, IPC_RMID, NULL);
    EXPECT(nr_heard == 6 && deepest == 1);
}

static void the_heap_works(void)
{
    char *memory = malloc(64 << 20);
    EXPECT(memory && is_in_arena(memory));
    memset(memory, 1, 64 << 20);
    EXPECT(anydma_iova(memory) == (uint64_t)memory);
    free(memory);
    EXPECT(deepest == 1);
}

int main(void)
{
    shim_must_be_there();
    write_jumps(door);
    behaviour("a_call_that_was_written_over_reaches_its_door_once", each_call_reaches_its_door_once);
    behaviour("the_heap_works_as_before", the_heap_works);
    return behaviours_end();
}
