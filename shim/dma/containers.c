/* SPDX-License-Identifier: MIT */
/* Attached containers and the program's descriptors of them. Every container holds the same registrations. Under
 * LOCK_REGISTRY. */
#include <errno.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/containers.h"
#include "dma/descriptors.h"
#include "dma/eager.h"
#include "dma/pagemap.h"
#include "dma/registration.h"
#include "profile/failures.h"
#include "profile/profile.h"

static struct container containers[MAX_CONTAINERS];
static _Atomic uint32_t attached; /* a bit for each */
static unsigned nr_pinning;       /* their files: the address spaces of one iommufd share what is pinned */
/* A group or a device was closed: a container may end unseen, with a mapping of the device. */
static _Atomic bool is_in_doubt;
static struct iommu_info last_info; /* of the container attached last */
static uint64_t nr_seen, entries_peak;

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

bool containers_may_know(int fd)
{
    return descriptors_may_know(fd);
}

bool registry_is_attached(void)
{
    return atomic_load_explicit(&attached, memory_order_relaxed) != 0;
}

/* What the program's descriptors lead to: a VFIO container, or an iommufd with its address spaces. */
struct container_file {
    bool is_used;
    int fd; /* one of them; -1: none */
};

static struct container_file files[MAX_CONTAINERS];

static struct container_file *file_of(int fd)
{
    enum descriptor_kind kind;
    void *file;
    return descriptors_find(fd, &kind, &file) && kind == DESCRIPTOR_CONTAINER ? file : NULL;
}

static bool is_meant(const struct container *container, uint32_t ioas_id)
{
    return ioas_id ? container->iommu.ioas_id == ioas_id : container->is_default;
}

struct container *container_find(int fd, uint32_t ioas_id)
{
    const struct container_file *file = file_of(fd);
    for (unsigned i = 0; file && i < MAX_CONTAINERS; i++) {
        struct container *container = &containers[i];
        if (container->is_known && container->file == file && is_meant(container, ioas_id))
            return container;
    }
    return NULL;
}

void container_count_entries(struct container *container, int change)
{
    container->nr_entries += (uint64_t)change;
    if (container->nr_entries > entries_peak)
        entries_peak = container->nr_entries;
}

static const char *why(int error)
{
    return error == -EFAULT || error == -EINPROGRESS ? "a part of it is not readable and writable now"
           : error == -ENOMEM                        ? "the memlock limit; raise `ulimit -l`"
           : error == -ENOSPC        ? "its table of mappings is full; raise vfio_iommu_type1.dma_entry_limit"
           : error == -EADDRNOTAVAIL ? "it lies outside its aperture"
           : error == -EEXIST        ? "the application has mapped something there"
                                     : "see errno.h";
}

/* Maps what is owed or registered elsewhere. Returns a failure, -EINPROGRESS before any other. */
static int map_existing(void)
{
    int first = 0;
    bool is_short = false;
    struct registration *reg = registration_from(0), *next;
    for (; reg; reg = next) {
        next = registration_next(reg);
        if (reg->mapped == attached || reg->is_stuck || registration_has_ended(reg))
            continue;
        if (!is_short) /* what was cut for want of room stays cut */
            registration_gather(reg);
        next = registration_next(reg);
        pagemap_clear(reg->start, reg->len);
        int error = pagemap_mark_pinned(reg->start, reg->len);
        if (!error)
            error = registration_complete(reg);
        if (!error)
            pagemap_mark_whole(reg->start, reg->len);
        uintptr_t start = reg->start;
        is_short |= error == -ENOMEM || error == -EADDRNOTAVAIL;
        if (error == -EFAULT ? registration_plan_again(reg) : is_short && error && lump_halve(reg)) {
            next = registration_from(start);
            continue;
        }
        first = first && error != -EINPROGRESS ? first : error;
    }
    return first;
}

/* What the container can't take loses its promise, loudly. */
static void tell_unmapped(void)
{
    enum { MOST_TOLD = 3 };
    unsigned nr = 0;
    for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg)) {
        int error = reg->mapped == attached || reg->is_stuck ? 0 : registration_complete(reg);
        if (error && nr++ < MOST_TOLD)
            log_write(LOG_ERROR,
                      "0x%lx (%lu bytes), whose IOVA was handed out before, can't be mapped in the container "
                      "just attached "
                      "(error %d: %s); its lookups are refused until it can be. Attach the device before "
                      "looking up",
                      reg->start, reg->len, -error, why(error));
    }
    if (nr > MOST_TOLD)
        log_write(LOG_ERROR, "and so it is with %u more", nr - MOST_TOLD);
}

static void map_everything(void)
{
    unsigned tries = 0;
    int error;
    do
        error = map_existing();
    while (registration_try_again(&error, &tries));
    if (error)
        tell_unmapped();
}

/* --- records ----------------------------------------------------------------------------------------------------- */

/* The file behind a descriptor, or one that no descriptor is known of; NULL: there are too many. */
static struct container_file *note_file(int fd)
{
    struct container_file *file = fd >= 0 ? file_of(fd) : NULL;
    for (unsigned i = 0; !file && i < MAX_CONTAINERS; i++)
        file = files[i].is_used ? NULL : &files[i];
    if (!file || (fd >= 0 && !file->is_used && !descriptors_note(fd, DESCRIPTOR_CONTAINER, file)))
        return NULL;
    file->fd = fd;
    file->is_used = true;
    return file;
}

static void forget_file(struct container_file *file)
{
    descriptors_forget_all(file);
    file->is_used = false;
}

static struct container *note_container(const struct iommu *iommu)
{
    unsigned index = 0;
    while (index < MAX_CONTAINERS && containers[index].is_known)
        index++;
    struct container_file *file = index < MAX_CONTAINERS ? note_file(iommu->fd) : NULL;
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

static bool is_space(const struct container *container)
{
    return container->is_known && container->iommu.ioas_id;
}

/* --- attaching and detaching -------------------------------------------------------------------------------------- */

static void set_attached(const struct container *container, bool is_attached)
{
    uint32_t bit = 1u << container_index(container), before = 0;
    attached = is_attached ? attached | bit : attached & ~bit;
    nr_pinning = 0;
    for (unsigned i = next_container(attached, 0); i < MAX_CONTAINERS; i = next_container(attached, i + 1)) {
        uint32_t file = 1u << (containers[i].file - files);
        nr_pinning += !(before & file);
        before |= file;
    }
}

/* A device is behind it from now on. */
static void bring_in(struct container *container, const struct iommu_info *info)
{
    unsigned index = container_index(container);
    const struct iommu *iommu = &container->iommu;
    container->info = *info;
    container->max_entries = info->nr_entries;
    container->attached = true;
    set_attached(container, true);
    registry_has_device();
    last_info = container->info;
    failures_set_counter(info->counter);
    nr_seen++;
    log_write(LOG_INFO, "attached %s container %d: IOVAs 0x%lx to 0x%lx, %lu mappings", iommu->ops->name,
              iommu->fd, container->info.ranges[0].start,
              container->info.ranges[container->info.nr_ranges ? container->info.nr_ranges - 1 : 0].last,
              container->max_entries);
    live_open();
    registry_changed();
    profile_record_attach(
        index, iommu->ops->name, container->max_entries, container->info.ranges[0].start,
        container->info.ranges[container->info.nr_ranges ? container->info.nr_ranges - 1 : 0].last);
    application_attached(container);
    application_join(container);
    map_everything();
    if (config.mode == MODE_EAGER || application_wants_eager(container))
        eager_start();
}

static int attach_locked(const struct iommu *iommu)
{
    struct iommu asked = *iommu;
    struct iommu_info info;
    int error = iommu->ops->query(&asked, &info);
    if (error)
        return error;
    struct container *container = note_container(iommu);
    if (!container)
        return -EMFILE;
    if (!info.is_idle)
        bring_in(container, &info);
    return 0;
}

/* The IOMMU goes, and every mapping with it, with the last group: when that, its devices and their mappings are closed. */
bool container_is_gone(struct container *container)
{
    struct iommu_info info;
    if (!container->has_ended)
        container->has_ended = container->iommu.ops->query(&container->iommu, &info) == -ENODEV;
    return container->has_ended;
}

/* Unmaps everything of ours from the container. Registrations left in no container end. */
static void withdraw(struct container *container)
{
    unsigned index = container_index(container);
    bool gone = container_is_gone(container);
    struct registration *reg = registration_from(0), *next;
    set_attached(container, false);
    for (; reg; reg = next) {
        uintptr_t start = reg->start;
        size_t len = reg->len;
        next = registration_next(reg);
        bool is_last = reg->mapped == 1u << index;
        if (!(reg->mapped & 1u << index))
            continue;
        if (is_last)
            pagemap_clear(start, len);
        if (gone || !registration_unmap_in(reg, index)) /* refused: stuck, but no longer this slot's */
            registration_was_undone(reg, index);
        if (is_last && registration_undo(reg))
            registration_released(start, len);
    }
}

static void mark_detached(struct container *container)
{
    profile_record_detach(container_index(container));
    container->attached = false;
    if (!attached) {
        is_in_doubt = false;
        iova_come_together();
        eager_end();
    }
}

/* Its last device is gone; the address space stays, with what the application has mapped there. */
static void take_out(struct container *container)
{
    log_write(LOG_INFO, "no device is attached to address space %u any more: nothing is registered there",
              container->iommu.ioas_id);
    withdraw(container);
    application_detached(container);
    mark_detached(container);
}

/* Forgets the container, and all that is in it. */
static void detach_locked(struct container *container)
{
    if (container->attached)
        withdraw(container);
    application_forget_container(container);
    if (container->attached)
        mark_detached(container);
    if (container->iommu.ops->close)
        container->iommu.ops->close(&container->iommu);
    container->is_known = container->has_ended = false;
    if (!container->iommu.ioas_id)
        forget_file(container->file);
}

static void detach_file(struct container_file *file)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (containers[i].is_known && containers[i].file == file)
            detach_locked(&containers[i]);
    forget_file(file);
}

void containers_reap(void)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct container *container = &containers[i];
        if (!container->is_known || !container->has_ended)
            continue;
        log_write(LOG_INFO, "container %d has lost its IOMMU: what was registered there is not any more",
                  container->iommu.fd);
        detach_locked(container);
    }
}

/* What has become of a container; its IOMMU may have ended. Returns false when that can't be told. */
static bool look_at(struct container *container, struct iommu_info *info)
{
    int error = container->iommu.ops->query(&container->iommu, info);
    container->has_ended |= error == -ENODEV;
    return !error;
}

static void look_at_all(void)
{
    struct iommu_info info;
    for (unsigned i = next_container(attached, 0); i < MAX_CONTAINERS; i = next_container(attached, i + 1))
        if (look_at(&containers[i], &info) && info.is_idle)
            take_out(&containers[i]);
    containers_reap();
}

void containers_look(void)
{
    if (is_in_doubt)
        look_at_all();
}

int registry_attach(const struct iommu *iommu)
{
    registry_enter();
    struct container *known = iommu->fd >= 0 ? container_find(iommu->fd, iommu->ioas_id) : NULL;
    if (known && container_is_gone(known)) {
        detach_locked(known);
        known = NULL;
    }
    int error = known ? -EBUSY : attach_locked(iommu);
    registry_leave();
    return error;
}

int registry_iommu_was_set(const struct iommu *iommu)
{
    registry_enter();
    struct container *known = container_find(iommu->fd, iommu->ioas_id);
    if (known) {
        known->has_ended = true;
        containers_reap();
    }
    int error = attach_locked(iommu);
    registry_leave();
    return error;
}

int registry_detach(int fd, uint32_t ioas_id)
{
    registry_enter();
    struct container *container = container_find(fd, ioas_id);
    if (container)
        detach_locked(container);
    registry_exit();
    return container ? 0 : -ENOENT;
}

int registry_detach_fd(int fd)
{
    registry_enter();
    struct container_file *file = file_of(fd);
    if (file)
        detach_file(file);
    registry_exit();
    return file ? 0 : -ENOENT;
}

/* --- descriptors ------------------------------------------------------------------------------------------------- */

/* Another descriptor of the file's: one that nobody saw coming, if need be. */
static int other_descriptor(const struct container_file *file, int fd, int first, int last)
{
    int other = descriptors_other(file, fd);
    if (other < 0 && descriptors_look_for_others(fd, first, last))
        other = descriptors_other(file, fd);
    return other;
}

static void file_closing(struct container_file *file, int fd, int first, int last)
{
    int other = other_descriptor(file, fd, first, last);
    if (other < 0) {
        detach_file(file);
        return;
    }
    file->fd = other;
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (containers[i].is_known && containers[i].file == file)
            containers[i].iommu.fd = other;
    descriptors_forget(fd);
}

/* One of those that are about to be closed. */
static void closing(int fd, int first, int last)
{
    enum descriptor_kind kind;
    void *object;
    if (!descriptors_find(fd, &kind, &object))
        return;
    if (kind == DESCRIPTOR_CONTAINER)
        file_closing(object, fd, first, last);
    else
        descriptors_forget(fd);
    is_in_doubt = attached != 0;
    if (kind == DESCRIPTOR_UNSERVED && !descriptors_count(kind))
        log_write(LOG_INFO,
                  "the last device that anydma does not serve is closed: lookups are answered again");
}

void containers_closing(int first, int last)
{
    registry_enter();
    for (int fd = descriptors_from(first); fd >= 0 && fd <= last; fd = descriptors_from(fd + 1))
        closing(fd, first, last);
    registry_leave();
}

void containers_closed(void)
{
    registry_enter();
    containers_look();
    registry_leave();
}

void containers_note_device(int fd)
{
    registry_enter();
    descriptors_note(fd, DESCRIPTOR_DEVICE, NULL);
    registry_exit();
}

/* Notes it as what another descriptor of the same file is. */
static bool is_same_as_known(int fd)
{
    enum descriptor_kind kind;
    void *object;
    for (int other = descriptors_from(0); other >= 0; other = descriptors_from(other + 1))
        if (descriptors_are_one(other, fd) && descriptors_find(other, &kind, &object))
            return descriptors_note(fd, kind, object);
    return false;
}

bool containers_know_device(int fd)
{
    registry_enter();
    bool is_known = descriptors_find(fd, NULL, NULL) || is_same_as_known(fd);
    registry_exit();
    return is_known;
}

void containers_duplicated(int old_fd, int new_fd)
{
    enum descriptor_kind kind;
    void *object;
    registry_enter();
    if (old_fd != new_fd && descriptors_find(old_fd, &kind, &object))
        descriptors_note(new_fd, kind, object);
    registry_exit();
}

/* The file behind a descriptor that came by a way that nobody saw. */
static bool recognise(int fd)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        struct container_file *file = &files[i];
        if (file->is_used && file->fd >= 0 && descriptors_are_one(file->fd, fd))
            return descriptors_note(fd, DESCRIPTOR_CONTAINER, file);
    }
    return false;
}

bool containers_know(int fd, uint32_t ioas_id)
{
    registry_enter();
    bool is_known = container_find(fd, ioas_id) || (recognise(fd) && container_find(fd, ioas_id));
    registry_exit();
    return is_known;
}

/* --- address spaces ------------------------------------------------------------------------------------------------ */

bool containers_note_iommufd(int fd)
{
    registry_enter();
    bool is_known = file_of(fd) || recognise(fd) || note_file(fd);
    registry_exit();
    return is_known;
}

static void make_default(const struct container *container)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (containers[i].is_known && containers[i].file == container->file)
            containers[i].is_default = &containers[i] == container;
}

int containers_note_space(const struct iommu *space, bool is_default)
{
    registry_enter();
    if (!file_of(space->fd))
        recognise(space->fd);
    struct container *container = container_find(space->fd, space->ioas_id);
    int error = container ? 0 : attach_locked(space);
    container = error ? NULL : container_find(space->fd, space->ioas_id);
    if (container && is_default)
        make_default(container);
    registry_leave();
    return error;
}

void containers_find_space(uint32_t ioas_id)
{
    registry_enter();
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        const struct container_file *file = &files[i];
        struct iommu space;
        if (!file->is_used || file->fd < 0 || container_find(file->fd, ioas_id))
            continue;
        iommufd_init(&space, file->fd, ioas_id);
        attach_locked(&space);
    }
    registry_leave();
}

/* Those that a device was attached to first: what the others lose may be wanted there. */
void containers_devices_changed(void)
{
    struct iommu_info info;
    registry_enter();
    for (int is_losing = 0; is_losing < 2; is_losing++)
        for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
            struct container *container = &containers[i];
            if (!is_space(container) || !look_at(container, &info))
                continue;
            if (!info.is_idle && !container->attached)
                bring_in(container, &info);
            else if (!info.is_idle)
                container->info = info;
            else if (container->attached && is_losing)
                take_out(container);
        }
    registry_leave();
}

bool containers_serve_space(uint32_t ioas_id)
{
    bool is_there = false, is_served = false;
    registry_enter();
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        const struct container *container = &containers[i];
        if (!is_space(container) || !is_meant(container, ioas_id))
            continue;
        is_there = true;
        is_served |= container->attached;
    }
    is_served |= !is_there && !ioas_id;
    for (unsigned i = 0; !is_there && i < MAX_CONTAINERS; i++)
        is_served |= is_space(&containers[i]) && containers[i].attached;
    registry_exit();
    return is_served;
}

/* --- what is not served -------------------------------------------------------------------------------------------- */

static const char *const unserved_names[] = {
    [UNSERVED_IOMMUFD] = "by /dev/iommu and its character device",
    [UNSERVED_GROUP] = "of a container that another process has set up",
    [UNSERVED_TYPE] = "in a container whose IOMMU is not of type 1, or that ANYDMA_IOMMU keeps apart",
    [UNSERVED_VDPA] = "by vDPA",
};

/* No lookup may be answered without asking from here on. */
static unsigned withdraw_answers(void)
{
    unsigned nr_handed = 0;
    for (struct registration *reg = registration_from(0); reg; reg = registration_next(reg)) {
        pagemap_clear(reg->start, reg->len);
        nr_handed += reg->handed;
    }
    return nr_handed;
}

void containers_note_unserved(int fd, enum unserved what)
{
    registry_enter();
    bool is_first = !descriptors_count(DESCRIPTOR_UNSERVED);
    enum descriptor_kind kind;
    bool is_known = descriptors_find(fd, &kind, NULL) && kind == DESCRIPTOR_UNSERVED;
    if (!is_known && descriptors_note(fd, DESCRIPTOR_UNSERVED, (void *)unserved_names[what]) && is_first) {
        unsigned nr_handed = withdraw_answers();
        log_write(LOG_WARNING,
                  "the program opens a device %s (descriptor %d), which anydma does not serve: while it is "
                  "open lookups "
                  "say ENODEV, and IOVAs that were looked up before (%u ranges) lead it nowhere",
                  unserved_names[what], fd, nr_handed);
    }
    registry_exit();
}

void containers_serve_groups(void)
{
    registry_enter();
    for (int fd; (fd = descriptors_other(unserved_names[UNSERVED_GROUP], -1)) >= 0;)
        descriptors_note(fd, DESCRIPTOR_DEVICE, NULL);
    registry_exit();
}

void registry_mapping_left(void)
{
    if (!atomic_load_explicit(&is_in_doubt, memory_order_relaxed))
        return;
    registry_enter();
    containers_look();
    registry_leave();
}

/* Which containers an attach concerns: one, or all that are address spaces. */
static uint32_t concerned(int fd, uint32_t ioas_id)
{
    const struct container *one = fd >= 0 ? container_find(fd, ioas_id) : NULL;
    uint32_t set = 0;
    for (unsigned i = next_container(attached, 0); i < MAX_CONTAINERS; i = next_container(attached, i + 1))
        if (fd < 0 ? is_space(&containers[i]) : &containers[i] == one)
            set |= 1u << i;
    return set;
}

bool registry_make_way(int fd, uint32_t ioas_id)
{
    bool has_made_way = false;
    registry_enter();
    uint32_t set = concerned(fd, ioas_id);
    for (struct registration *reg = registration_from(0); set && reg; reg = registration_next(reg)) {
        if (!(reg->mapped & set))
            continue;
        pagemap_clear(reg->start, reg->len);
        for (unsigned i = next_container(reg->mapped & set, 0); i < MAX_CONTAINERS;
             i = next_container(reg->mapped & set, i + 1))
            has_made_way |= registration_unmap_in(reg, i);
    }
    registry_exit();
    return has_made_way;
}

void registry_restore(int fd, uint32_t ioas_id)
{
    registry_enter();
    uint32_t set = concerned(fd, ioas_id);
    for (unsigned i = next_container(set, 0); i < MAX_CONTAINERS; i = next_container(set, i + 1)) {
        struct container *container = &containers[i];
        container->iommu.ops->query(&container->iommu, &container->info);
        container->info.nr_entries = container->max_entries;
    }
    if (set)
        map_everything();
    registry_exit();
}

void containers_reset(void)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        containers[i].attached = containers[i].is_known = false;
        RB_INIT(&containers[i].app_maps);
        files[i].is_used = false;
    }
    attached = 0;
    is_in_doubt = false;
    iova_come_together();
    nr_seen = entries_peak = 0;
    descriptors_reset();
}

bool registry_is_sim(void)
{
    return config.iommu == IOMMU_SIM;
}
