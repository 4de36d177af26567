/* SPDX-License-Identifier: MIT */
/*
 * libvfn: iommu_translate_vaddr of memory that libvfn did not map, and the functions that build a command from such memory.
 *
 * libvfn's locks: the map's read-write lock, held within its own functions and over no call of ours, and the container's
 * mutex, not taken on these ways. So the bridge may take the registry's lock; it calls back only what it stands for.
 *
 * It refuses within iommu_map_vaddr, which asks whether the memory is mapped in order to map it: a program that maps gets a
 * mapping of its own. And what is not one run of IOVAs: libvfn takes for granted that they go on as the addresses do.
 * Where a function has the length, that is looked at as a whole; iommu_translate_vaddr has none, so what is alive behind the
 * address is registered with it (lookup_ahead), and nvme_map_prp, which is given its answer with a length, sees to the rest.
 * A program that describes more than that to its device by itself, from one translation, must map it itself.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/uio.h>

#include "dma/application.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "interpose/bridges/bind.h"
#include "interpose/bridges/bridges.h"
#include "interpose/lookup.h"
#include "memory/arena.h"

/* Arguments are passed on as they came: their number differs between versions. */
static bool translate(void *ctx, const void *addr, uint64_t *iova);
static int map_vaddr(void *ctx, void *addr, size_t len, uint64_t *iova, unsigned long flags);
static int map_vaddr_align(void *ctx, void *addr, size_t len, size_t align, uint64_t *iova,
                           unsigned long flags);
static int sync_command(void *ctrl, void *sq, void *command, void *buf, size_t len, void *completion);
static int rq_map_prp(void *ctrl, void *rq, void *command, uint64_t iova, size_t len);
static int rq_mapv_prp(void *ctrl, void *rq, void *command, const struct iovec *iov, int nr);
static int rq_mapv_sgl(void *ctrl, void *rq, void *command, const struct iovec *iov, int nr);
static int map_prp(long a, long b, long c, long d, long e, long f);
static int mapv_prp(long a, long b, long c, long d, long e, long f);
static int mapv_sgl(long a, long b, long c, long d, long e, long f);

enum {
    TRANSLATE,
    MAP,
    MAP_ALIGN,
    SYNC,
    RQ_MAP_PRP,
    RQ_MAPV_PRP,
    RQ_MAPV_SGL,
    MAP_PRP,
    MAPV_PRP,
    MAPV_SGL,
    NR_NAMES
};

static struct bound_name names[NR_NAMES] = {
    [TRANSLATE] = {.name = "iommu_translate_vaddr", .ours = translate},
    [MAP] = {.name = "iommu_map_vaddr", .ours = map_vaddr},
    [MAP_ALIGN] = {.name = "iommu_map_vaddr_align", .ours = map_vaddr_align},
    [SYNC] = {.name = "nvme_sync", .ours = sync_command},
    [RQ_MAP_PRP] = {.name = "nvme_rq_map_prp", .ours = rq_map_prp},
    [RQ_MAPV_PRP] = {.name = "nvme_rq_mapv_prp", .ours = rq_mapv_prp},
    [RQ_MAPV_SGL] = {.name = "nvme_rq_mapv_sgl", .ours = rq_mapv_sgl},
    [MAP_PRP] = {.name = "nvme_map_prp", .ours = map_prp},
    [MAPV_PRP] = {.name = "nvme_mapv_prp", .ours = mapv_prp},
    [MAPV_SGL] = {.name = "nvme_mapv_sgl", .ours = mapv_sgl},
};
static struct bound_library libvfn = {.witness = "iommu_unmap_vaddr", .names = names, .nr_names = NR_NAMES};

static bool has_segment_iova;     /* nvme_mapv_* got one more argument when nvme_mapv_iova_* came */
static _Atomic bool has_answered; /* until then every IOVA of the program's is libvfn's */

/* What the functions further up know and iommu_translate_vaddr is not told. */
static _Thread_local struct {
    const struct iovec *iov;
    int nr, at;
    bool is_mapping;
} asked;

bool bridge_libvfn_bind(void)
{
    bool is_here = bind_library(&libvfn);
    has_segment_iova = is_here && bind_contains(&libvfn, bind_find("nvme_mapv_iova_sgl"));
    return is_here;
}

/* --- translating ------------------------------------------------------------------------------------------------ */

/* The length that belongs to the address; 0: nobody said. They are asked for in their order. */
static size_t known_length(const void *addr)
{
    for (int i = asked.at; i < asked.nr; i++)
        if (asked.iov[i].iov_base == addr) {
            asked.at = i + 1;
            return asked.iov[i].iov_len;
        }
    return 0;
}

static bool answer(const void *addr, uint64_t *iova)
{
    size_t len = known_length(addr), run = 0;
    uint64_t found;
    int error = len ? lookup_run((uintptr_t)addr, len, &found, &run) : lookup_ahead((uintptr_t)addr, &found);
    if (error || run < len)
        return false;
    *iova = found;
    atomic_store_explicit(&has_answered, true, memory_order_relaxed);
    return true;
}

static bool translate(void *ctx, const void *addr, uint64_t *iova)
{
    bool (*next)(void *, const void *, uint64_t *) = (__typeof__(next))names[TRANSLATE].next;
    return next(ctx, addr, iova) || (!asked.is_mapping && answer(addr, iova));
}

static int map_vaddr(void *ctx, void *addr, size_t len, uint64_t *iova, unsigned long flags)
{
    int (*next)(void *, void *, size_t, uint64_t *, unsigned long) = (__typeof__(next))names[MAP].next;
    bool was_mapping = asked.is_mapping;
    asked.is_mapping = true;
    int result = next(ctx, addr, len, iova, flags);
    asked.is_mapping = was_mapping;
    return result;
}

static int map_vaddr_align(void *ctx, void *addr, size_t len, size_t align, uint64_t *iova,
                           unsigned long flags)
{
    int (*next)(void *, void *, size_t, size_t, uint64_t *, unsigned long) =
        (__typeof__(next))names[MAP_ALIGN].next;
    bool was_mapping = asked.is_mapping;
    asked.is_mapping = true;
    int result = next(ctx, addr, len, align, iova, flags);
    asked.is_mapping = was_mapping;
    return result;
}

/* --- buffers and vectors ---------------------------------------------------------------------------------------- */

static void tell_lengths(const struct iovec *iov, int nr)
{
    asked.iov = iov;
    asked.nr = nr;
    asked.at = 0;
}

/* A buffer that is not one run libvfn maps for the moment by itself, as it does plainly. */
static int sync_command(void *ctrl, void *sq, void *command, void *buf, size_t len, void *completion)
{
    int (*next)(void *, void *, void *, void *, size_t, void *) = (__typeof__(next))names[SYNC].next;
    const struct iovec whole = {buf, len};
    tell_lengths(&whole, buf != NULL);
    int result = next(ctrl, sq, command, buf, len, completion);
    tell_lengths(NULL, 0);
    return result;
}

static int rq_mapv_prp(void *ctrl, void *rq, void *command, const struct iovec *iov, int nr)
{
    int (*next)(void *, void *, void *, const struct iovec *, int) =
        (__typeof__(next))names[RQ_MAPV_PRP].next;
    tell_lengths(iov, nr);
    int result = next(ctrl, rq, command, iov, nr);
    tell_lengths(NULL, 0);
    return result;
}

static int rq_mapv_sgl(void *ctrl, void *rq, void *command, const struct iovec *iov, int nr)
{
    int (*next)(void *, void *, void *, const struct iovec *, int) =
        (__typeof__(next))names[RQ_MAPV_SGL].next;
    tell_lengths(iov, nr);
    int result = next(ctrl, rq, command, iov, nr);
    tell_lengths(NULL, 0);
    return result;
}

/* (ctrl, list, command, iov, nr), and later (ctrl, list, how many pages or where, command, iov, nr). */
static int mapv(unsigned which, long a, long b, long c, long d, long e, long f)
{
    int (*next)(long, long, long, long, long, long) = (__typeof__(next))names[which].next;
    if (has_segment_iova)
        tell_lengths((const struct iovec *)e, (int)f);
    else
        tell_lengths((const struct iovec *)d, (int)e);
    int result = next(a, b, c, d, e, f);
    tell_lengths(NULL, 0);
    return result;
}

static int mapv_prp(long a, long b, long c, long d, long e, long f)
{
    return mapv(MAPV_PRP, a, b, c, d, e, f);
}

static int mapv_sgl(long a, long b, long c, long d, long e, long f)
{
    return mapv(MAPV_SGL, a, b, c, d, e, f);
}

/* --- an IOVA that comes back with a length ---------------------------------------------------------------------- */

static bool is_registered_identity(uint64_t iova, size_t len)
{
    uint64_t found;
    for (size_t run; pagemap_lookup_run(iova, &found, &run) && found == iova; iova += run, len -= run)
        if (run >= len)
            return true;
    return false;
}

/* Whether a device finds all of it; what is ours of it is registered now. */
static bool is_whole(uint64_t iova, size_t len)
{
    uint64_t found;
    size_t run;
    if (!atomic_load_explicit(&has_answered, memory_order_relaxed) || !len ||
        is_registered_identity(iova, len))
        return true;
    uintptr_t va = registry_address(iova);
    if (!va && arena_contains(iova) && !application_has(iova))
        va = iova;
    return !va || (lookup_run(va, len, &found, &run) == 0 && found == iova && run == len);
}

static int rq_map_prp(void *ctrl, void *rq, void *command, uint64_t iova, size_t len)
{
    int (*next)(void *, void *, void *, uint64_t, size_t) = (__typeof__(next))names[RQ_MAP_PRP].next;
    if (is_whole(iova, len))
        return next(ctrl, rq, command, iova, len);
    errno = EFAULT;
    return -1;
}

/* (ctrl, list, command, iova, len), and later (ctrl, lists, how many, command, iova, len). */
static int map_prp(long a, long b, long c, long d, long e, long f)
{
    enum { MOST_LISTS = 65536 };
    int (*next)(long, long, long, long, long, long) = (__typeof__(next))names[MAP_PRP].next;
    bool has_count = (unsigned long)c < MOST_LISTS;
    if (has_count ? is_whole((uint64_t)e, (size_t)f) : is_whole((uint64_t)d, (size_t)e))
        return next(a, b, c, d, e, f);
    errno = EFAULT;
    return -1;
}
