/* SPDX-License-Identifier: MIT */
/* Finds what is registered of a file whose pages are taken away. Under LOCK_REGISTRY, taken here. */
#include "memory/files.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/config.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "memory/foreign.h"
#include "memory/shared.h"

/* Bytes of one file; `inode` 0: of any file. */
struct cut {
    uint64_t device, inode, from, to;
};

struct work {
    const struct files_call *call;
    intptr_t result;
    uintptr_t low, high;             /* everything that was given up lies between */
    uintptr_t shown_low, shown_high; /* and here everything that eager mode registers of the file */
};

/* The kernel's own names for the file, as its mappings have them: stat's differ where file systems are stacked. */
static struct cut identify(const struct files_call *call)
{
    struct cut cut = {.from = call->from, .to = call->to};
    struct procmaps_entry entry;
    struct stat info;
    if (call->fd < 0 || os_call(SYS_fstat, call->fd, (long)&info, 0, 0, 0, 0) != 0)
        return cut;
    size_t len = os_page_up((size_t)info.st_blksize); /* a huge page, in hugetlbfs */
    intptr_t at = os_mmap(0, len, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE, call->fd, 0);
    if (os_is_error(at)) /* not opened for reading */
        return cut;
    if (procmaps_find((uintptr_t)at, &entry) == 0) {
        cut.device = entry.device;
        cut.inode = entry.inode;
    }
    os_munmap((uintptr_t)at, len);
    return cut;
}

/* The part of [start, end), which lies in `entry`, that shows bytes of the cut. False: none. */
static bool shows(const struct procmaps_entry *entry, const struct cut *cut, uintptr_t *start, uintptr_t *end)
{
    uint64_t offset = entry->offset + (*start - entry->start), last = offset + (*end - *start);
    if (!entry->is_file || (cut->inode && (cut->inode != entry->inode || cut->device != entry->device)))
        return false;
    if (cut->to <= offset || cut->from >= last)
        return false;
    if (cut->to < last)
        *end = *start + (os_page_up(cut->to) - offset);
    if (cut->from > offset)
        *start += (cut->from & ~(OS_PAGE_SIZE - 1)) - offset;
    return true;
}

static void extend(uintptr_t *low, uintptr_t *high, uintptr_t start, uintptr_t end)
{
    if (!*high || start < *low)
        *low = start;
    if (end > *high)
        *high = end;
}

static void give_up(struct work *work, uintptr_t start, uintptr_t end)
{
    foreign_emptied(start, end);
    extend(&work->low, &work->high, start, end);
}

static void give_up_what_shows(struct work *work, const struct cut *cut)
{
    uintptr_t cursor = 0, at, end;
    while (foreign_next_registered(&cursor, &at, &end)) {
        struct procmaps_entry entry;
        for (uintptr_t next; at < end && procmaps_find(at, &entry) == 0; at = next) {
            next = entry.end < end ? entry.end : end;
            uintptr_t from = at, to = next;
            if (shows(&entry, cut, &from, &to))
                give_up(work, from, to);
        }
    }
}

/* The file may have pages now where it had none, or others. */
static void find_what_shows(struct work *work, const struct cut *cut)
{
    struct cut all = {cut->device, cut->inode, 0, UINT64_MAX};
    struct procmaps_entry entry;
    uintptr_t cursor = 0, at;
    size_t len;
    while (cut->inode && shared_next_alive(&cursor, UINTPTR_MAX, &at, &len)) {
        uintptr_t start = at, end = at + len;
        if (procmaps_find(at, &entry) == 0 && shows(&entry, &all, &start, &end))
            extend(&work->shown_low, &work->shown_high, at, at + len);
    }
}

static bool changed_nothing(intptr_t result)
{
    return result == -EINVAL || result == -EBADF || result == -EPERM || result == -EACCES ||
           result == -EOPNOTSUPP;
}

static void make(void *arg)
{
    struct work *work = arg;
    const long *args = work->call->args;
    struct cut cut = identify(work->call);
    work->result = os_call(work->call->number, args[0], args[1], args[2], args[3], 0, 0);
    if (changed_nothing(work->result))
        return;
    give_up_what_shows(work, &cut);
    find_what_shows(work, &cut);
}

static intptr_t work_locked(void (*what)(void *arg), struct work *work)
{
    registry_locked(what, work);
    if (work->high)
        registry_settle(work->low, work->high - work->low);
    if (work->shown_high)
        shared_changed(work->shown_low, work->shown_high - work->shown_low);
    return work->result;
}

intptr_t files_make(const struct files_call *call)
{
    struct work work = {.call = call};
    if (config.foreign != FOREIGN_TRUST)
        return os_call(call->number, call->args[0], call->args[1], call->args[2], call->args[3], 0, 0);
    return work_locked(make, &work);
}

/* The same bytes may be mapped elsewhere too. */
static void remove_pages(void *arg)
{
    struct work *work = arg;
    uintptr_t at = (uintptr_t)work->call->args[0], end = at + (size_t)work->call->args[1];
    struct procmaps_entry entry;
    work->result = os_madvise(at, end - at, MADV_REMOVE);
    for (uintptr_t next; at < end && procmaps_find(at, &entry) == 0; at = next) {
        next = entry.end < end ? entry.end : end;
        uint64_t offset = entry.offset + (at - entry.start);
        struct cut cut = {entry.device, entry.inode, offset, offset + (next - at)};
        if (entry.is_file) {
            give_up_what_shows(work, &cut);
            find_what_shows(work, &cut);
        }
    }
}

int files_remove(uintptr_t start, size_t len)
{
    struct files_call call = {.args = {(long)start, (long)len}};
    struct work work = {.call = &call};
    if (config.foreign != FOREIGN_TRUST)
        return os_madvise(start, len, MADV_REMOVE);
    return (int)work_locked(remove_pages, &work);
}
