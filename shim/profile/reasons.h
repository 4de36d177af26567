/* SPDX-License-Identifier: MIT */
/* What failed, and why, in words: the same on stderr, in the summary and in reports, which are another program's. */
#ifndef PROFILE_REASONS_H
#define PROFILE_REASONS_H

#include <errno.h>
#include <stddef.h>

enum failed_call { FAILED_MAP, FAILED_UNMAP, FAILED_APP_MAP, FAILED_APP_UNMAP, FAILED_LOOKUP, NR_FAILED };

static inline const char *failed_call_name(enum failed_call call)
{
    static const char *const names[NR_FAILED] = {"map", "unmap", "the application's own map",
                                                 "the application's own unmap", "lookup"};
    return names[call < NR_FAILED ? call : 0];
}

/* What such an error says. `error` is positive. */
static inline const char *failed_reason(enum failed_call call, int error)
{
    switch (error) {
    case ENOMEM:
        return "the limit on locked memory is reached";
    case ENOSPC:
        return call == FAILED_APP_MAP
                   ? "the IOMMU's table of mappings is full, or no IOVA is left of those that are allowed"
                   : "the IOMMU's table of mappings is full";
    case EADDRNOTAVAIL:
        return "the IOMMU's apertures have no room for it";
    case EOPNOTSUPP:
        return "this kind of memory can't be watched";
    case ENODEV:
        return "no device is attached yet, and only memory that anydma placed can be promised before";
    case ESTALE:
        return "its pages were purged, moved or replaced behind a live registration";
    case EFAULT:
        return "nothing readable and writable is mapped there";
    case EEXIST:
        return "another mapping has that IOVA";
    case EINVAL:
        return call == FAILED_APP_MAP ? "outside of the IOMMU's apertures, or not whole pages"
                                      : "not a valid range";
    case ENOENT:
        return call == FAILED_APP_MAP
                   ? "the iommufd has no address space of that number, or nothing where the copy is from"
                   : "nothing is mapped there";
    case EPERM:
        return "not permitted";
    case EBUSY:
        return "the device or its group is in use";
    default:
        return "see <anydma.h> and errno(3)";
    }
}

/* What to do about it; NULL: nothing that helps in general. */
static inline const char *failed_remedy(enum failed_call call, int error)
{
    switch (error) {
    case ENOMEM:
        return "raise memlock: `ulimit -l unlimited` as root, a line in /etc/security/limits.d, "
               "LimitMEMLOCK= of systemd, --ulimit memlock=-1 of docker; or pin less: --granule=4K";
    case ENOSPC:
        return call == FAILED_APP_MAP ? "raise dma_entry_limit of vfio_iommu_type1; of an iommufd, allow "
                                        "more by IOMMU_IOAS_ALLOW_IOVAS"
                                      : "raise dma_entry_limit of vfio_iommu_type1 (a parameter of the "
                                        "module), or register larger "
                                        "units (--granule=64M)";
    case EADDRNOTAVAIL:
        return "`anydma doctor -d BDF` shows the apertures";
    case EOPNOTSUPP:
        return "use malloc or an anonymous private mmap, or --foreign=trust";
    case ENODEV:
        return "`anydma doctor` says why no device is there; --iommu=sim needs none";
    case EINVAL:
    case EEXIST:
        return call == FAILED_APP_MAP ? "`anydma doctor` shows the apertures" : NULL;
    case EBUSY:
        return "`anydma doctor` names who holds it";
    default:
        return NULL;
    }
}

#endif
