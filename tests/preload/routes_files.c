/* SPDX-License-Identifier: MIT */
/*
 * Files whose pages are taken away while mappings of them are registered: holes, truncation, pages put in another order;
 * by this descriptor, by another, by path, through another mapping of the same bytes. Pages beside what is taken keep
 * their IOVA, and so do other files.
 * @env ANYDMA_IOMMU=sim ANYDMA_FOREIGN=trust
 */
#include "device.h"
#include "expect.h"
#include "hugetlb.h"
#include "judge.h"
#include "ways.h"

#include <linux/falloc.h>

/* Which page of them is taken. Huge pages: what a registration still holds is not there for the new ones. */
enum { PAGES = 8, TAKEN = 4, LENT = 2 * PAGES };

struct file {
    size_t page; /* 4 KiB, or the huge page of hugetlbfs */
    int fd;
    unsigned char *at; /* the mapping that is registered */
    uint64_t before;   /* the IOVA of the page TAKEN, and of page 0 */
    uint64_t before_neighbour;
};

static const char *only; /* part of the name of what is run; NULL: everything */

/* --- the ways -------------------------------------------------------------------------------------------------- */

enum by { BY_CALL, BY_SYSCALL };

static int cut(struct file *f, int fd, uint64_t len, enum by by)
{
    (void)f;
    return by == BY_CALL ? ftruncate(fd, (off_t)len) : (int)syscall(SYS_ftruncate, (long)fd, (long)len);
}

static int cut_and_put_back(struct file *f, int fd, enum by by)
{
    return cut(f, fd, TAKEN * f->page, by) == 0 ? cut(f, fd, PAGES * f->page, by) : -1;
}

static int by_ftruncate(struct file *f)
{
    return cut_and_put_back(f, f->fd, BY_CALL);
}

static int by_syscall_ftruncate(struct file *f)
{
    return cut_and_put_back(f, f->fd, BY_SYSCALL);
}

static int open_again(const struct file *f, int flags)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    return open(path, flags | O_CLOEXEC);
}

/* Such a descriptor can't be mapped, which is how a file is told from others: all count as cut. */
static int by_write_only_descriptor(struct file *f)
{
    int fd = open_again(f, O_WRONLY);
    int result = fd < 0 ? -1 : cut_and_put_back(f, fd, BY_CALL);
    if (fd >= 0)
        close(fd);
    return result;
}

static int by_other_descriptor(struct file *f)
{
    int fd = open_again(f, O_RDWR);
    int result = fd < 0 ? -1 : cut_and_put_back(f, fd, BY_CALL);
    if (fd >= 0)
        close(fd);
    return result;
}

static int by_path(struct file *f)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    return truncate(path, (off_t)(TAKEN * f->page)) == 0 ? truncate(path, (off_t)(PAGES * f->page)) : -1;
}

static int by_syscall_path(struct file *f)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    return syscall(SYS_truncate, path, (long)(TAKEN * f->page)) == 0
               ? (int)syscall(SYS_truncate, path, (long)(PAGES * f->page))
               : -1;
}

static int by_hole(struct file *f)
{
    return fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(TAKEN * f->page),
                     (off_t)f->page);
}

static int by_syscall_hole(struct file *f)
{
    return (int)syscall(SYS_fallocate, f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)(TAKEN * f->page), (off_t)f->page);
}

static int by_remove(struct file *f)
{
    return madvise(f->at + TAKEN * f->page, f->page, MADV_REMOVE);
}

static int by_remove_elsewhere(struct file *f)
{
    unsigned char *other = mmap(NULL, PAGES * f->page, WAY_RW, MAP_SHARED, f->fd, 0);
    int result = other == MAP_FAILED ? -1 : madvise(other + TAKEN * f->page, f->page, MADV_REMOVE);
    if (other != MAP_FAILED)
        munmap(other, PAGES * f->page);
    return result;
}

/* Through a mapping of the same bytes that lies in anydma's own address space. */
static int by_remove_inside(struct file *f)
{
    unsigned char *place = mmap(NULL, PAGES * f->page, WAY_RW, WAY_PLAIN, -1, 0);
    unsigned char *other = mmap(place, PAGES * f->page, WAY_RW, MAP_SHARED | MAP_FIXED, f->fd, 0);
    int result = other != place ? -1 : madvise(other + TAKEN * f->page, f->page, MADV_REMOVE);
    munmap(place, PAGES * f->page);
    return result;
}

static int by_other_order(struct file *f)
{
    return remap_file_pages(f->at + TAKEN * f->page, f->page, 0, 1, 0);
}

static int by_syscall_other_order(struct file *f)
{
    return (int)syscall(SYS_remap_file_pages, f->at + TAKEN * f->page, f->page, 0L, 1L, 0L);
}

static const struct way_of_files {
    const char *name;
    int (*go)(struct file *f);
    bool not_huge;
} file_ways[] = {
    {"ftruncate", by_ftruncate, false},
    {"ftruncate, by syscall()", by_syscall_ftruncate, false},
    {"ftruncate by another descriptor", by_other_descriptor, false},
    {"ftruncate by a descriptor that can't read", by_write_only_descriptor, false},
    {"truncate", by_path, false},
    {"truncate, by syscall()", by_syscall_path, false},
    {"fallocate, a hole", by_hole, false},
    {"fallocate, a hole, by syscall()", by_syscall_hole, false},
    {"madvise, REMOVE", by_remove, false},
    {"madvise, REMOVE elsewhere", by_remove_elsewhere, false},
    {"madvise, REMOVE inside", by_remove_inside, false},
    {"remap_file_pages", by_other_order, true},
    {"remap_file_pages, by syscall()", by_syscall_other_order, true},
};

/* --- one of them ------------------------------------------------------------------------------------------------ */

/* Whether there is memory for all of it: touched without, huge pages raise SIGBUS. */
static bool is_filled(const struct file *f)
{
    return fallocate(f->fd, 0, 0, (off_t)(PAGES * f->page)) == 0;
}

static bool open_file(struct file *f, const char *memory, bool is_huge)
{
    f->page = is_huge ? 2 << 20 : 4096;
    f->fd = memfd_create(memory, MFD_CLOEXEC | (is_huge ? MFD_HUGETLB : 0));
    if (f->fd < 0 || ftruncate(f->fd, (off_t)(PAGES * f->page)) != 0)
        return false;
    f->at = mmap(NULL, PAGES * f->page, WAY_RW, MAP_SHARED, f->fd, 0);
    if (f->at == MAP_FAILED || !is_filled(f))
        return false;
    memset(f->at, 1, PAGES * f->page);
    uint64_t start;
    if (anydma_iova_range(f->at, PAGES * f->page, &start) != 0)
        return false;
    f->before_neighbour = start;
    f->before = start + TAKEN * f->page;
    return true;
}

static void close_file(struct file *f)
{
    if (f->at && f->at != MAP_FAILED)
        munmap(f->at, PAGES * f->page);
    if (f->fd >= 0)
        close(f->fd);
}

static void say(bool is_ok, const char *memory, const char *way, const char *text)
{
    printf("%s - %s: %s: %s\n", is_ok ? "ok" : "not ok", memory, way, text);
    fflush(stdout);
    behaviours_failed += !is_ok;
    behaviours_told++;
}

static bool is_wanted(const char *memory, const char *way)
{
    char name[160];
    snprintf(name, sizeof(name), "%s: %s;", memory, way);
    return !only || strstr(name, only);
}

/* What was taken may not be answered for with what was there before; what was not, stays. */
static void go(const struct way_of_files *way, const char *memory, bool is_huge, struct file *other)
{
    struct file f = {.fd = -1};
    if (!is_wanted(memory, way->name) || (is_huge && way->not_huge))
        return;
    if (!open_file(&f, memory, is_huge)) {
        say(is_huge, memory, way->name, "skipped, there is none here");
        close_file(&f);
        return;
    }
    if (way->go(&f) != 0) {
        say(false, memory, way->name, strerror(errno));
    } else if (!is_filled(&f)) {
        say(is_huge, memory, way->name, "skipped, the device still holds too many");
    } else {
        struct judged judged = judge(f.at + TAKEN * f.page, f.before);
        struct judged beside = judge(f.at, f.before_neighbour);
        struct judged apart = judge(other->at, other->before_neighbour);
        bool tells_apart = way->go != by_write_only_descriptor;
        say((judged.verdict == FRESH || judged.verdict == NO) && beside.verdict == KEPT &&
                (!tells_apart || apart.verdict == KEPT),
            memory, way->name,
            beside.verdict != KEPT                 ? "what lies beside it was taken too"
            : tells_apart && apart.verdict != KEPT ? "another file's was taken too"
                                                   : judged_text(judged));
    }
    close_file(&f);
}

/* A descriptor that can't be told from others costs every file its pages from there on: they are looked up afresh. */
static void go_all(const char *memory, bool is_huge)
{
    for (size_t i = 0; i < sizeof(file_ways) / sizeof(file_ways[0]); i++) {
        struct file other = {.fd = -1};
        if (open_file(&other, "another", false))
            go(&file_ways[i], memory, is_huge, &other);
        else
            say(false, memory, file_ways[i].name, "nothing could be set up");
        close_file(&other);
    }
}

int main(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    device_start();
    shim_must_be_there();
    go_all("a shared memfd", false);
    bool is_lent = hugetlb_lend(LENT);
    go_all("huge pages of hugetlbfs", true);
    if (is_lent)
        hugetlb_lend(-LENT);
    return behaviours_end();
}
