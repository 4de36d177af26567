/* SPDX-License-Identifier: MIT */
/* See pages.h. */
#include "registration/pages.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "raw.h"

#define BLOCK ((size_t)2 << 20)
enum { ADVICE_COLLAPSE = 25, PAGE = 4096 };

const char *const pages_names[NR_PAGES_KINDS] = {"fresh", "touched", "huge"};

static void collapse(uint64_t block)
{
    *(volatile char *)block = 1;
    raw(SYS_madvise, (long)block, BLOCK, ADVICE_COLLAPSE, 0, 0, 0);
}

void pages_bring(uint64_t va, size_t len, enum pages kind)
{
    for (uint64_t at = va; kind != PAGES_FRESH && at < va + len; at += PAGE)
        *(volatile char *)at = 1;
    for (uint64_t at = va; kind == PAGES_HUGE && at < va + len; at += BLOCK)
        collapse(at);
}

/* PAGEMAP_SCAN of <linux/fs.h>, since Linux 6.7. */
struct region {
    uint64_t start, end, categories;
};
struct scan {
    uint64_t size, flags, start, end, walk_end, regions, nr_regions, max_pages;
    uint64_t inverted, all_of, any_of, returned;
};
#define SCAN _IOWR('f', 16, struct scan)
enum { IS_HUGE = 1 << 6, NR_REGIONS = 1024 };

uint64_t pages_count_huge(uint64_t va, size_t len)
{
    static struct region regions[NR_REGIONS];
    struct scan scan = {.size = sizeof(scan),
                        .end = va + len,
                        .regions = (uint64_t)regions,
                        .nr_regions = NR_REGIONS,
                        .all_of = IS_HUGE,
                        .returned = IS_HUGE};
    uint64_t huge = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (scan.start = va; scan.start < va + len; scan.start = scan.walk_end) {
        long nr = raw(SYS_ioctl, fd, (long)SCAN, (long)&scan, 0, 0, 0);
        if (nr < 0) {
            huge = UINT64_MAX;
            break;
        }
        for (long i = 0; i < nr; i++)
            huge += regions[i].end - regions[i].start;
    }
    close(fd);
    return huge;
}
