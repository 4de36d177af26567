/* SPDX-License-Identifier: MIT */
/*
 * mlockall locks what is mapped and what will be, but not the arena's reservation: as root, as a normal user
 * within and beyond the memlock limit, before and after memory is registered. Errors are the kernel's.
 */
#include "../proc.h"
#include "expect.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    USER_LIMIT = 512 * MIB,
    RW = PROT_READ | PROT_WRITE,
    ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS
};

static size_t status_kib(const char *name)
{
    return proc_bytes("/proc/self/status", name) >> 10;
}

static size_t locked_kib(void)
{
    return status_kib("VmLck");
}

/* Runs `look` in a child, as a normal user if this is root, with that memlock limit. */
static void as_user(size_t memlock_bytes, void (*look)(void))
{
    pid_t child = fork();
    int status = -1;
    if (child == 0) {
        struct rlimit limit = {memlock_bytes, memlock_bytes};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (getuid() == 0 && setresuid(65534, 65534, 65534) != 0))
            _exit(2);
        expect_failed = 0;
        look();
        _exit(expect_failed != 0);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static void wrong_flags(void)
{
    EXPECT(mlockall(0) == -1 && errno == EINVAL);
    EXPECT(mlockall(64 | MCL_CURRENT) == -1 && errno == EINVAL);
    EXPECT(mlockall(MCL_ONFAULT) == -1 && errno == EINVAL);
}

static void life_with_everything_locked(void)
{
    uint64_t iova;
    char *before = malloc(3 * MIB), *mapping = mmap(NULL, 5 * MIB, RW, ANONYMOUS, -1, 0);
    EXPECT(anydma_iova(before) == (uintptr_t)before);
    memset(before, 3, 3 * MIB);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        EXPECT(errno == ENOMEM || errno == EPERM); /* not root */
        return;
    }
    size_t locked = locked_kib();
    EXPECT(locked > 8 * KIB && locked < 512 * KIB);
    EXPECT(before[3 * MIB - 1] == 3 && mapping[5 * MIB - 1] == 0);
    EXPECT(anydma_iova_range(mapping, 5 * MIB, &iova) == 0);
    for (int round = 0; round < 20; round++) {
        char *block = calloc(1, (size_t)round * MIB + 1), *map = mmap(NULL, 3 * MIB, RW, ANONYMOUS, -1, 0);
        EXPECT(block && map != MAP_FAILED && block[(size_t)round * MIB] == 0 && map[3 * MIB - 1] == 0);
        EXPECT(anydma_iova_range(block, (size_t)round * MIB + 1, &iova) == 0);
        EXPECT(munmap(map, 2 * MIB) == 0 && munmap(map + 2 * MIB, MIB) == 0);
        free(block);
    }
    EXPECT(locked_kib() < 512 * KIB);
    EXPECT(munlockall() == 0 && locked_kib() == 0);
    EXPECT(munmap(mapping, 5 * MIB) == 0);
    free(before);
}

static void beyond_the_limit(void)
{
    EXPECT(mlockall(MCL_CURRENT) == -1 && errno == ENOMEM);
    EXPECT(mlockall(MCL_FUTURE) == 0);
    EXPECT(mmap(NULL, 8 * MIB, RW, ANONYMOUS, -1, 0) == MAP_FAILED && errno == EAGAIN);
    EXPECT(munlockall() == 0);
    char *mapping = mmap(NULL, 8 * MIB, RW, ANONYMOUS, -1, 0), *block = malloc(20 * MIB);
    EXPECT(mapping != MAP_FAILED && block != NULL);
    memset(block, 1, 20 * MIB);
    free(block);
}

static void no_limit_at_all(void)
{
    EXPECT(mlockall(MCL_CURRENT) == -1 && errno == EPERM);
    EXPECT(mlockall(MCL_FUTURE) == -1 && errno == EPERM);
    free(malloc(MIB));
}

static void within_the_limit(void)
{
    EXPECT(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    char *mapping = mmap(NULL, 8 * MIB, RW, ANONYMOUS, -1, 0), *block = malloc(20 * MIB);
    EXPECT(mapping != MAP_FAILED && block != NULL && locked_kib() < 512 * KIB);
}

static void current_alone(void)
{
    size_t resident = status_kib("VmRSS");
    if (!EXPECT(mlockall(MCL_CURRENT) == 0)) /* the tables would not fit in */
        return;
    EXPECT(locked_kib() > KIB && locked_kib() < 8 * KIB);
    EXPECT(status_kib("VmRSS") < resident + 8 * KIB); /* nor were they filled */
    EXPECT(mlockall(MCL_FUTURE) == 0 && mlockall(MCL_CURRENT) == 0);
    size_t before = locked_kib();
    char *mapping = mmap(NULL, 4 * MIB, RW, ANONYMOUS, -1, 0);
    EXPECT(mapping != MAP_FAILED && locked_kib() == before); /* the second call has ended MCL_FUTURE */
    EXPECT(before > KIB && before < 8 * KIB);
}

static void user_within_few_mib(void)
{
    as_user(8 * MIB, current_alone);
}

static void user_beyond_the_limit(void)
{
    as_user(64 * KIB, beyond_the_limit);
}

static void user_without_any(void)
{
    as_user(0, no_limit_at_all);
}

static void user_within_the_limit(void)
{
    as_user(USER_LIMIT, within_the_limit);
}

int main(void)
{
    shim_must_be_there();
    behaviour("flags_are_judged_as_by_the_kernel", wrong_flags);
    behaviour("user_within_8_mib_locks_the_program_but_no_tables", user_within_few_mib);
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        limit.rlim_max >= USER_LIMIT) /* in the VM it is: overcommit.sh */
        behaviour("user_within_the_limit_locks_all_but_the_reservation", user_within_the_limit);
    behaviour("user_beyond_the_limit_gets_enomem_and_lives_on", user_beyond_the_limit);
    behaviour("user_without_any_limit_gets_eperm", user_without_any);
    behaviour("locked_program_allocates_maps_and_registers", life_with_everything_locked);
    return behaviours_end();
}
