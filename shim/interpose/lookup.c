/* SPDX-License-Identifier: MIT */
/* The public interface. The common case of a lookup reads the pagemap: no lock, no system call; the rest asks the
 * registry. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "anydma.h"
#include "base/log.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "dma/attachments.h"
#include "dma/counts.h"
#include "dma/devices.h"
#include "dma/eager.h"
#include "dma/pagemap.h"
#include "dma/pins.h"
#include "dma/registry.h"
#include "dma/spaces.h"
#include "dma/stats.h"
#include "interpose/lifecycle.h"
#include "interpose/lookup.h"
#include "interpose/profiler.h"
#include "interpose/summary.h"
#include "iommu/iommu.h"
#include "memory/arena.h"
#include "memory/huge.h"
#include "memory/mappings.h"
#include "profile/failures.h"

uint64_t anydma_iova(const void *addr);
int anydma_iova_range(const void *addr, size_t len, uint64_t *iova);
int anydma_segments(const void *addr, size_t len, struct anydma_segment *segs, size_t max);
void *anydma_addr(uint64_t iova);
int anydma_pin(const void *addr, size_t len);
int anydma_unpin(const void *addr, size_t len);
int anydma_attach(int fd, uint32_t ioas_id);
int anydma_detach(int fd);
int anydma_stats(struct anydma_stats *stats, size_t size);
int anydma_snapshot(const char *path);
void anydma_label_push(const char *label);
void anydma_label_pop(void);
bool anydma_active(void);
const char *anydma_version(void);

/* `va` and the bytes that follow it in one registration; registers them if need be. Returns 0 or -errno. */
__attribute__((noinline, cold)) static int ask_registry(uintptr_t va, size_t want, uint64_t *iova,
                                                        size_t *run)
{
    profile_enter();
    int error = lifecycle_is_owner() ? registry_lookup(va, want, iova, run) : -ENODEV;
    counts_lookup(error != 0);
    if (error)
        profile_record_refused(va, error);
    profile_leave();
    if (error)
        failures_note(FAILED_LOOKUP, -error, want);
    if (error)
        log_write(LOG_INFO, "no IOVA for 0x%lx: error %d (%s)", va, -error,
                  failed_reason(FAILED_LOOKUP, -error));
    return error;
}

/* The same, asked by the program: it manages itself. */
__attribute__((noinline, cold)) static int translate_cold(uintptr_t va, size_t want, uint64_t *iova,
                                                          size_t *run)
{
    if (!lifecycle_enter())
        return -ENOSYS;
    eager_note_lookup();
    return ask_registry(va, want, iova, run);
}

static inline int translate(uintptr_t va, size_t want, uint64_t *iova, size_t *run)
{
    if (pagemap_lookup_run(va, iova, run))
        return 0;
    return translate_cold(va, want, iova, run);
}

int lookup_first(uintptr_t va, size_t want, uint64_t *iova, size_t *run)
{
    if (!lifecycle_enter())
        return -ENOSYS;
    if (pagemap_lookup_run(va, iova, run))
        return 0;
    return attachments_are_there() ? ask_registry(va, want, iova, run) : -ENODEV;
}

int lookup_run(uintptr_t va, size_t want, uint64_t *iova, size_t *run)
{
    uint64_t next;
    int error = lookup_first(va, want, iova, run);
    for (size_t len; !error && *run < want; *run += len)
        if (lookup_first(va + *run, want - *run, &next, &len) != 0 || next != *iova + *run)
            break;
    if (!error && *run > want)
        *run = want;
    return error;
}

/* How many bytes from `va` on lie in the same mapping. */
static size_t mapped_behind(uintptr_t va)
{
    struct procmaps_entry entry;
    return procmaps_find(va, &entry) == 0 ? entry.end - va : 0;
}

int lookup_ahead(uintptr_t va, uint64_t *iova)
{
    enum { MOST = 4 << 20, LEAST = 64 << 10 };
    bool is_owned = arena_contains(va);
    size_t alive = MOST, run;
    if (is_owned && !page_is_mapped(mappings_at(va, &alive)))
        return -EFAULT;
    if (alive > MOST)
        alive = MOST;
    int error = is_owned ? lookup_run(va, alive, iova, &run) : lookup_first(va, alive, iova, &run);
    if (error || run >= LEAST || (is_owned && run == alive))
        return error;
    if (!is_owned)
        alive = mapped_behind(va);
    if (alive > LEAST)
        alive = LEAST;
    return lookup_run(va, alive ? alive : 1, iova, &run) == 0 && run == alive ? 0 : -ERANGE;
}

uint64_t anydma_iova(const void *addr)
{
    uint64_t iova;
    size_t run;
    if (pagemap_lookup((uintptr_t)addr, &iova))
        return iova;
    int error = translate_cold((uintptr_t)addr, 1, &iova, &run);
    if (!error)
        return iova;
    errno = -error;
    return ANYDMA_BAD_IOVA;
}

/* Writes the first `max` runs of consecutive IOVAs to `segs`, in order. Returns how many there are, or -errno. */
static int find_segments(uintptr_t va, size_t len, struct anydma_segment *segs, size_t max)
{
    struct anydma_segment current = {0, 0};
    size_t n = 0;
    if (!len || va + len < va)
        return -EINVAL;
    while (len) {
        uint64_t iova;
        size_t run;
        int error = translate(va, len, &iova, &run);
        if (error)
            return error;
        run = run < len ? run : len;
        if (current.len && current.iova + current.len == iova) {
            current.len += run;
        } else {
            n += current.len != 0;
            current = (struct anydma_segment){iova, run};
        }
        if (n < max)
            segs[n] = current;
        va += run;
        len -= run;
    }
    return n + 1 > INT32_MAX ? -EOVERFLOW : (int)(n + 1);
}

int anydma_iova_range(const void *addr, size_t len, uint64_t *iova)
{
    struct anydma_segment first;
    int n = find_segments((uintptr_t)addr, len, &first, 1);
    if (n < 0)
        return n;
    if (n > 1)
        return -ERANGE;
    *iova = first.iova;
    return 0;
}

int anydma_segments(const void *addr, size_t len, struct anydma_segment *segs, size_t max)
{
    return find_segments((uintptr_t)addr, len, segs, max);
}

void *anydma_addr(uint64_t iova)
{
    return lifecycle_enter() ? (void *)registry_address(iova) : NULL;
}

int anydma_pin(const void *addr, size_t len)
{
    if (!lifecycle_enter())
        return -ENOSYS;
    eager_note_lookup();
    profile_enter();
    int error = lifecycle_is_owner() ? pins_add((uintptr_t)addr, len) : -ENODEV;
    profile_leave();
    return error;
}

int anydma_unpin(const void *addr, size_t len)
{
    if (!lifecycle_enter())
        return -ENOSYS;
    return lifecycle_is_owner() ? pins_remove((uintptr_t)addr, len) : -ENODEV;
}

static int attach_space(int fd, uint32_t ioas_id)
{
    struct iommu iommu;
    iommufd_init(&iommu, fd, ioas_id);
    int error = devices_know(fd, ioas_id) ? -EBUSY : spaces_note(&iommu, false);
    return error == -ENODEV ? -ENOENT : error; /* none of that number, which is no end here */
}

/* Every container is simulated then: any descriptor may stand for one, or for an iommufd. */
static int attach_simulated(int fd, uint32_t ioas_id)
{
    struct iommu iommu;
    if (ioas_id && fd < 0) /* whose address spaces share what they have */
        return -EBADF;
    int error = lifecycle_init_sim(&iommu, fd, ioas_id);
    if (error)
        return error;
    error = attachments_add(&iommu);
    if (error)
        lifecycle_close_sim(&iommu);
    return error;
}

static int attach(int fd, uint32_t ioas_id)
{
    struct iommu iommu;
    if (registry_is_sim())
        return attach_simulated(fd, ioas_id);
    if (ioas_id)
        return attach_space(fd, ioas_id);
    if (iommufd_init_container(&iommu, fd))
        return devices_know(fd, 0) ? -EBUSY : spaces_note(&iommu, true);
    type1_init(&iommu, fd);
    return attachments_add(&iommu);
}

int anydma_attach(int fd, uint32_t ioas_id)
{
    int error = lifecycle_enter() ? attach(fd, ioas_id) : -ENOSYS;
    if (!error)
        devices_serve_groups();
    return error;
}

int anydma_detach(int fd)
{
    return lifecycle_enter() ? attachments_end_all(fd) : -ENOSYS;
}

int anydma_stats(struct anydma_stats *stats, size_t size)
{
    struct anydma_stats all = {0};
    if (!lifecycle_enter())
        return -ENOSYS;
    if (size < sizeof(all.size))
        return -EINVAL;
    summary_fill(&all);
    if (all.size > size)
        all.size = size;
    memset(stats, 0, size);
    memcpy(stats, &all, all.size);
    return 0;
}

int anydma_snapshot(const char *path)
{
    if (!lifecycle_enter())
        return -ENOSYS;
    int fd = os_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fd;
    int error = stats_snapshot(fd);
    int closed = os_close(fd);
    return error ? error : closed;
}

void anydma_label_push(const char *label)
{
    profile_label_push(label);
}

void anydma_label_pop(void)
{
    profile_label_pop();
}

bool anydma_active(void)
{
    if (!lifecycle_enter())
        return false;
    huge_expect_device();
    return true;
}

const char *anydma_version(void)
{
    return ANYDMA_VERSION;
}
