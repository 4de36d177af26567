/* SPDX-License-Identifier: MIT */
/* Calls that take pages out of a file: what is registered of its mappings there answers no more, and nothing else. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attached.h"
#include "dma/counts.h"
#include "dma/registry.h"
#include "memory/files.h"
#include "memory/owners.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

enum { NR = 8, PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

static int fd;
static char *at;

static char *map_file(int file)
{
    char *mapping = mmap(NULL, NR * PAGE, RW, MAP_SHARED, file, 0);
    cr_assert_neq(mapping, MAP_FAILED);
    return mapping;
}

static int new_file(void)
{
    int file = memfd_create("files_test", MFD_CLOEXEC);
    cr_assert_geq(file, 0);
    cr_assert_eq(ftruncate(file, NR * PAGE), 0);
    return file;
}

static void start(void)
{
    start_unattached(&owners_memory_ops);
    config.foreign = FOREIGN_TRUST;
    attach_sim();
    fd = new_file();
    at = map_file(fd);
    memset(at, 1, NR * PAGE);
}

static int look_up(const char *address, size_t len)
{
    uint64_t iova;
    size_t run_len;
    return registry_lookup((uintptr_t)address, len, &iova, &run_len);
}

static intptr_t punch(int file, uint64_t from, uint64_t len)
{
    struct files_call call = {file, from, from + len, SYS_fallocate, {file, PUNCH, (long)from, (long)len}};
    return files_make(&call);
}

Test(files, a_hole_takes_its_own_pages_only, .init = start)
{
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    cr_assert_eq(punch(fd, PAGE, 2 * PAGE), 0);
    cr_expect_eq(look_up(at, PAGE), 0);
    cr_expect_eq(look_up(at + PAGE, 1), -ESTALE);
    cr_expect_eq(look_up(at + 2 * PAGE, 1), -ESTALE);
    cr_expect_eq(look_up(at + 3 * PAGE, PAGE), 0);
}

Test(files, a_file_that_is_cut_takes_all_behind_the_end, .init = start)
{
    struct files_call call = {fd, PAGE, UINT64_MAX, SYS_ftruncate, {fd, PAGE}};
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    cr_assert_eq(files_make(&call), 0);
    cr_expect_eq(look_up(at, 1), 0);
    cr_expect_eq(look_up(at + PAGE, 1), -ESTALE);
}

Test(files, when_nothing_is_left_it_is_registered_no_more, .init = start)
{
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    cr_assert_eq(punch(fd, 0, NR * PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->pinned, 0);
}

Test(files, every_mapping_of_the_file_is_found, .init = start)
{
    char *other = map_file(fd);
    cr_assert_eq(look_up(at, PAGE), 0);
    cr_assert_eq(look_up(other, NR * PAGE), 0);
    cr_assert_eq(punch(fd, 0, PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->pinned, NR * PAGE);
    cr_expect_eq(look_up(other, 1), -ESTALE);
    cr_expect_eq(look_up(other + PAGE, 1), 0);
}

Test(files, another_file_is_left_alone, .init = start)
{
    int another = new_file();
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    cr_assert_eq(punch(another, 0, NR * PAGE), 0);
    cr_expect_eq(look_up(at, NR * PAGE), 0);
    cr_expect_eq(counts_of(COUNTS_OURS)->unmaps, 0);
}

Test(files, a_call_that_the_kernel_refuses_takes_nothing, .init = start)
{
    cr_assert_eq(look_up(at, NR * PAGE), 0);
    struct files_call call = {fd, 0, NR * PAGE, SYS_fallocate, {fd, PUNCH, 0, 0}};
    cr_assert_eq(files_make(&call), -EINVAL);
    cr_expect_eq(look_up(at, NR * PAGE), 0);
}

Test(files, removed_by_one_mapping_it_is_gone_from_the_other, .init = start)
{
    char *other = map_file(fd);
    cr_assert_eq(look_up(other, NR * PAGE), 0);
    cr_assert_eq(files_remove((uintptr_t)at + PAGE, PAGE), 0);
    cr_expect_eq(look_up(other, 1), 0);
    cr_expect_eq(look_up(other + PAGE, 1), -ESTALE);
}

Test(files, without_trust_the_call_goes_to_the_kernel, .init = start)
{
    config.foreign = FOREIGN_WATCH;
    cr_expect_eq(punch(fd, 0, PAGE), 0);
    cr_expect_eq(at[0], 0);
    cr_expect_eq(at[PAGE], 1);
    cr_expect_eq(punch(-1, 0, PAGE), -EBADF);
}
