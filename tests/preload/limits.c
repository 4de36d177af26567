/* SPDX-License-Identifier: MIT */
/*
 * A program that limits its own address space (RLIMIT_AS) or its data (RLIMIT_DATA) goes on with what it asked to be left
 * with: malloc, mappings, threads, the break and the stack's growth; and what it gives back can be had again.
 */
#include "expect.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
enum { RW = PROT_READ | PROT_WRITE, PLAIN = MAP_PRIVATE | MAP_ANONYMOUS };

static void *touch(void *at, size_t len)
{
    if (at != NULL && at != MAP_FAILED)
        memset(at, 1, len);
    return at;
}

static void *use_stack(void *arg)
{
    volatile char frame[64 * 1024];
    frame[0] = 1;
    return (uintptr_t)arg > 1 ? use_stack((void *)((uintptr_t)arg - 1)) : (void *)(uintptr_t)frame[0];
}

/* What fits into 256 MiB, many times over. */
static void use_memory(void)
{
    pthread_t threads[4];
    for (unsigned round = 0; round < 3; round++) {
        char *block = touch(malloc(100 * MIB), 100 * MIB), *pieces[40];
        EXPECT(block);
        free(block);
        char *at = touch(mmap(NULL, 100 * MIB, RW, PLAIN, -1, 0), 100 * MIB);
        EXPECT(at != MAP_FAILED && munmap(at, 100 * MIB) == 0);
        for (unsigned i = 0; i < 40; i++)
            EXPECT(pieces[i] = touch(malloc(2 * MIB + i), 2 * MIB));
        for (unsigned i = 0; i < 40; i++)
            free(pieces[i]);
        for (unsigned i = 0; i < 40; i++)
            EXPECT(pieces[i] = touch(malloc((i + 1) * 1000), 1000));
        for (unsigned i = 0; i < 40; i++)
            free(pieces[i]);
        for (unsigned i = 0; i < 4; i++)
            EXPECT(pthread_create(&threads[i], NULL, use_stack, (void *)16) == 0);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    EXPECT(sbrk(4096) != (void *)-1);
    EXPECT(use_stack((void *)64) != NULL);
}

static int by_setrlimit(int resource, const struct rlimit *limit)
{
    return setrlimit(resource, limit);
}

static int by_prlimit(int resource, const struct rlimit *limit)
{
    return prlimit(0, resource, limit, NULL);
}

static int by_syscall(int resource, const struct rlimit *limit)
{
    return (int)syscall(SYS_prlimit64, 0, resource, limit, NULL);
}

/* In a process of its own. */
static void limited(int resource, size_t bytes, int (*set)(int, const struct rlimit *))
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {bytes, bytes};
        free(touch(malloc(300 * MIB), 300 * MIB)); /* it had more before */
        malloc_trim(0);
        EXPECT(set(resource, &limit) == 0);
        use_memory();
        _exit(expect_failed != 0);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static void address_space(void)
{
    limited(RLIMIT_AS, 512 * MIB, by_setrlimit);
    limited(RLIMIT_AS, 4096 * MIB, by_prlimit);
    limited(RLIMIT_AS, 320 * MIB, by_syscall);
}

static void data(void)
{
    limited(RLIMIT_DATA, 320 * MIB, by_setrlimit);
    limited(RLIMIT_DATA, 512 * MIB, by_prlimit);
}

/* What is refused is refused as ever, and something smaller is to be had. */
static void fill_up(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {400 * MIB, 400 * MIB};
        EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
        EXPECT(!malloc(1000 * MIB) && errno == ENOMEM);
        EXPECT(mmap(NULL, 1000 * MIB, RW, PLAIN, -1, 0) == MAP_FAILED && errno == ENOMEM);
        use_memory();
        _exit(expect_failed != 0);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static size_t address_space_in_use(void)
{
    size_t pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm || fscanf(statm, "%zu", &pages) != 1)
        pages = SIZE_MAX / 4096;
    if (statm)
        fclose(statm);
    return pages * 4096;
}

static void nothing_is_reserved(void)
{
    EXPECT(address_space_in_use() < 100 * MIB);
}

int main(void)
{
    shim_must_be_there();
    behaviour("no_address_space_is_reserved", nothing_is_reserved);
    behaviour("a_program_that_limits_its_address_space_goes_on", address_space);
    behaviour("a_program_that_limits_its_data_goes_on", data);
    behaviour("what_exceeds_the_limit_is_refused_and_no_more", fill_up);
    return behaviours_end();
}
