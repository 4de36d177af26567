/* SPDX-License-Identifier: MIT */
/* A program that writes jumps over libc's memory calls, as UCX and other registration caches do: its own
 * functions end in syscall(), and everything works as before. */
#include "expect.h"

#include <dlfcn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, JUMP_BYTES = 13 };
static unsigned nr_calls, depth, deepest;

static long enter(long number, long a, long b, long c, long d, long e, long f)
{
    nr_calls++;
    deepest = ++depth > deepest ? depth : deepest;
    long result = depth > 8 ? -1 : syscall(number, a, b, c, d, e, f); /* it would never end */
    depth--;
    return result;
}

static void *own_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return (void *)enter(SYS_mmap, (long)addr, (long)len, prot, flags, fd, offset);
}

static int own_munmap(void *addr, size_t len)
{
    return (int)enter(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);
}

static int own_madvise(void *addr, size_t len, int advice)
{
    return (int)enter(SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0);
}

static void *own_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)enter(SYS_mremap, (long)old, (long)old_len, (long)new_len, flags, (long)to, 0);
}

static void *own_shmat(int id, const void *addr, int flags)
{
    return (void *)enter(SYS_shmat, id, (long)addr, flags, 0, 0, 0);
}

static int own_shmdt(const void *addr)
{
    return (int)enter(SYS_shmdt, (long)addr, 0, 0, 0, 0, 0);
}

/* movabs $to, %r11; jmp *%r11 */
static void write_jump(const char *name, uintptr_t to)
{
    unsigned char jump[JUMP_BYTES] = {0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3};
    unsigned char *at = dlsym(RTLD_DEFAULT, name);
    uintptr_t page = (uintptr_t)at & ~(uintptr_t)(PAGE - 1);
    memcpy(jump + 2, &to, sizeof(to));
    EXPECT(at && syscall(SYS_mprotect, page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    memcpy(at, jump, sizeof(jump));
    EXPECT(syscall(SYS_mprotect, page, 2 * PAGE, PROT_READ | PROT_EXEC) == 0);
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
    EXPECT(nr_calls == 6 && deepest == 1);
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
    write_jump("mmap", (uintptr_t)own_mmap);
    write_jump("munmap", (uintptr_t)own_munmap);
    write_jump("madvise", (uintptr_t)own_madvise);
    write_jump("mremap", (uintptr_t)own_mremap);
    write_jump("shmat", (uintptr_t)own_shmat);
    write_jump("shmdt", (uintptr_t)own_shmdt);
    behaviour("a_call_that_was_written_over_reaches_its_door_once", each_call_reaches_its_door_once);
    behaviour("the_heap_works_as_before", the_heap_works);
    return behaviours_end();
}
