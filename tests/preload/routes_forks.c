/* SPDX-License-Identifier: MIT */
/*
 * While the device writes to the parent's memory, children unmap, purge, free, exit and execute: no write is
 * lost, the memory stays what the device reaches, and no child makes a single call on the parent's IOMMU.
 */
#include "device.h"
#include "expect.h"
#include "judge.h"
#include "ways.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

enum { BYTES = 64 * 4096, ROUNDS = 8 };

extern char **environ;

static unsigned char *heap, *mapping, *hidden; /* looked up, each with its neighbour in its first page */

static void take_apart(void)
{
    unsigned char *fresh;
    madvise(mapping, BYTES, MADV_DONTNEED);
    munmap(mapping, BYTES);
    munmap(hidden, BYTES);
    free(heap);
    fresh = malloc(BYTES); /* its heap works */
    memset(fresh, 3, BYTES);
    free(fresh);
    _exit(anydma_iova(&fresh) == ANYDMA_BAD_IOVA ? 0 : 1);
}

static void exit_at_once(void)
{
    exit(0);
}

static void execute(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void close_everything(void)
{
    close_range(3, ~0u, 0);
    take_apart();
}

static bool ends_well(pid_t child)
{
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static bool is_judged_kept(unsigned char *at)
{
    at += 32 * 4096;
    return judge(at, anydma_iova(at)).verdict == KEPT;
}

/* `how` has made a child that has run to its end. */
static void beside(unsigned char *neighbour_at, bool (*how)(void))
{
    neighbour_start(neighbour_at);
    for (int i = 0; i < ROUNDS; i++)
        EXPECT(how());
    if (!EXPECT(neighbour_stop()))
        puts("LOST: writes of the device to the parent");
    EXPECT(is_judged_kept(heap) && is_judged_kept(mapping) && is_judged_kept(hidden));
    if (!EXPECT(atomic_load(device.calls_by_others) == 0))
        puts("LOST: a child called the parent's IOMMU");
}

static void (*in_child)(void);

static bool by_fork(void)
{
    pid_t child = fork();
    if (child == 0)
        in_child();
    return ends_well(child);
}

static bool by_clone(void)
{
    pid_t child = (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    if (child == 0)
        in_child();
    return ends_well(child);
}

static bool by_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    return ends_well(child);
}

static bool by_spawn(void)
{
    pid_t child;
    char *argv[] = {(char[]){"true"}, NULL};
    return posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) == 0 && ends_well(child);
}

static void forked_children(void)
{
    void (*const ways_to_go[])(void) = {take_apart, exit_at_once, execute, close_everything};
    unsigned char *const neighbours[] = {heap, mapping, hidden, heap};
    for (size_t i = 0; i < sizeof(ways_to_go) / sizeof(ways_to_go[0]); i++) {
        in_child = ways_to_go[i];
        beside(neighbours[i], by_fork);
    }
}

static void cloned_children(void)
{
    in_child = take_apart;
    beside(mapping, by_clone);
}

static void vforked_children(void)
{
    beside(heap, by_vfork);
}

static void spawned_children(void)
{
    beside(hidden, by_spawn);
}

int main(void)
{
    struct anydma_segment segment;
    device_start();
    shim_must_be_there();
    heap = aligned_alloc(4096, BYTES);
    mapping = mmap(NULL, BYTES, WAY_RW, WAY_PLAIN, -1, 0);
    hidden = by_instruction.map(NULL, BYTES, WAY_RW, WAY_PLAIN, -1);
    memset(hidden, 1, BYTES);
    if (anydma_segments(heap, BYTES, &segment, 1) < 1 || anydma_segments(mapping, BYTES, &segment, 1) < 1 ||
        anydma_segments(hidden, BYTES, &segment, 1) < 1)
        return 1;
    behaviour("forked_children_take_nothing_from_the_parent", forked_children);
    behaviour("children_of_a_raw_clone_take_nothing_from_the_parent", cloned_children);
    behaviour("children_of_vfork_take_nothing_from_the_parent", vforked_children);
    behaviour("spawned_programs_take_nothing_from_the_parent", spawned_children);
    return behaviours_end();
}
