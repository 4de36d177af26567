/* SPDX-License-Identifier: MIT */
/* Where such memory is mapped; what of it there is now is asked of the kernel. Under LOCK_REGISTRY, taken here. */
#include "memory/shared.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/config.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "dma/eager.h"
#include "dma/registry.h"
#include "memory/arena.h"
#include "memory/runs.h"

#define RW (PROT_READ | PROT_WRITE)
#define USER_END ((uintptr_t)1 << 47)

/* LEAVING: the program's call is about to take it, and what was registered of it with it. */
enum shared_state { NOT_SHARED, SHARED = 2, LEAVING };

static struct runs areas;
static _Atomic bool has_areas; /* never without ANYDMA_FOREIGN=trust */

static struct page_kind kind_of(enum shared_state state)
{
    return (struct page_kind){.state = (uint8_t)state};
}

struct range {
    uintptr_t start, end;
    enum shared_state from, to; /* what is in the one state comes to the other */
    bool is_there;              /* answers: what was asked for is in the range */
};

static void change(void *arg)
{
    struct range *range = arg;
    for (uintptr_t at = range->start, next; at < range->end && at < USER_END; at = next) {
        struct run *run = runs_at(&areas, at);
        next = run->start + run->len < range->end ? run->start + run->len : range->end;
        if (run->kind.state == range->from)
            runs_change(&areas, run, at, next - at, kind_of(range->to));
    }
}

static void change_locked(uintptr_t start, size_t len, enum shared_state from, enum shared_state to)
{
    struct range range = {start, start + len, from, to, false};
    if (atomic_load_explicit(&has_areas, memory_order_acquire))
        registry_locked(change, &range);
}

/* --- what of it there is ------------------------------------------------------------------------------------------------ */

/* A page of a file's mapping may lie behind the end of the file: there is none, then. Where that can't be asked the kernel says
 * it when it is to be pinned. */
static bool has_page(uintptr_t va)
{
    char byte;
    struct iovec to = {&byte, 1}, from = {(void *)va, 1};
    return os_call(SYS_process_vm_readv, os_getpid(), (long)&to, 1, (long)&from, 1, 0) != -EFAULT;
}

/* How far [start, end), which lies in one mapping, has pages: what has none is behind all that has. */
static uintptr_t end_of_pages(uintptr_t start, uintptr_t end)
{
    uintptr_t low = start, high = end;
    if (has_page(end - OS_PAGE_SIZE))
        return end;
    while (high - low > OS_PAGE_SIZE) {
        uintptr_t middle = low + ((high - low) / 2 & ~(OS_PAGE_SIZE - 1));
        if (has_page(middle - OS_PAGE_SIZE))
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first mapping in [*at, end) that can be registered: *at gets where, and *len; *at_end where it ends. */
static bool next_usable(uintptr_t *at, uintptr_t end, size_t *len, uintptr_t *at_end)
{
    struct procmaps_entry entry;
    for (; *at < end && procmaps_find(*at, &entry) == 0; *at = entry.end) {
        *at_end = entry.end < end ? entry.end : end;
        if (entry.is_shared && (entry.prot & RW) == RW && (*len = end_of_pages(*at, *at_end) - *at))
            return true;
    }
    return false;
}

bool shared_next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len)
{
    if (!atomic_load_explicit(&has_areas, memory_order_acquire))
        return false;
    struct run *run = *cursor < USER_END ? runs_at(&areas, *cursor) : NULL;
    for (; run && run->start < end; run = runs_next(run)) {
        uintptr_t run_end = run->start + run->len < end ? run->start + run->len : end;
        *start = run->start > *cursor ? run->start : *cursor;
        if (run->kind.state == SHARED && next_usable(start, run_end, len, cursor))
            return true;
    }
    return false;
}

/* --- what the program does ------------------------------------------------------------------------------------------------ */

static void look_for_leaving(void *arg)
{
    struct range *range = arg;
    struct run *run = range->start < USER_END ? runs_at(&areas, range->start) : NULL;
    range->is_there = false;
    for (; run && run->start < range->end; run = runs_next(run))
        range->is_there |= run->kind.state == LEAVING;
}

/* The kernel has unmapped what was here before, or nothing could be mapped here now; who did that is about to undo what was
 * registered of it. That may be this very thread, in a signal's handler: then the addresses are told as what they are. */
static void wait_for_leaving(uintptr_t start, size_t len)
{
    enum { MOST_TRIES = 1000 };
    struct timespec moment = {.tv_nsec = 100000};
    struct range range = {.start = start, .end = start + len};
    for (int i = 0; i < MOST_TRIES; i++) {
        registry_locked(look_for_leaving, &range);
        if (!range.is_there)
            break;
        os_call(SYS_nanosleep, (long)&moment, 0, 0, 0, 0, 0);
    }
}

static void init_and_add(void *arg)
{
    struct range *range = arg;
    bool is_there = atomic_load_explicit(&has_areas, memory_order_relaxed);
    if (!is_there && runs_init(&areas, 0, USER_END) != 0)
        return;
    atomic_store_explicit(&has_areas, true, memory_order_release);
    if (range->end <= USER_END)
        runs_set(&areas, range->start, range->end - range->start, kind_of(SHARED));
}

static int add(uintptr_t start, size_t len)
{
    struct range range = {.start = start, .end = start + len};
    if (atomic_load_explicit(&has_areas, memory_order_acquire))
        wait_for_leaving(start, len);
    registry_locked(init_and_add, &range);
    return shared_changed(start, len);
}

int shared_changed(uintptr_t start, size_t len)
{
    return atomic_load_explicit(&has_areas, memory_order_acquire) ? eager_offer_alive(start, len) : 0;
}

void shared_begin(uintptr_t start, size_t len)
{
    change_locked(start, len, SHARED, LEAVING);
}

void shared_end(uintptr_t start, size_t len, bool has_failed)
{
    change_locked(start, len, LEAVING, has_failed ? SHARED : NOT_SHARED);
}

static void look_for_shared(void *arg)
{
    struct range *range = arg;
    range->is_there = runs_at(&areas, range->start)->kind.state == SHARED;
}

bool shared_contains(uintptr_t addr)
{
    struct range range = {.start = addr, .end = addr + 1};
    if (addr >= USER_END || !atomic_load_explicit(&has_areas, memory_order_acquire))
        return false;
    registry_locked(look_for_shared, &range);
    return range.is_there;
}

void shared_arrived(uintptr_t start, size_t len)
{
    if (arena_contains(start))
        eager_pass_shared(start, len, "it lies in a place that was private memory before; map it elsewhere");
    else
        add(start, len);
}

/* --- which it is ---------------------------------------------------------------------------------------------------------- */

enum source { NO_MEMORY, ANONYMOUS, MEMFD, MEMORY_FILE };

/* Files on disks and devices' memory are nobody's business here. A memfd is a file of tmpfs without a name; those that have one
 * are shared on purpose, and huge pages are mapped for devices by who takes them: of both nothing is told. */
static enum source source_of(int flags, int fd)
{
    enum { TMPFS = 0x01021994, HUGETLBFS = 0x958458f6 };
    struct statfs system;
    struct stat file;
    int type = flags & MAP_TYPE;
    if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE)
        return NO_MEMORY;
    if (flags & MAP_ANONYMOUS)
        return ANONYMOUS;
    if (os_call(SYS_fstatfs, fd, (long)&system, 0, 0, 0, 0) != 0 ||
        os_call(SYS_fstat, fd, (long)&file, 0, 0, 0, 0) != 0 || !S_ISREG(file.st_mode))
        return NO_MEMORY;
    return system.f_type == TMPFS                      ? file.st_nlink ? MEMORY_FILE : MEMFD
           : (unsigned long)system.f_type == HUGETLBFS ? MEMORY_FILE
                                                       : NO_MEMORY;
}

bool shared_is_in_hole(uintptr_t start, size_t len, int flags, int fd)
{
    return config.foreign == FOREIGN_TRUST && eager_is_on() && !arena_contains(start) &&
           registry_covers(start, len) && source_of(flags, fd) != NO_MEMORY;
}

int shared_mapped(uintptr_t start, size_t len, int prot, int flags, int fd)
{
    bool is_trusted = config.foreign == FOREIGN_TRUST;
    if ((flags & MAP_TYPE) == MAP_PRIVATE || (!is_trusted && !eager_is_on()))
        return 0;
    enum source source = source_of(flags, fd);
    if (source == NO_MEMORY)
        return 0;
    if (is_trusted && !arena_contains(start))
        return add(start, len);
    if ((prot & RW) == RW && source != MEMORY_FILE && eager_is_on())
        eager_pass_shared(start, len,
                          is_trusted
                              ? "it lies in a place that was private memory before; map it elsewhere"
                              : "other processes may change it unseen; give the program private memory, "
                                "or say that nothing takes its pages away (ANYDMA_FOREIGN=trust)");
    return 0;
}
