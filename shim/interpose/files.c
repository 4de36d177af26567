/* SPDX-License-Identifier: MIT */
/* The doors of files: truncation, holes, and pages mapped out of order. Results and errno are the kernel's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "interpose/lifecycle.h"
#include "interpose/ranges.h"
#include "memory/files.h"
#include "memory/owners.h"
#include "memory/shared.h"

int ftruncate(int fd, off_t len)
{
    struct files_call call = {fd, os_page_up((size_t)len), UINT64_MAX, SYS_ftruncate, {fd, len}};
    if (len < 0 || !lifecycle_enter())
        return to_libc(os_call(SYS_ftruncate, fd, len, 0, 0, 0, 0));
    return to_libc(files_make(&call));
}

int ftruncate64(int fd, off_t len)
{
    return ftruncate(fd, len);
}

int truncate(const char *path, off_t len)
{
    if (len < 0 || !lifecycle_enter() || config.foreign != FOREIGN_TRUST)
        return to_libc(os_call(SYS_truncate, (long)path, len, 0, 0, 0, 0));
    int fd = os_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    struct files_call call = {fd, os_page_up((size_t)len), UINT64_MAX, SYS_truncate, {(long)path, len}};
    intptr_t result = files_make(&call);
    if (fd >= 0)
        os_close(fd);
    return to_libc(result);
}

int truncate64(const char *path, off_t len)
{
    return truncate(path, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    const int shifts = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
    const int takes = shifts | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    uint64_t to = mode & shifts ? UINT64_MAX : (uint64_t)offset + (uint64_t)len;
    bool grows = !(mode & (takes | FALLOC_FL_KEEP_SIZE));
    struct files_call call = {
        fd, grows ? 0 : (uint64_t)offset, grows ? 0 : to, SYS_fallocate, {fd, mode, offset, len}};
    if (!(mode & takes || grows) || offset < 0 || len <= 0 || !lifecycle_enter())
        return to_libc(os_call(SYS_fallocate, fd, mode, offset, len, 0, 0));
    return to_libc(files_make(&call));
}

int fallocate64(int fd, int mode, off_t offset, off_t len)
{
    return fallocate(fd, mode, offset, len);
}

/* Only what is shared can be given an order of its own: the kernel maps it anew, part by part. */
int remap_file_pages(void *addr, size_t len, int prot, size_t page, int flags)
{
    uintptr_t start = (uintptr_t)addr & ~(OS_PAGE_SIZE - 1);
    struct procmaps_entry entry;
    bool is_shared = lifecycle_enter() && !is_beyond_end(start, len) && procmaps_find(start, &entry) == 0 &&
                     entry.is_shared;
    bool is_for_eager = is_shared && shared_contains(start);
    if (is_shared)
        owners_begin(start, os_page_up(len), PAGE_LEAVING);
    intptr_t result = os_call(SYS_remap_file_pages, (long)addr, (long)len, prot, (long)page, flags, 0);
    if (is_shared)
        owners_end(start, os_page_up(len), result ? PAGE_FAILED : PAGE_RENEWED, NULL);
    if (is_for_eager && !result)
        shared_arrived(start, os_page_up(len));
    return to_libc(result);
}
