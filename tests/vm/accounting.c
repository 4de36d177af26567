/* SPDX-License-Identifier: MIT */
/*
 * The kernel's count of pinned memory (VmLck, with iommufd VmPin) equals the shim's own after every step of a
 * program's life: the two would part if a registration were lost, made twice, or undone in part. As root, and as a normal user
 * with a memlock limit: there a lookup beyond the limit says ENOMEM and the program lives. Runs in the VM:
 * accounting BDF-of-edu
 * @vm-accounting anydma run -- accounting $EDU_BDF
 * @vm-accounting vm-user 65536 anydma run -- accounting $EDU_BDF
 */
#include "check.h"
#include "vfio_device.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { KIB = 1 << 10, MIB = 1 << 20, PAGE = 4096, NR_SMALL = 400 };

/* Where the application maps memory by itself: IOVAs that the shim has no reason to use. */
#define APP_IOVA 0x10000000ull

/* A step that must pin: the shim's count can't be right by being 0 all the time. */
static void look_up_all(const char *step, void *at, size_t bytes)
{
    uint64_t iova;
    int rc = at ? anydma_iova_range(at, bytes, &iova) : -ENOMEM;
    if (rc < 0)
        check(false, "%s: anydma_iova_range: %s", step, strerror(-rc));
    else if (stats_now().pinned < bytes)
        check(false, "%s: %lu bytes pinned, fewer than were looked up", step,
              (unsigned long)stats_now().pinned);
    check_accounts(step);
}

static void *map_anonymous(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void walk_through_the_heap(void)
{
    static void *small[NR_SMALL];

    look_up_all("look up malloc(100)", malloc(100), 100);
    for (size_t i = 0; i < NR_SMALL; i++) {
        small[i] = malloc(100 * (i + 1));
        if (anydma_iova(small[i]) == ANYDMA_BAD_IOVA)
            check(false, "looking up malloc(%zu): %s", 100 * (i + 1), strerror(errno));
    }
    check_accounts("look up 400 allocations");
    char *large = malloc(5 * MIB);
    look_up_all("look up malloc(5 MiB)", large, 5 * MIB);
    large = realloc(large, 11 * MIB);
    look_up_all("grow it to 11 MiB", large, 11 * MIB);
    large = realloc(large, 3 * MIB);
    check_accounts("shrink it to 3 MiB");
    for (size_t i = 0; i < NR_SMALL; i += 2)
        free(small[i]);
    check_accounts("free every other allocation");
    free(large);
    check_accounts("free the large one");
    malloc_trim(0);
    check_accounts("malloc_trim");
    for (size_t i = 1; i < NR_SMALL; i += 2)
        free(small[i]);
    malloc_trim(0);
    check_accounts("free the rest, malloc_trim");
}

static void walk_through_mappings(void)
{
    char *map = map_anonymous(8 * MIB), *page = map_anonymous(PAGE);

    look_up_all("look up mmap(8 MiB)", map, 8 * MIB);
    look_up_all("look up mmap(4 KiB)", page, PAGE);
    munmap(map + 3 * MIB, 64 * KIB);
    check_accounts("munmap 64 KiB inside the first");
    madvise(map, MIB, MADV_DONTNEED);
    check_accounts("madvise DONTNEED");
    munmap(map, 8 * MIB);
    check_accounts("munmap all of it");
    munmap(page, PAGE);
    check_accounts("munmap the page");
}

static void walk_through_pins(void)
{
    void *volatile held = malloc(3 * MIB); /* volatile: the compiler rightly warns of what is meant here */
    check(anydma_pin(held, 3 * MIB) == 0, "anydma_pin(3 MiB)");
    check_accounts("pin");
    free(held);
    malloc_trim(0);
    check_accounts("free what is pinned, malloc_trim");
    check(anydma_unpin(held, 3 * MIB) == 0, "anydma_unpin");
    malloc_trim(0);
    check_accounts("unpin, malloc_trim");
}

/* The application's own mappings are its own, and counted beside ours. */
static void walk_through_own_mappings(const struct vfio_device *dev)
{
    static _Alignas(PAGE) char global[64 * KIB];
    uint64_t unmapped;

    check(vfio_device_map(dev, APP_IOVA, global, sizeof(global)) == 0, "the application maps 64 KiB itself");
    check_accounts("the application's mapping");
    check(stats_now().app_pinned == sizeof(global), "anydma_stats counts them as the application's");
    check(vfio_device_unmap(dev, APP_IOVA, sizeof(global), &unmapped) == 0 && unmapped == sizeof(global),
          "it unmaps them: %llu bytes", (unsigned long long)unmapped);
    check_accounts("the application's unmapping");
}

/* As a normal user: what does not fit is refused with the reason, what is registered stays, smaller things
 * still work. */
static void walk_into_the_limit(void)
{
    struct rlimit limit;
    if (geteuid() == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) {
        printf("     (no memlock limit for this user: the steps beyond it are left out)\n");
        return;
    }
    uint64_t iova;
    size_t bytes = limit.rlim_cur + 4 * MIB;
    char *too_much = malloc(bytes), *before = malloc(1000);
    check(stats_now().memlock_limit == limit.rlim_cur, "anydma_stats knows the limit, %lu KiB",
          (unsigned long)limit.rlim_cur >> 10);
    look_up_all("look up malloc(1000)", before, 1000);
    int rc = anydma_iova_range(too_much, bytes, &iova);
    check(rc == -ENOMEM, "a lookup of more than the limit says ENOMEM (%s)",
          rc < 0 ? strerror(-rc) : "success");
    check_accounts("after the refusal");
    memset(too_much, 1, bytes);
    check(too_much[bytes - 1] == 1, "the memory itself is as good as ever");
    free(too_much);
    malloc_trim(0);
    check_accounts("free what was refused");
    check(anydma_iova(before) != ANYDMA_BAD_IOVA, "what was registered before still is");
    free(before);
    look_up_all("look up malloc(1 MiB)", malloc(MIB), MIB);
}

/* A process that just exits, with all of it registered, leaves the device and the limit free for the next
 * one. */
static void exit_with_everything_registered(const char *bdf)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        struct vfio_device dev;
        uint64_t iova;
        if (vfio_device_open(&dev, bdf) < 0)
            _exit(1);
        char *buf = malloc(6 * MIB);
        bool done = anydma_iova_range(buf, 6 * MIB, &iova) == 0 && vm_locked_bytes() == stats_now().pinned;
        exit(done && stats_now().pinned >= 6 * MIB ? 0 : 2);
    }
    waitpid(pid, &status, 0);
    check(status == 0, "a forked child opens the device itself, registers 6 MiB and exits (status %#x)",
          status);
    check_accounts("after its exit");
}

int main(int argc, char **argv)
{
    struct vfio_device dev;
    if (argc < 2)
        return 2;
    check_shim_is_there();
    check_accounts("at start");
    char *early = malloc(MIB);
    anydma_iova(early); /* owed until there is a device */
    check_accounts("look up before a device is attached");
    for (int round = 1; round <= 2; round++) {
        if (vfio_device_open(&dev, argv[1]) < 0)
            return 1;
        printf("     round %d: uid %d, a device is attached\n", round, (int)geteuid());
        check_accounts("device attached");
        walk_through_the_heap();
        walk_through_mappings();
        walk_through_pins();
        walk_through_own_mappings(&dev);
        walk_into_the_limit();
        vfio_device_close(&dev);
        check_accounts("container closed");
        check(vm_locked_bytes() == 0, "nothing is locked any more");
        exit_with_everything_registered(argv[1]);
    }
    free(early);
    return check_end("accounting");
}
