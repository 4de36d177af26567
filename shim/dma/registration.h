/* SPDX-License-Identifier: MIT */
/* The registry's records, shared by the files of dma/ that work under its lock. Everything here needs LOCK_REGISTRY. */
#ifndef DMA_REGISTRATION_H
#define DMA_REGISTRATION_H

#include <bsd/sys/tree.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/pool.h"
#include "dma/hazards.h"
#include "dma/registrations.h"
#include "dma/registry.h"
#include "iommu/iommu.h"
#include "profile/live.h"

enum { MAX_CONTAINERS = 32 };

/* One of the application's own mappings in one container. */
struct app_map {
    RB_ENTRY(app_map) by_iova;
    uint64_t iova;
    uint64_t len;
    uintptr_t va; /* or APP_MAP_NOWHERE */
    uint32_t site;
    bool is_alias;         /* the IOMMU has it by a registration of ours, which it pins */
    bool is_copy;          /* of another mapping, whose pages it shares: pinned there */
    struct holder *holder; /* in check mode */
};

/* For pages that are at no address that is known: an address that none has, at a distance that nothing else has. */
#define APP_MAP_NOWHERE(iova) ((iova) ^ UINT64_C(1) << 63)

/* What a device is meant to reach: for the search for hazards. */
struct held_range {
    uintptr_t start;
    size_t len;
    bool by_application;
    const struct holder *holder;
};

RB_HEAD(app_maps, app_map);

struct container_file;

/* A VFIO container with its IOMMU, or an address space of an iommufd. */
struct container {
    bool is_known;               /* the record is in use: the program's own mappings in it are kept */
    bool attached;               /* a device is behind it: what is registered is mapped in it */
    bool is_default;             /* what VFIO's calls on the descriptor itself mean */
    bool has_ended;              /* its IOMMU is gone, with every mapping: to be detached */
    struct container_file *file; /* what its descriptors lead to */
    struct iommu iommu;
    struct iommu_info info;
    uint64_t max_entries; /* UINT64_MAX: unlimited */
    struct app_maps app_maps;
    uint64_t nr_app_maps;
    uint64_t nr_entries; /* ours and the application's */
};

/* What is made, undone and pinned by ours, and by the application. */
struct registry_counts {
    uint64_t maps, unmaps, map_failures, unmap_failures, pinned, pinned_peak;
    _Atomic uint64_t lookups_cold, lookups_refused;
};
const struct registry_counts *registry_counts(void);
struct application_counts {
    uint64_t maps, unmaps, pinned, pinned_peak;
};
const struct application_counts *application_counts(void);

/* Which containers are attached, a bit for each. No lock. */
uint32_t containers_attached(void);
/* A container by the number of its bit, and the other way round. */
struct container *container_at(unsigned index);
unsigned container_index(const struct container *container);
/* How many files those attached are of: the address spaces of one iommufd share what is pinned. */
unsigned containers_nr_pinning(void);
/* Of the one attached last. */
const struct iommu_info *containers_last_info(void);
/* How many there were, and the most mappings that one of them had. */
void containers_count(uint64_t *seen, uint64_t *most_entries);

/* The first container of `set` (a bit for each) at or after `from`; MAX_CONTAINERS: none. */
static inline unsigned next_container(uint32_t set, unsigned from)
{
    set = from < MAX_CONTAINERS ? set >> from << from : 0;
    return set ? (unsigned)__builtin_ctz(set) : MAX_CONTAINERS;
}

/* A record, registered nowhere yet, with the holds of who holds the range and the call site of who makes it; NULL: no memory. */
struct registration *registration_add(uintptr_t start, size_t len, uint64_t iova);
/* Ends the record of what is registered nowhere any more. */
void registration_drop(struct registration *reg);
/* Maps `reg` in every attached container that lacks it. Returns 0 or the first failure, after undoing what it did. */
int registration_map(struct registration *reg);
/* The same for what was made before: where something in it was unmapped since, its address is held back.
 * -EINPROGRESS: another thread is about to do that; try again. */
int registration_complete(struct registration *reg);
/* Before it is completed, where it is owed: takes in what follows of the same lump, so that one call pays for both. */
void registration_gather(struct registration *reg);
/* After -EFAULT, where nothing has it yet: it may reach over memory that was protected or unmapped since. Puts in its place what
 * can still be registered, piece by piece: what was promised does not depend on a neighbour. False: it stays. */
bool registration_plan_again(struct registration *reg);
/* Takes the pagemap's marks from the blocks of the range that no registration reaches into. */
void registration_unmark(uintptr_t start, size_t len);
/* After a failure, with the lock held: whether to try again, having let others in meanwhile: for -EINPROGRESS, which becomes
 * -EFAULT when it does not end (the other thread may be the caller, in a signal handler). */
bool registration_try_again(int *error, unsigned *tries);
/* Takes LOCK_REGISTRY, and releases it: after a change by registry_leave, which settles what is left over of it. */
void registry_enter(void);
void registry_exit(void);
void registry_leave(void);
/* One is attached to a container: IOVAs lead to this process's pages. */
void registry_has_device(void);
/* False in a vfork child: no ioctl is made for it. */
bool registry_is_owner(void);
/* Undoes it in one container. False: the backend refused, the record is stuck from here on. */
bool registration_unmap_in(struct registration *reg, unsigned index);
/* The container's IOMMU is gone, and the mapping with it. */
void registration_was_undone(struct registration *reg, unsigned index);
/* Undoes it everywhere and frees the record. False: a backend refused, the record is stuck. */
bool registration_undo(struct registration *reg);
/* What was undone whole: the memory layer may use the range again. */
void registration_released(uintptr_t start, size_t len);
/* Undoes it if nothing alive is in it and nobody holds it. */
void registration_settle(struct registration *reg);
/* Whether anydma did not place the memory at `va`. */
bool registration_is_foreign(uintptr_t va);
/* For memory that anydma did not place, which may be gone with nobody having asked since: whether it is. The registration has ended
 * then. */
bool registration_has_ended(struct registration *reg);
/* Whether what is at `va` is still what was registered, at the IOVA of the same number, in every container; where it lacks one it
 * gets it. Returns 0 and *end, up to where that is so, or -errno. */
int registration_confirm(struct registration *reg, uintptr_t va, uintptr_t *end);
/* The next stretch in [*cursor, end) that is alive; moves *cursor behind it. */
bool registry_next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len);
/* What a registration is made for. FOR_EAGER: at IOVA == address or not at all, and it gives way to the application. */
enum purpose { FOR_LOOKUP, FOR_EAGER };
/* For registry_follow. */
void registration_changed(uintptr_t start, size_t len, enum memory_change what);
void registration_unfollow(void);
/* Registers the unit around `va`, and, of a lump, what is wanted or near. Returns 0 and *made, or -errno. */
int registration_make(uintptr_t va, size_t want_len, enum purpose purpose, struct registration **made);
/* Registers all of [start, start + len), as lookups of each page would. Returns 0 or the first failure. */
int registration_fill(uintptr_t start, size_t len);
/* dma/lumps.c. Makes the unit [*start, *end) wider, where all of it lies in the lump: up to `wanted_end`, and, if it `grows`, by
 * what is registered around it. Returns whether it did. */
bool lump_widen(const struct memory_lump *lump, uintptr_t wanted_end, bool grows, uintptr_t *start,
                uintptr_t *end);
/* For what is owed: joins to `reg`, which lies in the lump, what follows, as far as one call goes; and cuts it in two when that
 * call has no room. False: it stays as it is. */
void lump_join(const struct memory_lump *lump, struct registration *reg);
bool lump_halve(struct registration *reg);
/* Releases those that were never handed out and overlap [iova, iova + len). */
void registration_release_unused(uint64_t iova, uint64_t len);
/* Adds `change` to the holds of every registration that reaches into the range. */
void registration_hold_range(uintptr_t start, size_t len, int change);
/* How many holds by anydma_pin reach into the range: they outlive a container, and hold what is registered later. */
uint32_t pins_over(uintptr_t start, size_t len);
void pins_reset(void);
bool pins_find_held(uintptr_t start, size_t len, struct held_range *held);

/* dma/stats.c: brings the live page, which `anydma top` reads, up to date. */
void registry_publish(void);
static inline void registry_changed(void)
{
    if (__builtin_expect(live_page != NULL, 0))
        registry_publish();
}

/* dma/containers.c */
/* Whether its IOMMU is gone. From then on it has_ended. */
bool container_is_gone(struct container *container);
/* Detaches those that have ended. */
void containers_reap(void);
/* Where one may have ended unseen: looks. */
void containers_look(void);
/* In a forked child: there are none, and no descriptors. */
void containers_reset(void);
void container_count_entries(struct container *container, int change);
/* By one of its descriptors; ioas_id 0: the container that the file itself is, or plays. */
struct container *container_find(int fd, uint32_t ioas_id);
/* dma/application.c */
/* A device is behind the container now, or none any more, and ours is out of it: what of it is pinned, and for whom. */
void application_attached(struct container *container);
void application_detached(struct container *container);
/* What the application mapped before, where ours belongs, becomes an alias of ours. */
void application_join(struct container *container);
/* Whether the application relies on IOVA == address, by what it has mapped, in a mode that cares. */
bool application_wants_eager(struct container *container);
void application_forget_container(struct container *container);
/* In a forked child. */
void application_reset(void);
bool application_find_held(uintptr_t start, size_t len, struct held_range *held);
/* How many bytes from `va` on the application itself has mapped at IOVA == address. */
size_t application_identity(uintptr_t va);
bool application_has_identity(uintptr_t start, size_t len);
bool application_collides(uint64_t iova, uint64_t len, uint64_t *next_below);
/* Cuts [*start, *end) back to what of it around `iova` no mapping of the application's has. False: `iova` is in one. */
bool application_clip(uint64_t iova, uint64_t *start, uint64_t *end);

/* dma/iova.c: the IOVA for [va, va + len): identity where possible, else a window. Returns 0 or -EADDRNOTAVAIL. */
int iova_choose(uintptr_t va, size_t len, uint64_t *iova);
/* Cuts [*start, *end) back to the part around `va` whose addresses can be its IOVAs. Returns 0 or -EADDRNOTAVAIL. */
int iova_clip_to_identity(uintptr_t va, uintptr_t *start, uintptr_t *end);
/* Another process has mapped something where we would, or none has any more. */
void iova_go_apart(void);
void iova_come_together(void);
bool iova_is_usable(const struct container *container, uint64_t iova, uint64_t len);

#endif
