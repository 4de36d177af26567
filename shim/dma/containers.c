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
#include "profile/profile.h"

bool containers_may_know(int fd)
{
    return descriptors_may_know(fd);
}

bool registry_is_attached(void)
{
    return __atomic_load_n(&registry.attached, __ATOMIC_RELAXED) != 0;
}

/* --- by descriptor and IOAS ---------------------------------------------------------------------------------------- */

/* What the program's descriptors lead to: a container, or an iommufd with any number of IOASs. */
struct container_file {
    unsigned nr_containers; /* attached; 0: not in use */
};

static struct container_file files[MAX_CONTAINERS];

static struct container *next_of_file(const struct container_file *file, unsigned from)
{
    unsigned i = next_container(registry.attached, from);
    while (i < MAX_CONTAINERS && registry.containers[i].file != file)
        i = next_container(registry.attached, i + 1);
    return i < MAX_CONTAINERS ? &registry.containers[i] : NULL;
}

static unsigned index_of(const struct container *container)
{
    return (unsigned)(container - registry.containers);
}

static struct container_file *file_of(int fd)
{
    enum descriptor_kind kind;
    void *file;
    return descriptors_find(fd, &kind, &file) && kind == DESCRIPTOR_CONTAINER ? file : NULL;
}

/* The same for a descriptor that came by a way that nobody saw, which is known from here on. */
static struct container_file *recognise(int fd)
{
    for (unsigned i = next_container(registry.attached, 0); i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1)) {
        struct container *container = &registry.containers[i];
        if (!container->file || !descriptors_are_one(container->iommu.fd, fd))
            continue;
        descriptors_note(fd, DESCRIPTOR_CONTAINER, container->file);
        return container->file;
    }
    return NULL;
}

static struct container *of_file(const struct container_file *file, uint32_t ioas_id)
{
    struct container *container = file ? next_of_file(file, 0) : NULL;
    while (container && container->iommu.ioas_id != ioas_id)
        container = next_of_file(file, index_of(container) + 1);
    return container;
}

struct container *container_find(int fd, uint32_t ioas_id)
{
    return of_file(file_of(fd), ioas_id);
}

bool containers_know(int fd, uint32_t ioas_id)
{
    lock_take(&registry.lock);
    struct container_file *file = file_of(fd);
    bool is_known = of_file(file ? file : recognise(fd), ioas_id);
    lock_release(&registry.lock);
    return is_known;
}

/* Gives the container what its descriptor leads to. */
static int join_file(struct container *container)
{
    int fd = container->iommu.fd;
    struct container_file *file = file_of(fd);
    if (!file)
        file = recognise(fd);
    for (unsigned i = 0; !file; i++)
        file = files[i].nr_containers ? NULL : &files[i];
    if (!descriptors_note(fd, DESCRIPTOR_CONTAINER, file))
        return -ENOMEM;
    container->file = file;
    file->nr_containers++;
    return 0;
}

static void leave_file(struct container *container)
{
    struct container_file *file = container->file;
    container->file = NULL;
    if (file && --file->nr_containers == 0)
        descriptors_forget_all(file);
}

/* --- attaching ----------------------------------------------------------------------------------------------------- */

void container_count_entries(struct container *container, int change)
{
    container->nr_entries += (uint64_t)change;
    if (container->nr_entries > registry.count.entries_peak)
        registry.count.entries_peak = container->nr_entries;
}

/* Memory that anydma did not place may be gone, with nobody having asked since: its registration ends now. */
static bool has_ended(struct registration *reg)
{
    uintptr_t start = reg->start, unit;
    size_t len;
    if (registry.memory->is_owned(start))
        return false;
    registry.memory->intact(start, &unit, &len);
    registration_settle(reg);
    struct registration *now = registration_from(start);
    return !now || now->start != start;
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
    struct registration *reg = registration_from(0), *next;
    for (; reg; reg = next) {
        next = registration_next(reg);
        if (reg->mapped == registry.attached || reg->is_stuck || has_ended(reg))
            continue;
        pagemap_clear(reg->start, reg->len);
        int error = pagemap_mark_pinned(reg->start, reg->len);
        if (!error)
            error = registration_complete(reg);
        if (!error)
            pagemap_mark_whole(reg->start, reg->len);
        uintptr_t start = reg->start;
        if (error == -EFAULT && registration_plan_again(reg)) {
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
        int error = reg->mapped == registry.attached || reg->is_stuck ? 0 : registration_complete(reg);
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

static int attach_locked(const struct iommu *iommu)
{
    unsigned index = 0;
    while (index < MAX_CONTAINERS && registry.containers[index].attached)
        index++;
    if (index == MAX_CONTAINERS)
        return -EMFILE;
    struct container *container = &registry.containers[index];
    memset(container, 0, sizeof(*container));
    container->iommu = *iommu;
    int error = iommu->ops->query(&container->iommu, &container->info);
    if (error)
        return error;
    container->max_entries = container->info.nr_entries;
    if (iommu->fd >= 0 && (error = join_file(container)) != 0)
        return error;
    container->attached = true;
    registry.attached |= 1u << index;
    registry.had_parents = false;
    registry.last_info = container->info;
    registry.count.containers_seen++;
    log_write(LOG_INFO, "attached %s container %d: IOVAs 0x%lx to 0x%lx, %lu mappings", iommu->ops->name,
              iommu->fd, container->info.ranges[0].start,
              container->info.ranges[container->info.nr_ranges ? container->info.nr_ranges - 1 : 0].last,
              container->max_entries);
    live_open();
    registry_changed();
    profile_record_attach(
        index, iommu->ops->name, container->max_entries, container->info.ranges[0].start,
        container->info.ranges[container->info.nr_ranges ? container->info.nr_ranges - 1 : 0].last);
    map_everything();
    if (config.mode == MODE_EAGER)
        eager_start();
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

/* Unmaps everything of ours from the container and forgets it. Registrations left in no container end. */
static void detach_locked(struct container *container)
{
    unsigned index = index_of(container);
    bool gone = container_is_gone(container);
    struct registration *reg = registration_from(0), *next;
    registry.attached &= ~(1u << index);
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
    application_forget_container(container);
    profile_record_detach(index);
    leave_file(container);
    if (container->iommu.ops->close)
        container->iommu.ops->close(&container->iommu);
    container->attached = container->has_ended = false;
    if (!registry.attached) {
        registry.is_in_doubt = false;
        eager_end();
    }
}

void containers_reap(void)
{
    for (unsigned i = next_container(registry.attached, 0); i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1)) {
        struct container *container = &registry.containers[i];
        if (!container->has_ended)
            continue;
        log_write(LOG_INFO, "container %d has lost its IOMMU: what was registered there is not any more",
                  container->iommu.fd);
        detach_locked(container);
    }
}

static void look_at_all(void)
{
    for (unsigned i = next_container(registry.attached, 0); i < MAX_CONTAINERS;
         i = next_container(registry.attached, i + 1))
        container_is_gone(&registry.containers[i]);
    containers_reap();
}

void containers_look(void)
{
    if (registry.is_in_doubt)
        look_at_all();
}

int registry_attach(const struct iommu *iommu)
{
    lock_take(&registry.lock);
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
    lock_take(&registry.lock);
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
    lock_take(&registry.lock);
    struct container *container = container_find(fd, ioas_id);
    if (container)
        detach_locked(container);
    lock_release(&registry.lock);
    return container ? 0 : -ENOENT;
}

static void detach_file(struct container_file *file)
{
    for (struct container *container = next_of_file(file, 0), *next; container; container = next) {
        next = next_of_file(file, index_of(container) + 1);
        detach_locked(container);
    }
}

int registry_detach_fd(int fd)
{
    lock_take(&registry.lock);
    struct container_file *file = file_of(fd);
    if (file)
        detach_file(file);
    lock_release(&registry.lock);
    return file ? 0 : -ENOENT;
}

/* --- descriptors ------------------------------------------------------------------------------------------------- */

/* Another descriptor of the file: one that nobody saw coming, if need be. */
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
    for (struct container *container = next_of_file(file, 0); container;
         container = next_of_file(file, index_of(container) + 1))
        container->iommu.fd = other;
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
    registry.is_in_doubt = registry.attached;
    if (kind == DESCRIPTOR_UNSERVED && !descriptors_count(kind))
        log_write(LOG_INFO,
                  "the last device that anydma does not serve is closed: lookups are answered again");
}

void containers_closing(int first, int last)
{
    lock_take(&registry.lock);
    for (int fd = descriptors_from(first); fd >= 0 && fd <= last; fd = descriptors_from(fd + 1))
        closing(fd, first, last);
    registry_leave();
}

void containers_closed(void)
{
    lock_take(&registry.lock);
    containers_look();
    registry_leave();
}

void containers_note_device(int fd)
{
    lock_take(&registry.lock);
    descriptors_note(fd, DESCRIPTOR_DEVICE, NULL);
    lock_release(&registry.lock);
}

void containers_duplicated(int old_fd, int new_fd)
{
    enum descriptor_kind kind;
    void *object;
    lock_take(&registry.lock);
    if (old_fd != new_fd && descriptors_find(old_fd, &kind, &object))
        descriptors_note(new_fd, kind, object);
    lock_release(&registry.lock);
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
    lock_take(&registry.lock);
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
    lock_release(&registry.lock);
}

void containers_serve_groups(void)
{
    lock_take(&registry.lock);
    for (int fd; (fd = descriptors_other(unserved_names[UNSERVED_GROUP], -1)) >= 0;)
        descriptors_note(fd, DESCRIPTOR_DEVICE, NULL);
    lock_release(&registry.lock);
}

void registry_mapping_left(void)
{
    if (!atomic_load_explicit(&registry.is_in_doubt, memory_order_relaxed))
        return;
    lock_take(&registry.lock);
    containers_look();
    registry_leave();
}

void registry_make_way(int fd, uint32_t ioas_id)
{
    lock_take(&registry.lock);
    struct container *container = container_find(fd, ioas_id);
    struct registration *reg = registration_from(0);
    for (; container && reg; reg = registration_next(reg)) {
        unsigned index = index_of(container);
        if (!(reg->mapped & 1u << index))
            continue;
        pagemap_clear(reg->start, reg->len);
        registration_unmap_in(reg, index);
    }
    lock_release(&registry.lock);
}

void registry_restore(int fd, uint32_t ioas_id)
{
    lock_take(&registry.lock);
    struct container *container = container_find(fd, ioas_id);
    if (container) {
        container->iommu.ops->query(&container->iommu, &container->info);
        container->info.nr_entries = container->max_entries;
        map_everything();
    }
    lock_release(&registry.lock);
}

void containers_reset(void)
{
    for (unsigned i = 0; i < MAX_CONTAINERS; i++) {
        registry.containers[i].attached = false;
        registry.containers[i].file = NULL;
        RB_INIT(&registry.containers[i].app_maps);
        files[i].nr_containers = 0;
    }
    registry.attached = 0;
    registry.is_in_doubt = false;
    descriptors_reset();
}

bool registry_is_sim(void)
{
    return config.iommu == IOMMU_SIM;
}
