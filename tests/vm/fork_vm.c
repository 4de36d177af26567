/* SPDX-License-Identifier: MIT */
/*
 * The parent's DMA still lands, whatever its children do with the memory and the descriptors that they
 * inherited; the children own nothing of the IOMMU, and their heaps work. Runs in the VM: fork_vm BDF-of-edu
 * Every child has its own kind of exit; between and beside them the parent lets the device write and looks.
 * @vm-fork anydma run -- fork_vm $EDU_BDF
 */
#include "check.h"
#include "edu.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGE = 4096, MIB = 1 << 20, NR_TARGETS = 3, PIECE = 256 };

extern char **environ;

static struct vfio_device dev;
static const char self[] = "/proc/self/exe";

/* What the device writes to: a small and a large allocation, and a mapping; registered before the first fork.
 */
static unsigned char *targets[NR_TARGETS];
static const size_t target_bytes[NR_TARGETS] = {3000, 3 * MIB, 16 * PAGE};
static unsigned char *source;

static void *map_anonymous(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* RAM to device to RAM: what the parent's CPU wrote is what the device reads, and the other way round. */
static bool dma_lands(void)
{
    static unsigned seed;
    uint64_t from, to;
    for (int i = 0; i < NR_TARGETS; i++) {
        unsigned char *at = targets[i] + target_bytes[i] / 2;
        fill_pattern(source, PIECE, ++seed);
        memset(at, 0, PIECE);
        if (anydma_iova_range(source, PIECE, &from) < 0 || anydma_iova_range(at, PIECE, &to) < 0)
            return false;
        if (edu_load(&dev, from, 0, PIECE) < 0 || edu_store(&dev, to, 0, PIECE) < 0 ||
            memcmp(at, source, PIECE) != 0)
            return false;
    }
    return true;
}

/* What a child says of itself by its exit status: 0, or these added up. */
enum { LOOKUP_ANSWERED = 1, SEES_STATE = 2, LOCKED_MEMORY = 4, HEAP_BROKEN = 8, SHIM_MISSING = 16 };

/* A lookup must say ENODEV, even of heap memory: the device that the child inherited would go to the parent's
 * page. */
static int child_sees_nothing(void)
{
    struct anydma_stats stats;
    uint64_t iova;
    int wrong = 0;
    for (int i = 0; i < NR_TARGETS; i++) {
        errno = 0;
        if (anydma_iova(targets[i]) != ANYDMA_BAD_IOVA || errno != ENODEV)
            wrong |= LOOKUP_ANSWERED;
        if (anydma_iova_range(targets[i], PIECE, &iova) != -ENODEV)
            wrong |= LOOKUP_ANSWERED;
    }
    if (anydma_stats(&stats, sizeof(stats)) < 0 || stats.containers || stats.pinned || stats.registrations)
        wrong |= SEES_STATE;
    return vm_locked_bytes() == 0 ? wrong : wrong | LOCKED_MEMORY;
}

static int child_heap_works(void)
{
    for (int round = 0; round < 200; round++) {
        size_t bytes = (size_t)(round * 977 % 70000) + 1;
        unsigned char *a = malloc(bytes), *b = calloc(1, 2 * bytes);
        if (!a || !b || b[2 * bytes - 1] != 0)
            return HEAP_BROKEN;
        memset(a, round, bytes);
        a = realloc(a, 3 * bytes);
        if (!a || a[bytes - 1] != (unsigned char)round)
            return HEAP_BROKEN;
        free(a);
        free(b);
    }
    return 0;
}

static const char *meaning(int status)
{
    static char text[256];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    snprintf(text, sizeof(text), "status %#x%s%s%s%s%s", (unsigned)status,
             code & LOOKUP_ANSWERED ? ", a lookup did not say ENODEV" : "",
             code & SEES_STATE ? ", its anydma_stats show containers or registrations" : "",
             code & LOCKED_MEMORY ? ", it has locked memory" : "",
             code & HEAP_BROKEN ? ", its heap does not work" : "",
             code & SHIM_MISSING ? ", the shim is missing or shows state" : "");
    return text;
}

static void child_frees_everything(void)
{
    memset(targets[1], 0xee, target_bytes[1]); /* into copies of the child's own */
    free(targets[0]);
    free(targets[1]);
    munmap(targets[2], target_bytes[2]);
    free(source);
    malloc_trim(0);
}

enum exit_kind { FREES_AND_EXITS, CLOSES_AND_EXITS, CLOSES_RANGE_AND_QUITS, WRITES_AND_DIES };

static _Noreturn void be_a_child(enum exit_kind kind)
{
    int status = child_sees_nothing() | child_heap_works();
    if (kind != WRITES_AND_DIES)
        child_frees_everything();
    status |= child_heap_works();
    if (kind == CLOSES_AND_EXITS)
        vfio_device_close(&dev);
    if (kind == CLOSES_RANGE_AND_QUITS)
        syscall(SYS_close_range, 3, ~0u, 0);
    if (kind == WRITES_AND_DIES && status == 0) {
        for (int i = 0; i < NR_TARGETS; i++)
            memset(targets[i], 0xee, target_bytes[i]);
        kill(getpid(), 9);
    }
    if (kind == CLOSES_RANGE_AND_QUITS)
        _exit(status);
    exit(status);
}

static void check_fork(const char *what, enum exit_kind kind)
{
    int status, writes = 0, landed = 0;
    pid_t pid = fork();
    if (pid == 0)
        be_a_child(kind);
    do {
        writes++;
        landed += dma_lands();
    } while (waitpid(pid, &status, WNOHANG) == 0);
    writes++;
    landed += dma_lands();
    int expected = kind == WRITES_AND_DIES ? 9 : 0;
    check(status == expected, "fork, child %s: %s", what, meaning(status));
    check(writes == landed, "  beside it and after it: %d of %d rounds of DMA landed", landed, writes);
}

/* As python's subprocess does: the child shares our memory, closes every descriptor of its own, and executes.
 */
static void check_vfork_exec(void)
{
    int status = -1;
    volatile int container_fd = dev.container_fd;
    pid_t pid = vfork();
    if (pid == 0) {
        close(container_fd);
        dup2(1, container_fd);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    check(status == 0, "vfork, the child closes every descriptor and executes: %s", meaning(status));
    check(dma_lands(), "  the parent's DMA lands");
}

static void check_spawn(void)
{
    int status = -1;
    char *args[] = {(char *)(uintptr_t)self, (char *)(uintptr_t) "child", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, dev.container_fd);
    int rc = posix_spawn(&pid, self, &actions, NULL, args, environ);
    if (rc == 0)
        waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&actions);
    check(rc == 0 && status == 0, "posix_spawn of this program, shim and all: %s", meaning(status));
    check(dma_lands(), "  the parent's DMA lands");
}

static atomic_bool stop;

static void *allocate_all_the_time(void *arg)
{
    while (!atomic_load(&stop)) {
        void *a = malloc(50), *b = malloc(300000);
        anydma_iova(a);
        free(a);
        free(b);
    }
    return arg;
}

/* A fork in the middle of other threads' allocations and lookups: no lock may stay taken in the child. */
static void check_fork_beside_threads(void)
{
    pthread_t threads[2];
    int failed = 0, status, worst = 0;

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, allocate_all_the_time, NULL);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            _exit(child_heap_works() | child_sees_nothing());
        }
        waitpid(pid, &status, 0);
        failed += status != 0;
        worst |= status;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    check(failed == 0, "20 forks beside two busy threads: %d children failed (last status %#x)", failed,
          status);
    check(dma_lands(), "  the parent's DMA lands");
}

/* The spawned program: nothing is inherited by it. */
static int be_spawned(void)
{
    void *buf = malloc(5000);
    struct anydma_stats stats = {0};
    bool good = anydma_active() && anydma_stats(&stats, sizeof(stats)) == 0 && stats.pinned == 0 &&
                stats.containers == 0;
    free(buf);
    return (good ? 0 : SHIM_MISSING) | child_heap_works();
}

int main(int argc, char **argv)
{
    unsigned faults = dmar_faults();
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return be_spawned();
    if (argc < 2 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 1;
    check_shim_is_there();
    targets[0] = malloc(target_bytes[0]);
    targets[1] = malloc(target_bytes[1]);
    targets[2] = map_anonymous(target_bytes[2]);
    source = malloc(PIECE);
    check(dma_lands(), "DMA lands before the first fork");
    uint64_t locked = vm_locked_bytes();

    check_fork("frees and unmaps everything, exits", FREES_AND_EXITS);
    check_fork("closes the VFIO descriptors, exits", CLOSES_AND_EXITS);
    check_fork("closes all descriptors, _exits", CLOSES_RANGE_AND_QUITS);
    check_fork("overwrites the memory, is killed", WRITES_AND_DIES);
    check_vfork_exec();
    check_spawn();
    check(vm_locked_bytes() >= locked, "nothing was unpinned by them: %lu KiB then, %lu KiB now",
          (unsigned long)locked >> 10, (unsigned long)vm_locked_bytes() >> 10);
    check_fork_beside_threads();
    check(dmar_faults() == faults, "no DMA fault");
    vfio_device_close(&dev);
    return check_end("fork_vm");
}
