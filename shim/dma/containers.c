/* SPDX-License-Identifier: MIT */
/* Containers, the files that descriptors of them lead to, and what is mapped and unmapped in them. */
#include "dma/containers.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"
#include "dma/changes.h"
#include "dma/counts.h"
#include "dma/descriptors.h"
#include "dma/publish.h"
#include "profile/failures.h"
#include "profile/live.h"
#include "profile/profile.h"

static struct container containers[MAX_CONTAINERS];
static _Atomic uint32_t attached;   /* a bit for each */
static unsigned nr_pinning;         /* their files: the address spaces of one iommufd share what is pinned */
static struct iommu_info last_info; /* of the container attached last */
static uint64_t nr_seen, entries_peak;
static int deferred_by; /* the thread that could not undo something; 0: none */

/* What the program's descriptors lead to: a VFIO container, or an iommufd with its address spaces. */
struct container_file {
    bool is_used;
    int fd; /* one of them; -1: none */
};

static struct container_file files[MAX_CONTAINERS];

/* Nothing was ever noted. Not zero at first, so that it lies where a forked child writes anyway: it touches none of the above, then. */
static bool are_empty = true;

/* --- records ------------------------------------------------------------------------------------------------------- */

uint32_t containers_attached(void)
{
    return atomic_load_explicit(&attached, memory_order_relaxed);
}

struct container *container_at(unsigned index)
{
    return &containers[index];
}

unsigned container_index(const struct container *container)
{
    return (unsigned)(container - containers);
}

unsigned containers_nr_pinning(void)
{
    return nr_pinning;
}

const struct iommu_info *containers_last_info(void)
{
    return &last_info;
}

void containers_count(uint64_t *seen, uint64_t *most_entries)
{
    *seen = nr_seen;
    *most_entries = entries_peak;
}

bool container_is_space(const struct container *container)
{
    return container->is_known && container->iommu.ioas_id;
}

bool container_is_meant(const struct container *container, uint32_t ioas_id)
{
    return ioas_id ? container->iommu.ioas_id == ioas_id : container->is_default;
}

struct container *container_find(int fd, uint32_t ioas_id)
{
    const struct container_file *file = containers_file_of(fd, false);
    for (unsigned i = 0; file && i < MAX_CONTAINERS; i++) {
        struct container *container = &containers[i];
        if (container->is_known && container->file == file && container_is_meant(container, ioas_id))
            return container;
    }
    return NULL;
}

struct container *container_note(const struct iommu *iommu)
{
    unsigned index = 0;
    while (index < MAX_CONTAINERS && containers[index].is_known)
        index++;
    struct container_file *file = index < MAX_CONTAINERS ? containers_note_file(iommu->fd) : NULL;
    if (!file)
        return NULL;
    struct container *container = &containers[index];
    memset(container, 0, sizeof(*container));
    container->is_known = true;
    container->is_default = !iommu->ioas_id;
    container->file = file;
    container->iommu = *iommu;
    return container;
}

void container_forget(struct container *container)
{
    if (container->iommu.ops->close)
        container->iommu.ops->close(&container->iommu);
    container->is_known = container->has_ended = false;
    if (!container->iommu.ioas_id)
        containers_forget_file(container->file);
}

void container_make_default(const struct container *container)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (containers[i].is_known && containers[i].file == container->file)
            containers[i].is_default = &containers[i] == container;
}

static void set_attached(const struct container *container, bool is_attached)
{
    uint32_t bit = 1u << container_index(container), before = 0;
    attached = is_attached ? attached | bit : attached & ~bit;
    nr_pinning = 0;
    CONTAINERS_EACH(i, attached) {
        uint32_t file = 1u << (containers[i].file - files);
        nr_pinning += !(before & file);
        before |= file;
    }
}

void container_attach(struct container *container, const struct iommu_info *info)
{
    container->info = *info;
    container->max_entries = info->nr_entries;
    container->attached = true;
    set_attached(container, true);
    last_info = *info;
    nr_seen++;
}

void container_withdraw(struct container *container)
{
    set_attached(container, false);
}

void container_detach(struct container *container)
{
    container->attached = false;
}

bool container_look_at(struct container *container, struct iommu_info *info)
{
    int error = container->iommu.ops->query(&container->iommu, info);
    container->has_ended |= error == -ENODEV;
    return !error;
}

/* The IOMMU goes, and every mapping with it, with the last group: when that, its devices and their mappings are closed. */
bool container_is_gone(struct container *container)
{
    struct iommu_info info;
    if (!container->has_ended)
        container_look_at(container, &info);
    return container->has_ended;
}

void container_look_again(struct container *container)
{
    container->iommu.ops->query(&container->iommu, &container->info);
    container->info.nr_entries = container->max_entries;
}

/* --- what is mapped in them ---------------------------------------------------------------------------------------- */

static void publish(void)
{
    uint64_t nr = 0, used = 0, limit = UINT64_MAX;
    bool is_per_user = false;
    CONTAINERS_EACH(i, attached) {
        const struct container *container = &containers[i];
        nr++;
        used = container->nr_entries > used ? container->nr_entries : used;
        limit = container->info.nr_entries < limit ? container->info.nr_entries : limit;
        is_per_user |= container->info.is_per_user;
    }
    publish_numbers(nr, used, nr ? limit : last_info.nr_entries, is_per_user);
}

void containers_changed(void)
{
    if (__builtin_expect(live_page != NULL, 0))
        publish();
}

void container_count_entries(struct container *container, int change)
{
    container->nr_entries += (uint64_t)change;
    if (container->nr_entries > entries_peak)
        entries_peak = container->nr_entries;
}

bool container_can_reach(const struct container *container, uint64_t iova, uint64_t len)
{
    for (unsigned i = 0; i < container->info.nr_ranges; i++) {
        const struct iommu_range *range = &container->info.ranges[i];
        if (iova >= range->start && iova + (len - 1) >= iova && iova + (len - 1) <= range->last)
            return true;
    }
    return false;
}

static struct profile_mapping profile_of(const struct registration *reg, const struct container *container,
                                         uintptr_t start, size_t len)
{
    return (struct profile_mapping){.owner = OWNER_ANYDMA,
                                    .container = container_index(container),
                                    .site = reg->site,
                                    .va = start,
                                    .len = len,
                                    .iova = reg->iova + (start - reg->start),
                                    .began_ns = profile_now()};
}

/* Another address space of the same iommufd that has all of it: its pages are shared. */
static const struct container *find_sharer(const struct registration *reg, const struct container *container)
{
    uint32_t others = reg->mapped & ~reg->divided & ~(1u << container_index(container));
    CONTAINERS_EACH(i, others)
        if (containers[i].file == container->file)
            return &containers[i];
    return NULL;
}

/* All of it, or a piece. */
static int map_in(struct container *container, const struct registration *reg, uintptr_t start, size_t len)
{
    struct profile_mapping profile = profile_of(reg, container, start, len);
    struct iommu *iommu = &container->iommu;
    const struct container *sharer = len == reg->len ? find_sharer(reg, container) : NULL;
    if (!container_can_reach(container, profile.iova, len))
        return -EADDRNOTAVAIL;
    counts_map(COUNTS_OURS);
    int error = sharer && iommu->ops->copy ? iommu->ops->copy(iommu, &sharer->iommu, profile.iova, len)
                                           : iommu->ops->map(iommu, profile.iova, start, len);
    if (error == -EINVAL && container_is_gone(container))
        error = -ENODEV;
    profile.error = error;
    profile_record_map(&profile);
    if (error) {
        counts_map_failed(COUNTS_OURS);
        failures_note(FAILED_MAP, -error, len);
        return error;
    }
    container_count_entries(container, 1);
    if (!sharer)
        counts_pin(COUNTS_OURS, len);
    containers_changed();
    return 0;
}

static int map_whole(struct container *container, struct registration *reg)
{
    int error = map_in(container, reg, reg->start, reg->len);
    if (!error)
        registration_set_mapped(reg, container_index(container), true);
    return error;
}

static int map_piece(struct container *container, struct registration *reg, uintptr_t start, size_t len)
{
    struct piece *piece = registration_add_piece(reg, container_index(container), start, len);
    int error = piece ? map_in(container, reg, start, len) : -ENOMEM;
    if (piece && error)
        registration_remove_piece(reg, piece);
    return error;
}

int containers_map(struct registration *reg)
{
    uint32_t had = reg->mapped;
    CONTAINERS_EACH(i, attached & ~reg->mapped) {
        int error = map_whole(&containers[i], reg);
        if (!error)
            continue;
        for (unsigned undo = 0; undo < i; undo++)
            if ((reg->mapped & ~had) & 1u << undo)
                container_unmap(&containers[undo], reg);
        return error;
    }
    changes_tell(reg->start, reg->len, MEMORY_REGISTERED);
    return 0;
}

static int map_lacking(struct container *container, struct registration *reg, uintptr_t start, uintptr_t end)
{
    int error = 0;
    for (uintptr_t va = start, next; va < end && !error; va = next) {
        const struct piece *piece = registration_piece(reg, container_index(container), va);
        bool is_there = piece && piece->start <= va;
        next = is_there ? piece->start + piece->len : piece && piece->start < end ? piece->start : end;
        error = is_there ? 0 : map_piece(container, reg, va, next - va);
    }
    return error;
}

int containers_map_part(struct registration *reg, uintptr_t start, uintptr_t end)
{
    int error = 0;
    CONTAINERS_EACH(i, error ? 0 : attached & ~(reg->mapped & ~reg->divided))
        error = map_lacking(&containers[i], reg, start, end);
    changes_tell(reg->start, reg->len, MEMORY_REGISTERED);
    return error;
}

static void set_aside(struct registration *reg, int error, const struct profile_mapping *what,
                      uint64_t unmapped)
{
    counts_unmap_failed(COUNTS_OURS);
    failures_note(FAILED_UNMAP, error ? -error : EIO, what->len);
    log_write(LOG_ERROR,
              "unmapping IOVA 0x%lx, %lu bytes, undid %lu (error %d): the memory at 0x%lx is set aside "
              "and never used "
              "again; report this",
              what->iova, what->len, unmapped, -error, what->va);
    reg->is_stuck = true;
}

static bool unmap_in(struct container *container, struct registration *reg, uintptr_t start, size_t len)
{
    uint64_t unmapped = 0;
    counts_unmap(COUNTS_OURS);
    struct profile_mapping profile = profile_of(reg, container, start, len);
    int error = container->iommu.ops->unmap(&container->iommu, profile.iova, len, &unmapped);
    if (error && container_is_gone(container))
        error = 0, unmapped = len;
    profile.error = error ? error : unmapped != len ? -EIO : 0;
    profile_record_unmap(&profile);
    if (error == -EBADF) {
        reg->is_stuck = reg->is_deferred = true;
        deferred_by = os_gettid();
    } else if (error || unmapped != len) {
        set_aside(reg, error, &profile, unmapped);
    }
    return !profile.error;
}

/* One mapping of it, whole (`piece` is NULL) or not. */
static bool end_mapping(struct container *container, struct registration *reg, struct piece *piece,
                        bool is_gone)
{
    uintptr_t start = piece ? piece->start : reg->start;
    size_t len = piece ? piece->len : reg->len;
    if (!is_gone && !unmap_in(container, reg, start, len))
        return false;
    if (piece)
        registration_remove_piece(reg, piece);
    else
        registration_set_mapped(reg, container_index(container), false);
    container_count_entries(container, -1);
    if (piece || !find_sharer(reg, container))
        counts_unpin(COUNTS_OURS, len);
    containers_changed();
    return true;
}

static bool end_mappings(struct container *container, struct registration *reg, bool is_gone)
{
    unsigned index = container_index(container);
    struct piece *piece;
    do {
        piece = registration_piece(reg, index, 0);
        if (!end_mapping(container, reg, piece, is_gone))
            return false;
    } while (reg->divided & 1u << index);
    changes_tell(reg->start, reg->len, MEMORY_REGISTERED);
    return true;
}

void container_was_unmapped(struct container *container, struct registration *reg)
{
    end_mappings(container, reg, true);
}

bool container_unmap(struct container *container, struct registration *reg)
{
    return end_mappings(container, reg, false);
}

bool containers_unmap(struct registration *reg)
{
    CONTAINERS_EACH(i, reg->mapped)
        container_unmap(&containers[i], reg);
    return !reg->is_stuck;
}

/* A thread that has given up the descriptors it shared (unshare, close_range) can't undo what it lets go: others do. */
bool containers_take_deferred(void)
{
    if (!deferred_by || deferred_by == os_gettid())
        return false;
    deferred_by = 0;
    return true;
}

/* --- descriptors --------------------------------------------------------------------------------------------------- */

/* The file behind a descriptor that came by a way that nobody saw. */
static struct container_file *recognise(int fd)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct container_file *file = &files[i];
        if (file->is_used && file->fd >= 0 && descriptors_are_one(file->fd, fd))
            return descriptors_note(fd, DESCRIPTOR_CONTAINER, file) ? file : NULL;
    }
    return NULL;
}

struct container_file *containers_file_of(int fd, bool recognises)
{
    enum descriptor_kind kind;
    void *file;
    if (descriptors_find(fd, &kind, &file) && kind == DESCRIPTOR_CONTAINER)
        return file;
    return recognises ? recognise(fd) : NULL;
}

/* Or one that no descriptor is known of. */
struct container_file *containers_note_file(int fd)
{
    struct container_file *file = fd >= 0 ? containers_file_of(fd, false) : NULL;
    for (unsigned i = 0; !file && i < MAX_CONTAINERS; i++)
        file = files[i].is_used ? NULL : &files[i];
    if (!file || (fd >= 0 && !file->is_used && !descriptors_note(fd, DESCRIPTOR_CONTAINER, file)))
        return NULL;
    file->fd = fd;
    file->is_used = true;
    are_empty = false;
    return file;
}

void containers_forget_file(struct container_file *file)
{
    descriptors_forget_all(file);
    file->is_used = false;
}

struct container_file *containers_next_file(struct container_file *file)
{
    for (file = file ? file + 1 : files; file < files + MAX_CONTAINERS; file++)
        if (file->is_used)
            return file;
    return NULL;
}

int containers_descriptor(const struct container_file *file)
{
    return file->fd;
}

/* Another descriptor of the file's: one that nobody saw coming, if need be. */
static int other_descriptor(const struct container_file *file, int fd, int first, int last)
{
    int other = descriptors_other(file, fd);
    if (other < 0 && descriptors_look_for_others(fd, first, last))
        other = descriptors_other(file, fd);
    return other;
}

struct container_file *containers_file_ends(struct container_file *file, int fd, int first, int last)
{
    int other = other_descriptor(file, fd, first, last);
    if (other < 0)
        return file;
    file->fd = other;
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (containers[i].is_known && containers[i].file == file)
            containers[i].iommu.fd = other;
    descriptors_forget(fd);
    return NULL;
}

bool containers_reset(void)
{
    descriptors_reset();
    if (are_empty)
        return false;
    bool was_attached = attached != 0;
    are_empty = true;
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        containers[i].attached = containers[i].is_known = false;
        RB_INIT(&containers[i].app_maps);
        files[i].is_used = false;
    }
    attached = 0;
    deferred_by = 0;
    nr_seen = entries_peak = 0;
    return was_attached;
}
