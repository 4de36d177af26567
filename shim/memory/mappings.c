/* SPDX-License-Identifier: MIT */
/* Changes of the program's mappings, step by step: LOCK_ARENA is taken for each, LOCK_REGISTRY in between. */
#include "memory/mappings.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "dma/eager.h"
#include "dma/follow.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "memory/contents.h"
#include "memory/files.h"
#include "memory/huge.h"
#include "memory/populate.h"
#include "memory/zones.h"

#define RW (PROT_READ | PROT_WRITE)

enum {
    ADVICE_COLD = 20,
    ADVICE_DONTNEED_LOCKED = 24,
    ADVICE_GUARD_INSTALL = 102,
};

/* --- a change, from its beginning to its end ---------------------------------------------------------------------------- */

void mappings_begin(uintptr_t start, size_t len, enum page_event event)
{
    pages_change(start, len, event, NULL);
    registry_hide(start, len);
    populate_await();
}

static void release_if_uncovered(uintptr_t start, size_t len, bool is_covered)
{
    if (!is_covered)
        pages_change(start, len, PAGE_RELEASED, NULL);
}

static bool is_for_eager(const struct page_kind *kind)
{
    return page_is_plain(*kind) && (kind->prot & RW) == RW;
}

int mappings_offer(uintptr_t start, size_t len, const struct page_kind *kind)
{
    if (is_for_eager(kind))
        return eager_offer(start, len);
    follow_pass_over(start, len);
    return 0;
}

int mappings_admit(uintptr_t start, size_t len, const struct page_kind *kind)
{
    return is_for_eager(kind) ? eager_admit(start, len) : 0;
}

static int offer_used(uintptr_t start, size_t len)
{
    int error = 0;
    for (size_t done = 0, run_len; done < len && !error; done += run_len) {
        struct page_kind kind = mappings_at(start + done, &run_len);
        run_len = run_len < len - done ? run_len : len - done;
        error = kind.state == PAGE_USED ? mappings_offer(start + done, run_len, &kind) : 0;
    }
    return error;
}

int mappings_end(uintptr_t start, size_t len, enum page_event event, const struct page_kind *kind)
{
    pages_change(start, len, event, kind);
    if (event == PAGE_FAILED)
        registry_settle(start, len); /* others that left meanwhile found it alive */
    else
        registry_forget(start, len);
    registry_divide(start, len, release_if_uncovered);
    return event == PAGE_REPLACED || event == PAGE_RENEWED ? offer_used(start, len) : 0;
}

/* --- what is there ------------------------------------------------------------------------------------------------------ */

static bool are_free(struct zone *zone, uintptr_t start, uintptr_t end)
{
    if (!zone || end > zone->end)
        return false;
    for (struct run *run = runs_at(&zone->runs, start); run && run->start < end; run = runs_next(run))
        if (page_is_mapped(run->kind))
            return false;
    return true;
}

bool mappings_claim(uintptr_t start, size_t len)
{
    struct zone *zone = zone_of(start);
    lock_take(&zones_lock);
    bool is_claimed =
        are_free(zone, start, start + len) && pages_apply(zone, start, start + len, PAGE_CLAIMED, NULL) == 0;
    lock_release(&zones_lock);
    return is_claimed;
}

bool mappings_are_used(uintptr_t start, size_t len, unsigned flags)
{
    struct zone *zone = zone_of(start);
    lock_take(&zones_lock);
    struct run *run = zone && len <= zone->end - start ? runs_at(&zone->runs, start) : NULL;
    bool are_used = run;
    for (; are_used && run && run->start < start + len; run = runs_next(run))
        are_used = run->kind.state == PAGE_USED && (run->kind.flags & flags) == flags;
    lock_release(&zones_lock);
    return are_used;
}

struct page_kind mappings_at(uintptr_t addr, size_t *run_len)
{
    struct zone *zone = zone_of(addr);
    *run_len = SIZE_MAX;
    if (!zone)
        return (struct page_kind){.state = PAGE_NONE};
    lock_take(&zones_lock);
    struct run *run = runs_at(&zone->runs, addr);
    struct page_kind kind = run->kind;
    *run_len = run->start + run->len - addr;
    lock_release(&zones_lock);
    return kind;
}

/* --- munmap ------------------------------------------------------------------------------------------------------------- */

static bool is_any_pinned(uintptr_t start, uintptr_t end)
{
    for (uintptr_t block = start & ~(BLOCK_SIZE - 1); block < end; block += BLOCK_SIZE)
        if (pagemap_is_pinned(block))
            return true;
    return false;
}

/* In one step, when nothing there is registered: a registration that is just beginning counts itself, marks its blocks
 * pinned and then takes this lock once before it pins, so it either is seen here or finds nothing mapped. */
static bool unmap_at_once(uintptr_t start, size_t len, int *error)
{
    const size_t most = 2 * BLOCK_SIZE; /* what is larger takes the kernel a while, without the lock */
    if (len > most)
        return false;
    lock_take(&zones_lock);
    bool is_simple = !registry_has_any() || (!registry_owes_any() && !is_any_pinned(start, start + len));
    if (is_simple) {
        *error = pages_ops->unmap(start, len);
        if (!*error)
            pages_apply(zone_of(start), start, start + len, PAGE_UNMAPPED, NULL);
    }
    lock_release(&zones_lock);
    return is_simple;
}

int mappings_unmap(uintptr_t start, size_t len)
{
    int error;
    if (unmap_at_once(start, len, &error))
        return error;
    mappings_begin(start, len, PAGE_LEAVING);
    error = pages_ops->unmap(start, len);
    mappings_end(start, len, error ? PAGE_FAILED : PAGE_LEFT, NULL);
    return error;
}

/* --- protections -------------------------------------------------------------------------------------------------------- */

static struct page_kind protected_by(int prot)
{
    return (struct page_kind){.prot = prot & (RW | PROT_EXEC), .flags = PAGE_ORDINARY};
}

static void note_protection(uintptr_t start, size_t len, int prot)
{
    struct page_kind kind = protected_by(prot);
    pages_change(start, len, PAGE_PROTECTED, &kind);
    mappings_offer(start, len, &kind);
}

/* As the kernel does: up to the first hole, and then the error. */
int mappings_protect(uintptr_t start, size_t len, int prot, int key)
{
    struct page_kind kind = protected_by(prot);
    int error = mappings_admit(start, len, &kind);
    if (error)
        return error;
    error = pages_ops->protect(start, len, prot, key);
    size_t done = error && error != -ENOMEM ? 0 : len, run_len;
    if (error == -ENOMEM)
        for (done = 0; done < len && page_is_mapped(mappings_at(start + done, &run_len));)
            done += run_len < len - done ? run_len : len - done;
    if (done && key != -1)
        mappings_advised(start, done);
    if (done)
        note_protection(start, done, prot);
    return error;
}

/* --- purges ------------------------------------------------------------------------------------------------------------- */

/* Where zeroes can't be written, or others would see them; what was registered there ends. */
static int purge_by_kernel(uintptr_t start, size_t len)
{
    mappings_begin(start, len, PAGE_LEAVING);
    int error = pages_ops->advise(start, len, ADVICE_DONTNEED_LOCKED);
    if (error == -EINVAL)
        error = pages_ops->advise(start, len, MADV_DONTNEED);
    mappings_end(start, len, error ? PAGE_FAILED : PAGE_RENEWED, NULL);
    return error;
}

/* Returns 0, or the kernel's reason not to purge what is sealed and not writable: it does not let its protection be set,
 * either, to what it is. */
static int zero_in_place(uintptr_t start, size_t len, struct page_kind kind)
{
    bool is_lent = kind.flags & PAGE_LENT;
    if (kind.prot & PROT_WRITE && !is_lent) {
        memset((void *)start, 0, len);
        return 0;
    }
    int error = pages_ops->protect(start, len, kind.prot, -1);
    if (error || (!is_lent && contents_zero(start, len)))
        return error;
    return purge_by_kernel(start, len);
}

static _Atomic bool is_filtered;

void mappings_give_up_asking(void)
{
    is_filtered = true;
}

/* The kernel purges no locked memory, but when told so; MADV_COLD, which changes nothing, is refused for it alike. A filter may not
 * know that advice: locked memory is purged, then. */
static int is_refused(uintptr_t start, size_t len, int advice)
{
    if (advice == ADVICE_DONTNEED_LOCKED || is_filtered)
        return 0;
    return pages_ops->advise(start, len, ADVICE_COLD) == -EINVAL ? -EINVAL : 0;
}

bool mappings_may_be_locked(uintptr_t page)
{
    return is_filtered || is_refused(page, OS_PAGE_SIZE, MADV_DONTNEED);
}

/* One stretch that is alike and lies in one block; *end comes back to where that ends. */
static int purge_stretch(uintptr_t start, uintptr_t *end, int advice)
{
    struct zone *zone = zone_of(start);
    uintptr_t block_end = (start | (BLOCK_SIZE - 1)) + 1;
    int error = -ENOMEM;
    lock_take(&zones_lock);
    struct run *run = runs_at(&zone->runs, start);
    struct page_kind kind = run->kind;
    *end = *end < block_end ? *end : block_end;
    *end = *end < run->start + run->len ? *end : run->start + run->len;
    bool stays = kind.state == PAGE_USED && kind.flags & PAGE_ORDINARY && pagemap_is_pinned(start);
    if (stays)
        error = is_refused(start, *end - start, advice);
    else if (page_is_mapped(kind))
        error = pages_ops->advise(start, *end - start, advice);
    if (!stays && zone->kind == ZONE_HEAP)
        huge_dropped(zone, start, *end - start);
    lock_release(&zones_lock);
    return stays && !error && advice != MADV_FREE ? zero_in_place(start, *end - start, kind) : error;
}

/* What is not mapped does not keep the rest from being purged, as in the kernel. */
static int purge(uintptr_t start, size_t len, int advice)
{
    int error = 0;
    for (uintptr_t end = start + len, next; start < end && (!error || error == -ENOMEM); start = next) {
        next = end;
        int result = purge_stretch(start, &next, advice);
        error = result ? result : error;
    }
    return error;
}

/* What the kernel was told of a mapping is not so of a new one. */
static void forget_told(uintptr_t start, size_t len, int prot)
{
    static const int usual[] = {MADV_DOFORK, MADV_KEEPONFORK, MADV_DODUMP, MADV_UNMERGEABLE};
    for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
        pages_ops->advise(start, len, usual[i]);
    os_call(SYS_mbind, (long)start, (long)len, 0, 0, 0, 0);
    os_call(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, (long)start, (long)len, 0, 0);
    pages_ops->protect(start, len, prot, 0);
    pages_change(start, len, PAGE_ADVISED, &(struct page_kind){0});
}

/* Of PAGE_NOTED what holds somewhere in the range. */
static unsigned noted_of(uintptr_t start, size_t len)
{
    unsigned noted = 0;
    for (size_t done = 0, run_len; done < len; done += run_len < len - done ? run_len : len - done)
        noted |= mappings_at(start + done, &run_len).flags & PAGE_NOTED;
    return noted;
}

static void note(uintptr_t start, size_t len, uint8_t flags)
{
    pages_change(start, len, PAGE_ADVISED, &(struct page_kind){.flags = flags});
}

void mappings_advised(uintptr_t start, size_t len)
{
    note(start, len, PAGE_TOLD);
}

void mappings_lent(uintptr_t start, size_t len)
{
    note(start, len, PAGE_LENT);
}

/* Where the kernel refuses a step its own call is made instead, and says why: sealed, or no more may be locked. So it is where the
 * mapping was told of huge pages, which a new one must not be, and where a page may be held that the program sees no more. */
bool mappings_renew(uintptr_t start, size_t len, int prot, bool is_locked)
{
    unsigned noted;
    if (!mappings_are_used(start, len, PAGE_ORDINARY) || !registry_covers(start, len) ||
        (noted = noted_of(start, len)) & (PAGE_SIZED | PAGE_LENT))
        return false;
    if (pages_ops->protect(start, len, prot, -1) != 0)
        return false;
    if (is_locked ? os_mlock2(start, len, 0) != 0
                  : is_refused(start, len, MADV_DONTNEED) && os_munlock(start, len) != 0)
        return false;
    if (noted)
        forget_told(start, len, prot);
    note_protection(start, len, prot);
    return purge(start, len, ADVICE_DONTNEED_LOCKED) == 0;
}

/* Guards are the end of what was registered there, the mapping stays. */
static int install_guards(uintptr_t start, size_t len)
{
    int error = pages_ops->advise(start, 0, ADVICE_GUARD_INSTALL); /* is it known at all? */
    if (error)
        return error;
    mappings_begin(start, len, PAGE_LEAVING);
    error = pages_ops->advise(start, len, ADVICE_GUARD_INSTALL);
    mappings_end(start, len, PAGE_GUARDED, NULL); /* after an error, too: a part may have them */
    return error;
}

int mappings_advise(uintptr_t start, size_t len, int advice)
{
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case ADVICE_DONTNEED_LOCKED:
        return purge(start, len, advice);
    case ADVICE_GUARD_INSTALL:
        return install_guards(start, len);
    case MADV_REMOVE: /* for shared memory: never registered here, but mapped elsewhere perhaps */
        return files_remove(start, len);
    default: /* takes no pages */
        break;
    }
    int error = pages_ops->advise(start, len, advice);
    if (advice >= MADV_DONTFORK && advice <= MADV_KEEPONFORK) /* of which all that are kept are */
        note(start, len,
             advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE ? PAGE_TOLD | PAGE_SIZED : PAGE_TOLD);
    return error;
}
