/* SPDX-License-Identifier: MIT */
/*
 * Every way in which pages leave, gone with memory that anydma did not place and that the kernel can watch:
 * mapped behind its doors, the program's .bss, the main thread's stack. By libc's calls, by syscall(), and by
 * instructions that no door sees. routes_foreign [part of a result's name]
 * @limit 120
 */
#include "device.h"
#include "expect.h"
#include "run_ways.h"

/* Mapped by an instruction: nobody was told. */
static unsigned char *take_hidden(bool has_neighbour)
{
    size_t len = (LOT_PAGES + HOLE_PAGES + 1) * WAY_PAGE;
    unsigned char *at = by_instruction.map(NULL, len, WAY_RW, WAY_PLAIN, -1);
    by_instruction.unmap(at + LOT_PAGES * WAY_PAGE, HOLE_PAGES * WAY_PAGE);
    return at;
}

enum { NR_BSS_LOTS = 256 };
static _Alignas(4096) unsigned char bss[NR_BSS_LOTS][LOT_PAGES * 4096];

static unsigned char *take_bss(bool has_neighbour)
{
    static int taken;
    if (taken == NR_BSS_LOTS) {
        fprintf(stderr, "more lots of .bss are needed\n");
        exit(1);
    }
    return bss[taken++];
}

static unsigned char *stack_next, *stack_end; /* in main's frame */

static unsigned char *take_stack(bool has_neighbour)
{
    unsigned char *at = stack_next;
    stack_next += LOT_PAGES * WAY_PAGE;
    if (stack_next > stack_end) {
        fprintf(stderr, "more of the stack is needed\n");
        exit(1);
    }
    return at;
}

static const struct memory memories[] = {
    {"mapped unseen", take_hidden}, {".bss", take_bss}, {"main stack", take_stack}};

/* By a door. */
static const struct row seen[] = {
    {"munmap, whole", "FSFSFS"},
    {"munmap, part", "SSSSSS"},
    {"munmap, several mappings", "FSFSFS"},
    {"mremap, shrink", "SSSS--"},
    {"mremap, grow in place", "KK----"},
    {"mremap, the grown pages", "FF----"},
    {"mremap, move", "FSFSFS"},
    {"mremap, the moved pages", "FFFFFF"},
    {"mremap, move by growing", "FSFS--"},
    {"mremap, onto it", "FSFSFS"},
    {"mremap, DONTUNMAP", "FSFS--"},
    {"mmap, over it", "FSFSFS"},
    {"mmap, a shared file over it", "OSOSOS"},
    {"mmap, a private file over it", "OSOSOS"},
    {"shmat, over it", "OSOSOS"},
    {"madvise, DONTNEED", "KKKKKK"},
    {"madvise, FREE", "KKKKKK"},
    {"madvise, DONTNEED_LOCKED", "KKKKKK"},
    {"madvise, GUARD_INSTALL", "FSFSFS"},
    {"madvise, DONTNEED while PROT_NONE", "KKKKKK"},
    {"madvise, PAGEOUT", "KKKKKK"},
    {"madvise, COLD", "KKKKKK"},
    {"madvise, MERGEABLE", "KKKKKK"},
    {"mprotect, none and back", "KKKKKK"},
    {"mprotect, read-only and back", "KKKKKK"},
    {"mlock, munlock, mlock2", "KKKKKK"},
    {"mlockall, munlockall", "KKKKKK"},
    {"mseal", "KKKKKK"},
};

/* Behind the doors: the kernel tells. */
static const struct row unseen[] = {
    {"munmap, whole", "FSFSFS"},
    {"munmap, part", "SSSSSS"},
    {"munmap, several mappings", "FSFSFS"},
    {"mremap, shrink", "SSSS--"},
    {"mremap, grow in place", "KK----"},
    {"mremap, the grown pages", "FF----"},
    {"mremap, move", "FSFSFS"},
    {"mremap, the moved pages", "FFFFFF"},
    {"mremap, move by growing", "FSFS--"},
    {"mremap, onto it", "FSFSFS"},
    {"mremap, DONTUNMAP", "FSFS--"},
    {"mmap, over it", "FSFSFS"},
    {"mmap, a shared file over it", "OSOSOS"},
    {"mmap, a private file over it", "OSOSOS"},
    {"shmat, over it", "SSSSSS"},
    {"madvise, DONTNEED", "SSSSSS"},
    {"madvise, FREE", "SSSSSS"},
    {"madvise, DONTNEED_LOCKED", "SSSSSS"},
    {"madvise, GUARD_INSTALL", "LLLLLL"}, /* the kernel sends no event (6.13 and later, which have it) */
    {"madvise, PAGEOUT", "KKKKKK"},
    {"madvise, COLD", "KKKKKK"},
    {"madvise, MERGEABLE", "KKKKKK"},
};

int main(int argc, char **argv)
{
    unsigned char frame[1000 * 4096];
    stack_next = (unsigned char *)(((uintptr_t)frame + 4095) & ~(uintptr_t)4095);
    stack_end = frame + sizeof(frame);
    device_start();
    shim_must_be_there();
    run_only = argc > 1 ? argv[1] : NULL;
    for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
        bool is_madvise = !strncmp(seen[i].way, "madvise", 7);
        run_row(&seen[i], memories, 3, &by_libc);
        run_row(&seen[i], memories, 1, &by_syscall);
        if (is_madvise)
            run_row(&seen[i], memories, 1, &by_process_madvise);
    }
    for (size_t i = 0; i < sizeof(unseen) / sizeof(unseen[0]); i++)
        run_row(&unseen[i], memories, 3, &by_instruction);
    behaviours_failed += run_failures;
    behaviours_told += run_told;
    return behaviours_end();
}
