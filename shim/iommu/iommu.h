/* SPDX-License-Identifier: MIT */
/*
 * The contract of every backend that maps and unmaps: type1 (a VFIO container), iommufd (an address space of
 * /dev/iommu), sim (the kernel's rules in process). Called under LOCK_REGISTRY. Nothing here keeps records: the registry does.
 */
#ifndef IOMMU_H
#define IOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IOMMU_MAX_RANGES = 16 };

struct iommu_range {
    uint64_t start;
    uint64_t last; /* inclusive */
};

struct iommu_info {
    struct iommu_range ranges[IOMMU_MAX_RANGES]; /* usable IOVAs, ascending */
    unsigned nr_ranges;
    uint64_t page_sizes; /* bitmap of supported page sizes */
    uint64_t nr_entries; /* mappings that can still be made; UINT64_MAX: unlimited */
    /* Whose pinned pages count against the limit on locked memory, and where the kernel shows them. */
    const char *counter;
    bool is_per_user; /* the user's, of all of its processes */
    /* An address space that no device is attached to: nothing in it is pinned, and what an attach would leave of its ranges
     * is not known. */
    bool is_idle;
};

struct iommu;

struct iommu_ops {
    const char *name;
    /* Fills *info. Returns 0; -ENODEV when the IOMMU has ended, and every mapping with it; or -errno. */
    int (*query)(struct iommu *iommu, struct iommu_info *info);
    /* Pins [va, va + len) and maps it readable and writable at [iova, iova + len). Returns 0 or -errno; on
     * failure nothing is mapped. Source: VFIO_IOMMU_MAP_DMA in <linux/vfio.h>. */
    int (*map)(struct iommu *iommu, uint64_t iova, uint64_t va, uint64_t len);
    /* Maps what another one has, whole, at the same IOVAs: the pages are pinned, and counted, once. Returns 0 or -errno. NULL:
     * there is no such way. */
    int (*copy)(struct iommu *iommu, const struct iommu *from, uint64_t iova, uint64_t len);
    /* Undoes what lies whole in [iova, iova + len); *unmapped gets the bytes that the kernel says it undid.
     * Returns 0 or -errno. Source: VFIO_IOMMU_UNMAP_DMA in <linux/vfio.h>. */
    int (*unmap)(struct iommu *iommu, uint64_t iova, uint64_t len, uint64_t *unmapped);
    /* The application's own call that maps or unmaps, handed on as it is. Returns as the ioctl, -errno on failure. */
    int (*forward)(struct iommu *iommu, unsigned long request, void *arg);
    /* Releases the backend's own state; the descriptor stays its owner's. May be NULL. */
    void (*close)(struct iommu *iommu);
};

struct iommu {
    const struct iommu_ops *ops;
    int fd; /* the container, or the iommufd; -1 for a simulated one that the program has no descriptor of */
    uint32_t ioas_id; /* which of the iommufd's address spaces; 0: a container */
    void *state;      /* sim: its tables */
};

/* A VFIO container with a type1 (v1 or v2) IOMMU set. `fd` stays the caller's. */
void type1_init(struct iommu *iommu, int fd);
/* What VFIO_IOMMU_GET_INFO answered, `len` bytes of it: at least sizeof(struct vfio_iommu_type1_info). */
void type1_read_info(const char *answer, size_t len, struct iommu_info *info);

/* An address space of an iommufd. `fd` stays the caller's. */
void iommufd_init(struct iommu *iommu, int fd, uint32_t ioas_id);
/* The one that a VFIO container is played by, when `fd` is an iommufd that does so. Returns false when it is not. */
bool iommufd_init_container(struct iommu *iommu, int fd);

/* Which kernel's rules the simulated IOMMU follows. */
enum sim_rules { SIM_TYPE1_V1, SIM_TYPE1_V2, SIM_IOMMUFD };

struct sim_config {
    enum sim_rules rules;
    struct iommu_range ranges[IOMMU_MAX_RANGES];
    unsigned nr_ranges;
    uint64_t page_sizes;
    uint64_t max_entries;   /* like vfio_iommu_type1's dma_entry_limit; SIM_IOMMUFD has no such limit */
    uint64_t memlock_bytes; /* UINT64_MAX: unlimited */
    /* Linux 7. type1: EOVERFLOW for what wraps; what ends with the address space counts. iommufd: memory that wraps is looked for
     * before its length is. */
    bool ends_are_seen;
    bool populate; /* fault pages in, EFAULT for what can't be pinned; off: touch nothing */
    /* Told of each success, for a simulated device; may be NULL. A non-zero return of mapped fails the map
     * with it. */
    int (*mapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void (*unmapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void *arg;
};

/* A program that exports an object of this type under the name `anydma_sim_device` (-rdynamic) is the device behind the
 * simulated IOMMU: it is told of each mapping, under the registry's lock, and must not call back into the shim. One that
 * exports `anydma_sim_device_pins`, too, faults the pages in by itself, or needs none: nothing is touched before. */
struct sim_device {
    int (*mapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void (*unmapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void *arg;
};

/* The rules of type1 v2 behind a 48-bit Intel IOMMU. */
void sim_config_default(struct sim_config *config);
/* Returns 0 or -ENOMEM. */
int sim_init(struct iommu *iommu, const struct sim_config *config);
/* SIM_IOMMUFD: maps in one, at `iova`, what is mapped in `from` (the same one, it may be), at `from_iova`. Returns 0 or -errno. */
int sim_copy(struct iommu *iommu, uint64_t iova, const struct iommu *from, uint64_t from_iova, uint64_t len);
/* Where `iova` leads, for tests: 0 and *va, or -EFAULT as a device would fault. */
int sim_translate(struct iommu *iommu, uint64_t iova, uint64_t *va);
/* Bytes mapped, but for what is copied, and mappings held now. */
void sim_usage(struct iommu *iommu, uint64_t *bytes, uint64_t *entries);

#endif
