/* SPDX-License-Identifier: MIT */
/*
 * The door of the program's calls to an iommufd, and of those that bind and attach a device's own file to one. An address space
 * is known from its making on (or from the first call that names it), and holds what is registered while a device is
 * attached to it. Results are the kernel's.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/application.h"
#include "dma/attachments.h"
#include "dma/devices.h"
#include "dma/spaces.h"
#include "interpose/advice.h"
#include "interpose/peek.h"
#include "interpose/vfio.h"
#include "iommu/iommu.h"
#include "iommu/iommufd_abi.h"
#include "profile/failures.h"
#include "profile/profile.h"

bool iommufd_is_served(void)
{
    return config.iommu == IOMMU_AUTO || config.iommu == IOMMU_IOMMUFD;
}

void iommufd_opened(int fd)
{
    if (!iommufd_is_served() || !spaces_note_iommufd(fd))
        devices_note_unserved(fd, UNSERVED_IOMMUFD);
}

void iommufd_device_opened(int fd)
{
    if (iommufd_is_served())
        devices_note(fd);
    else
        devices_note_unserved(fd, UNSERVED_IOMMUFD);
}

/* What an attach says of mappings that are in its way: no IOVAs, no memory for further page tables. Never of ours that their pages
 * can't be pinned: they are. */
static bool is_in_the_way(int result)
{
    return result == -EADDRINUSE || result == -ENOMEM;
}

/* What is said by calls that are refused while anything is mapped. */
static bool is_in_use(int result)
{
    return result == -EINVAL;
}

/* Once more without what of ours is in that address space, if that is what it `is_refused` for. */
static int call_making_way(int fd, unsigned long call, void *arg, uint32_t id, bool (*is_refused)(int result))
{
    int result = os_ioctl(fd, call, arg);
    if (is_refused(result) && attachments_make_way(-1, id)) {
        result = os_ioctl(fd, call, arg);
        attachments_restore(-1, id);
    }
    return result;
}

int vfio_attach(int fd, unsigned long call, void *arg, uint32_t id)
{
    return call_making_way(fd, call, arg, id, is_in_the_way);
}

/* A page table that is nested in another one translates what its owner, a guest, has written there. By number, of whatever
 * iommufd: one that has the number of another's nested one is not served, either. The last bit is for all that are larger. */
static _Atomic uint64_t nested[64];

static void note_table(uint32_t id, bool is_nested)
{
    unsigned bit = id < 64 * 64 - 1 ? id : 64 * 64 - 1;
    if (is_nested)
        atomic_fetch_or_explicit(&nested[bit / 64], UINT64_C(1) << bit % 64, memory_order_relaxed);
    else if (bit == id)
        atomic_fetch_and_explicit(&nested[bit / 64], ~(UINT64_C(1) << bit % 64), memory_order_relaxed);
}

static bool is_nested(uint32_t id)
{
    unsigned bit = id < 64 * 64 - 1 ? id : 64 * 64 - 1;
    return atomic_load_explicit(&nested[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

/* --- address spaces ------------------------------------------------------------------------------------------------ */

static int note_space(int fd, uint32_t ioas_id, bool is_default)
{
    struct iommu space;
    iommufd_init(&space, fd, ioas_id);
    profile_enter();
    int error = spaces_note(&space, is_default);
    profile_leave();
    return error;
}

static int make_space(int fd, void *arg)
{
    struct iommufd_ioas_alloc made;
    int result = os_ioctl(fd, IOMMUFD_IOAS_ALLOC, arg), error;
    if (result != 0 || !peek(&made, arg, sizeof(made)))
        return result;
    note_table(made.out_ioas_id, false);
    error = iommufd_is_served() ? note_space(fd, made.out_ioas_id, false) : -EOPNOTSUPP;
    if (error && iommufd_is_served())
        log_write(LOG_WARNING, "address space %u can't be followed: error %d", made.out_ioas_id, -error);
    if (error)
        devices_note_unserved(fd, UNSERVED_IOMMUFD);
    return result;
}

/* Huge pages can't be chosen, or not, while anything is mapped. */
static int set_option(int fd, void *arg)
{
    struct iommufd_option option;
    bool is_refused = peek(&option, arg, sizeof(option)) && option.option_id == IOMMUFD_OPTION_HUGE_PAGES &&
                      option.op == IOMMUFD_OPTION_SET;
    return is_refused ? call_making_way(fd, IOMMUFD_OPTION, arg, option.object_id, is_in_use)
                      : os_ioctl(fd, IOMMUFD_OPTION, arg);
}

/* Another process takes over what was mapped from files, if nothing else is. */
static int change_process(int fd, void *arg)
{
    struct iommufd_change_process change;
    bool is_whole = peek(&change, arg, sizeof(change)) && change.size >= sizeof(change);
    return is_whole ? call_making_way(fd, IOMMUFD_CHANGE_PROCESS, arg, ALL_SPACES, is_in_use)
                    : os_ioctl(fd, IOMMUFD_CHANGE_PROCESS, arg);
}

static int choose_default(int fd, void *arg)
{
    struct iommufd_vfio_ioas which;
    int result = os_ioctl(fd, IOMMUFD_VFIO_IOAS, arg);
    if (result == 0 && peek(&which, arg, sizeof(which)) && which.op == IOMMUFD_VFIO_IOAS_SET &&
        iommufd_is_served())
        note_space(fd, which.ioas_id, true);
    return result;
}

/* --- devices ------------------------------------------------------------------------------------------------------- */

static void devices_changed(void)
{
    profile_enter();
    spaces_changed();
    profile_leave();
}

static int bind_device(int device, void *arg)
{
    struct iommufd_device_bind bind;
    int result = os_ioctl(device, IOMMUFD_DEVICE_BIND, arg);
    if (result < 0)
        advice_ioctl_failed(IOMMUFD_DEVICE_BIND, -result, NULL);
    if (result != 0 || !peek(&bind, arg, sizeof(bind)))
        return result;
    iommufd_device_opened(device);
    if (iommufd_is_served() && !spaces_note_iommufd(bind.iommufd))
        devices_note_unserved(device, UNSERVED_IOMMUFD);
    return result;
}

static int attach_device(int device, void *arg)
{
    struct iommufd_device_attach attach; /* as it is before: the kernel answers there, too */
    bool is_read = peek(&attach, arg, sizeof(attach));
    int result = vfio_attach(device, IOMMUFD_DEVICE_ATTACH, arg, is_read ? attach.pt_id : ALL_SPACES);
    if (result < 0 && is_read)
        advice_ioctl_failed(IOMMUFD_DEVICE_ATTACH, -result, NULL);
    if (result != 0 || !is_read)
        return result;
    iommufd_device_opened(device);
    if (!iommufd_is_served())
        return result;
    profile_enter();
    spaces_find(attach.pt_id);
    spaces_changed();
    profile_leave();
    if (is_nested(attach.pt_id) || !spaces_are_served(attach.pt_id))
        devices_note_unserved(device, UNSERVED_IOMMUFD);
    return result;
}

/* With what a device had, or a page table, an address space may change. */
static int take_away(int fd, unsigned long call, void *arg)
{
    int result = os_ioctl(fd, call, arg);
    if (result == 0)
        devices_changed();
    return result;
}

static int make_table(int fd, void *arg)
{
    struct iommufd_hwpt_alloc made;
    bool is_read = peek(&made, arg, sizeof(made));
    int result = vfio_attach(fd, IOMMUFD_HWPT_ALLOC, arg, is_read ? made.pt_id : ALL_SPACES);
    if (result == 0)
        devices_changed();
    if (result == 0 && peek(&made, arg, sizeof(made)))
        note_table(made.out_hwpt_id, made.data_type != 0);
    return result;
}

/* --- the program's own mappings ------------------------------------------------------------------------------------ */

/* Whether the address space is known, or was found now: it may have been made by another process, whose devices are then served. */
static bool is_known(int fd, uint32_t ioas_id)
{
    if (!ioas_id || devices_know(fd, ioas_id))
        return ioas_id;
    if (!iommufd_is_served() || note_space(fd, ioas_id, false) != 0)
        return false;
    devices_serve_groups();
    return true;
}

/* In an address space that nobody follows, or that is none. */
static int map_unknown(int fd, unsigned long call, void *arg, uint64_t len)
{
    int result = os_ioctl(fd, call, arg);
    if (result < 0)
        failures_note(FAILED_APP_MAP, -result, len);
    return result;
}

/* What is of a size or with flags that only the kernel may understand is handed on as it is. */
static struct dma_request mapping(int fd, unsigned long call, void *arg, bool is_whole, uint32_t flags)
{
    const uint32_t accesses = IOMMUFD_WRITEABLE | IOMMUFD_READABLE;
    return (struct dma_request){.fd = fd,
                                .call = call,
                                .arg = arg,
                                .is_plain = is_whole && !(flags & ~(accesses | IOMMUFD_FIXED_IOVA)) &&
                                            flags & accesses,
                                .is_accessible = flags & accesses};
}

static int map(int fd, struct iommufd_ioas_map *arg, const void *caller)
{
    struct iommufd_ioas_map map;
    if (!peek(&map, arg, sizeof(map)))
        return os_ioctl(fd, IOMMUFD_IOAS_MAP, arg);
    if (!is_known(fd, map.ioas_id))
        return map_unknown(fd, IOMMUFD_IOAS_MAP, arg, map.length);
    struct dma_request request = mapping(fd, IOMMUFD_IOAS_MAP, arg, map.size >= sizeof(map), map.flags);
    request.ioas_id = map.ioas_id;
    request.iova = map.iova;
    request.va = map.user_va;
    request.len = map.length;
    request.chosen = map.flags & IOMMUFD_FIXED_IOVA ? NULL : &arg->iova;
    return vfio_map(&request, caller);
}

static int map_file(int fd, struct iommufd_ioas_map_file *arg, const void *caller)
{
    struct iommufd_ioas_map_file map;
    if (!peek(&map, arg, sizeof(map)))
        return os_ioctl(fd, IOMMUFD_IOAS_MAP_FILE, arg);
    if (!is_known(fd, map.ioas_id))
        return map_unknown(fd, IOMMUFD_IOAS_MAP_FILE, arg, map.length);
    struct dma_request request = mapping(fd, IOMMUFD_IOAS_MAP_FILE, arg, map.size >= sizeof(map), map.flags);
    request.ioas_id = map.ioas_id;
    request.source = FROM_FILE;
    request.iova = map.iova;
    request.len = map.length;
    request.chosen = map.flags & IOMMUFD_FIXED_IOVA ? NULL : &arg->iova;
    return vfio_map(&request, caller);
}

static int copy(int fd, struct iommufd_ioas_copy *arg, const void *caller)
{
    struct iommufd_ioas_copy copy;
    if (!peek(&copy, arg, sizeof(copy)))
        return os_ioctl(fd, IOMMUFD_IOAS_COPY, arg);
    if (!is_known(fd, copy.dst_ioas_id))
        return map_unknown(fd, IOMMUFD_IOAS_COPY, arg, copy.length);
    struct dma_request request = mapping(fd, IOMMUFD_IOAS_COPY, arg, copy.size >= sizeof(copy), copy.flags);
    request.ioas_id = copy.dst_ioas_id;
    request.source = FROM_SPACE;
    request.from_ioas_id = copy.src_ioas_id;
    request.from_iova = copy.src_iova;
    request.iova = copy.dst_iova;
    request.len = copy.length;
    request.chosen = copy.flags & IOMMUFD_FIXED_IOVA ? NULL : &arg->dst_iova;
    return vfio_map(&request, caller);
}

static int unmap(int fd, struct iommufd_ioas_unmap *arg)
{
    struct iommufd_ioas_unmap unmap;
    if (!peek(&unmap, arg, sizeof(unmap)) || !unmap.ioas_id || !devices_know(fd, unmap.ioas_id))
        return os_ioctl(fd, IOMMUFD_IOAS_UNMAP, arg);
    const struct dma_request request = {.fd = fd,
                                        .ioas_id = unmap.ioas_id,
                                        .call = IOMMUFD_IOAS_UNMAP,
                                        .arg = arg,
                                        .is_plain = unmap.size >= sizeof(unmap),
                                        .is_all = unmap.iova == 0 && unmap.length == UINT64_MAX,
                                        .is_divisible = true,
                                        .iova = unmap.iova,
                                        .len = unmap.length,
                                        .undone = &arg->length};
    return vfio_unmap(&request);
}

/* --- the door ------------------------------------------------------------------------------------------------------ */

static int make(int fd, unsigned long call, void *arg, const void *caller)
{
    switch (call) {
    case IOMMUFD_IOAS_ALLOC:
        return make_space(fd, arg);
    case IOMMUFD_IOAS_MAP:
        return map(fd, arg, caller);
    case IOMMUFD_IOAS_MAP_FILE:
        return map_file(fd, arg, caller);
    case IOMMUFD_IOAS_COPY:
        return copy(fd, arg, caller);
    case IOMMUFD_IOAS_UNMAP:
        return unmap(fd, arg);
    case IOMMUFD_OPTION:
        return set_option(fd, arg);
    case IOMMUFD_CHANGE_PROCESS:
        return change_process(fd, arg);
    case IOMMUFD_VFIO_IOAS:
        return choose_default(fd, arg);
    case IOMMUFD_DEVICE_BIND:
        return bind_device(fd, arg);
    case IOMMUFD_DEVICE_ATTACH:
        return attach_device(fd, arg);
    case IOMMUFD_HWPT_ALLOC:
        return make_table(fd, arg);
    default: /* IOMMUFD_DEVICE_DETACH, IOMMUFD_DESTROY */
        return take_away(fd, call, arg);
    }
}

bool iommufd_ioctl(int fd, unsigned long call, void *arg, const void *caller, int *result)
{
    switch (call) {
    case IOMMUFD_DESTROY:
    case IOMMUFD_IOAS_ALLOC:
    case IOMMUFD_IOAS_COPY:
    case IOMMUFD_IOAS_MAP:
    case IOMMUFD_IOAS_MAP_FILE:
    case IOMMUFD_IOAS_UNMAP:
    case IOMMUFD_OPTION:
    case IOMMUFD_CHANGE_PROCESS:
    case IOMMUFD_VFIO_IOAS:
    case IOMMUFD_HWPT_ALLOC:
    case IOMMUFD_DEVICE_BIND:
    case IOMMUFD_DEVICE_ATTACH:
    case IOMMUFD_DEVICE_DETACH:
        *result = make(fd, call, arg, caller);
        return true;
    default:
        return false;
    }
}
