/* SPDX-License-Identifier: MIT */
/*
 * Every way in which pages leave, gone with memory that anydma placed: a mapping of the program's, and an
 * allocation of the heap. routes_own [part of a result's name]
 * @limit 120
 */
#include "device.h"
#include "expect.h"
#include "run_ways.h"

static unsigned char *take_mapping(bool has_neighbour)
{
    size_t len = (LOT_PAGES + HOLE_PAGES + 1) * WAY_PAGE;
    unsigned char *at = mmap(NULL, len, WAY_RW, WAY_PLAIN, -1, 0);
    munmap(at + LOT_PAGES * WAY_PAGE, HOLE_PAGES * WAY_PAGE);
    if (!has_neighbour)
        munmap(at, NEIGHBOUR_PAGES * WAY_PAGE);
    return at;
}

static unsigned char *take_heap(bool has_neighbour)
{
    return aligned_alloc(WAY_PAGE, LOT_PAGES * WAY_PAGE);
}

static const struct memory memories[] = {{"own mapping", take_mapping}, {"heap", take_heap}};

/* The heap's unit of registration always has neighbours: only beside one. What is unmapped or moved away of
 * it by the program itself is the program's own undoing, with any malloc. */
static const struct row rows[] = {
    {"munmap, whole", "FS--"},
    {"munmap, part", "SS--"},
    {"munmap, several mappings", "FS--"},
    {"mremap, shrink", "SS--"},
    {"mremap, grow in place", "KK--"},
    {"mremap, the grown pages", "FF--"},
    {"mremap, move", "FS--"},
    {"mremap, the moved pages", "FF--"},
    {"mremap, move by growing", "FS--"},
    {"mremap, onto it", "FS-S"},
    {"mremap, DONTUNMAP", "FS-S"},
    {"mmap, over it", "KK-K"},
    {"mmap, a shared file over it", "OS-S"},
    {"mmap, a private file over it", "OS-S"},
    {"shmat, over it", "OS-S"},
    {"madvise, DONTNEED", "KK-K"},
    {"madvise, FREE", "KK-K"},
    {"madvise, DONTNEED_LOCKED", "KK-K"},
    {"madvise, GUARD_INSTALL", "OS-S"},
    {"madvise, DONTNEED while PROT_NONE", "KK-K"},
    {"madvise, PAGEOUT", "KK-K"},
    {"madvise, COLD", "KK-K"},
    {"madvise, MERGEABLE", "KK-K"},
    {"mprotect, none and back", "KK-K"},
    {"mprotect, read-only and back", "KK-K"},
    {"mlock, munlock, mlock2", "KK-K"},
    {"mlockall, munlockall", "KK-K"},
    {"mseal", "KK--"},
};

/* By instructions that no door sees: what the program must not do with such memory. */
static const struct row unseen[] = {
    {"munmap, whole", "LL--"},          {"mremap, onto it", "LL-L"},   {"mmap, over it", "LL-L"},
    {"shmat, over it", "LL-L"},         {"madvise, DONTNEED", "LL-L"}, {"madvise, DONTNEED_LOCKED", "LL-L"},
    {"madvise, GUARD_INSTALL", "LL-L"}, {"madvise, COLD", "KK-K"},
};

static bool is_of(const char *calls, const char *way)
{
    return !strncmp(calls, way, strlen(calls));
}

int main(int argc, char **argv)
{
    device_start();
    shim_must_be_there();
    run_only = argc > 1 ? argv[1] : NULL;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_row(&rows[i], memories, 2, &by_libc);
        if (is_of("m", rows[i].way) && !is_of("mlock", rows[i].way) && !is_of("mprotect", rows[i].way))
            run_row(&rows[i], memories, 2, &by_syscall);
        if (is_of("madvise", rows[i].way))
            run_row(&rows[i], memories, 2, &by_process_madvise);
    }
    bool is_strict = getenv("ANYDMA_STRICT");
    for (size_t i = 0; is_strict && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (is_of("m", rows[i].way) || is_of("shmat", rows[i].way))
            run_row(&rows[i], memories, 2, &by_instruction);
    for (size_t i = 0; !is_strict && i < sizeof(unseen) / sizeof(unseen[0]); i++)
        run_row(&unseen[i], memories, 2, &by_instruction);
    behaviours_failed += run_failures;
    behaviours_told += run_told;
    return behaviours_end();
}
