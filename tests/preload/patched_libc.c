/* SPDX-License-Identifier: MIT */
/*
 * A registration cache in the same process: it writes jumps over the C library's own memory calls, to functions that tell
 * the cache and end in syscall(), as UCX and libfabric do. It hears of each of the program's calls once, the doors do
 * their work, and the heap takes no page away that the cache would not hear of.
 */
#include "jumps.h"

#include <dlfcn.h>
#include <malloc.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEAP_BYTES = 32 << 20 };

static void *in_libc(const char *name)
{
    void *at = dlsym(dlopen("libc.so.6", RTLD_NOW), name);
    EXPECT(at && at != dlsym(RTLD_DEFAULT, name)); /* not the shim's */
    return at;
}

static unsigned heard_since(void)
{
    unsigned nr = nr_heard;
    nr_heard = 0;
    return nr;
}

/* The first call of each is tried with another one. */
static void call_each(bool is_counted)
{
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED && is_in_arena(memory));
    EXPECT(!is_counted || heard_since() == 1);
    EXPECT(anydma_iova(memory) == (uint64_t)memory);
    memory[0] = 1;
    EXPECT(madvise(memory, PAGE, MADV_DONTNEED) == 0 && memory[0] == 0);
    EXPECT(!is_counted || heard_since() == 1);
    memory = mremap(memory, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    EXPECT(memory != MAP_FAILED && is_in_arena(memory));
    EXPECT(!is_counted || heard_since() == 1);
    EXPECT(munmap(memory, 64 * PAGE) == 0 && anydma_iova(memory) == ANYDMA_BAD_IOVA);
    EXPECT(!is_counted || heard_since() == 1);
    int id = shmget(IPC_PRIVATE, PAGE, 0600);
    void *shared = shmat(id, NULL, 0);
    EXPECT(shared != (void *)-1);
    EXPECT(!is_counted || heard_since() == 1);
    EXPECT(shmdt(shared) == 0);
    EXPECT(!is_counted || heard_since() == 1);
    shmctl(id, IPC_RMID, NULL);
}

static void each_call_is_heard_of_once(void)
{
    call_each(false);
    heard_since();
    call_each(true);
    EXPECT(deepest == 1);
}

static bool is_resident(const char *memory)
{
    unsigned char in_core = 0;
    return syscall(SYS_mincore, memory, PAGE, &in_core) == 0 && in_core & 1;
}

/* A cache that has registered heap memory goes on sending its device to these pages. */
static void the_heap_keeps_its_pages(void)
{
    char *memory = malloc(HEAP_BYTES);
    char *page = (char *)(((uintptr_t)memory + HEAP_BYTES / 2) & ~(uintptr_t)(PAGE - 1));
    EXPECT(is_in_arena(memory));
    memset(memory, 1, HEAP_BYTES);
    heard_since();
    free(memory);
    malloc_trim(0);
    EXPECT(heard_since() != 0 || is_resident(page));
    char *again = calloc(1, HEAP_BYTES);
    for (size_t at = 0; again && at < HEAP_BYTES; at += PAGE)
        EXPECT(again[at] == 0);
    free(again);
    EXPECT(deepest == 1);
}

/* Without such a cache the same pages go, and nobody is called. */
static void without_it_the_heap_gives_pages_back(void)
{
    char *memory = malloc(HEAP_BYTES);
    char *page = (char *)(((uintptr_t)memory + HEAP_BYTES / 2) & ~(uintptr_t)(PAGE - 1));
    memset(memory, 1, HEAP_BYTES);
    free(memory);
    malloc_trim(0);
    EXPECT(!is_resident(page));
}

/* What does not come back to the doors is left alone. */
static int lose_munmap(void *addr, size_t len)
{
    long result;
    nr_heard++;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_munmap), "D"(addr), "S"(len)
                     : "rcx", "r11", "memory");
    return (int)result;
}

static void what_would_pass_the_doors_by_is_not_called(void)
{
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(munmap(memory, 4 * PAGE) == 0);
    heard_since(); /* it was tried */
    memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(anydma_iova(memory) == (uint64_t)memory);
    EXPECT(munmap(memory, 4 * PAGE) == 0 && heard_since() == 0);
    EXPECT(anydma_iova(memory) == ANYDMA_BAD_IOVA);
}

/* In a process of its own: one can't be patched twice. */
static void one_that_is_lost_is_not_called(void)
{
    pid_t pid;
    int status = -1;
    char *const args[] = {"patched_libc", "lost", NULL};
    EXPECT(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ) == 0);
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int argc, char **argv)
{
    shim_must_be_there();
    behaviour("without_it_the_heap_gives_pages_back", without_it_the_heap_gives_pages_back);
    if (argc > 1) {
        write_jump(in_libc("munmap"), (uintptr_t)lose_munmap);
        behaviour("what_would_pass_the_doors_by_is_not_called", what_would_pass_the_doors_by_is_not_called);
        return behaviours_end();
    }
    behaviour("one_that_is_lost_is_not_called", one_that_is_lost_is_not_called);
    write_jumps(in_libc);
    behaviour("each_call_is_heard_of_once", each_call_is_heard_of_once);
    behaviour("the_heap_keeps_its_pages", the_heap_keeps_its_pages);
    return behaviours_end();
}
