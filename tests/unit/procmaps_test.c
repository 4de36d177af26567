/* SPDX-License-Identifier: MIT */
/* /proc/self/maps as the shim reads it: each mapping once, with what it is, also across the pieces that it is read in. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/procmaps.h"

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)
enum { ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

static char *map(size_t nr_pages, int prot)
{
    char *at = mmap(NULL, nr_pages * PAGE, prot, ANONYMOUS, -1, 0);
    cr_assert_neq(at, MAP_FAILED);
    return at;
}

/* A page in the middle of others that are not like it. */
static struct procmaps_entry find_alone(char *at)
{
    struct procmaps_entry entry;
    cr_assert_eq(procmaps_find((uintptr_t)at + 100, &entry), 0);
    cr_expect_eq(entry.start, (uintptr_t)at);
    cr_expect_eq(entry.end, (uintptr_t)at + PAGE);
    return entry;
}

Test(procmaps, a_mapping_has_its_ends_and_its_protection)
{
    const int prots[] = {PROT_NONE, PROT_READ, RW, PROT_READ | PROT_EXEC};
    for (size_t i = 0; i < sizeof(prots) / sizeof(prots[0]); i++) {
        char *at = map(3, prots[i] == RW ? PROT_READ : RW);
        cr_assert_eq(mprotect(at + PAGE, PAGE, prots[i]), 0);
        struct procmaps_entry entry = find_alone(at + PAGE);
        cr_expect_eq(entry.prot, prots[i]);
        cr_expect(!entry.is_shared && !entry.is_file && !entry.name[0]);
    }
}

Test(procmaps, a_file_has_its_identity_offset_and_name)
{
    char path[] = "/tmp/procmaps_XXXXXX";
    struct stat status;
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && ftruncate(fd, 3 * PAGE) == 0 && fstat(fd, &status) == 0);
    char *around = map(3, RW);
    char *at = mmap(around + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 2 * PAGE);
    cr_assert_neq(at, MAP_FAILED);
    struct procmaps_entry entry = find_alone(at);
    cr_expect(entry.is_shared && entry.is_file);
    cr_expect_eq(entry.inode, status.st_ino);
    cr_expect_eq(entry.offset, 2 * PAGE);
    cr_expect_str_eq(entry.name, path);
    unlink(path);
}

Test(procmaps, where_nothing_is_mapped_nothing_is_found)
{
    struct procmaps_entry entry;
    char *at = map(4, RW);
    cr_assert_eq(munmap(at + PAGE, 2 * PAGE), 0);
    cr_expect_eq(procmaps_find((uintptr_t)at + PAGE, &entry), -ENOENT);
    cr_expect(procmaps_is_free((uintptr_t)at + PAGE, (uintptr_t)at + 3 * PAGE));
    cr_expect(!procmaps_is_free((uintptr_t)at, (uintptr_t)at + 2 * PAGE));
    cr_expect(!procmaps_is_free((uintptr_t)at + 2 * PAGE, (uintptr_t)at + 4 * PAGE));
}

Test(procmaps, every_mapping_comes_once_and_in_order)
{
    enum { NR = 400 }; /* of many pieces */
    struct procmaps maps;
    struct procmaps_entry entry;
    uintptr_t last = 0;
    unsigned nr_found = 0;
    char *at = map(2 * NR, RW);
    for (size_t i = 0; i < NR; i++)
        cr_assert_eq(mprotect(at + 2 * i * PAGE, PAGE, PROT_READ), 0);
    cr_assert_eq(procmaps_open(&maps), 0);
    while (procmaps_next(&maps, &entry)) {
        cr_expect(entry.start >= last && entry.end > entry.start);
        last = entry.end;
        bool is_one = entry.start >= (uintptr_t)at && entry.end <= (uintptr_t)at + 2 * NR * PAGE;
        nr_found += is_one && entry.end - entry.start == PAGE && entry.prot == PROT_READ;
    }
    procmaps_close(&maps);
    cr_expect_eq(nr_found, NR);
}
