/* SPDX-License-Identifier: MIT */
/*
 * iommufd (/dev/iommu) by its raw calls: an I/O address space (IOAS), what is mapped in it, and the devices
 * that are attached to it through their VFIO character devices. It knows nothing of anydma.
 */
#ifndef EXAMPLES_IOMMUFD_H
#define EXAMPLES_IOMMUFD_H

#include <stdint.h>

/* Opens /dev/iommu. Returns the descriptor, or -errno. */
int iommufd_open(void);

/* Makes an empty address space. Returns 0 and its number, or -errno. */
int iommufd_alloc_ioas(int iommufd, uint32_t *ioas_id);

/* Ends an object of the iommufd's: an IOAS, or a page table. Returns 0 or -errno. */
int iommufd_destroy(int iommufd, uint32_t id);

/* Maps [va, va + len) at [iova, iova + len), readable and writable by the devices. Returns 0 or -errno. */
int iommufd_map(int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t va, uint64_t len);

/* The same at an IOVA that the kernel chooses, one of those that iommufd_allow names. Returns 0 and the IOVA, or -errno. */
int iommufd_map_anywhere(int iommufd, uint32_t ioas_id, uint64_t *iova, uint64_t va, uint64_t len);

/* The same for len bytes of a memory file, from `start` on (kernels from 6.13 on). Returns 0 or -errno. */
int iommufd_map_file(int iommufd, uint32_t ioas_id, uint64_t iova, int fd, uint64_t start, uint64_t len);

/* What was mapped from files, and that alone, is from now on this process's (kernels from 6.13 on). Returns 0 or -errno. */
int iommufd_change_process(int iommufd);

/* What is mapped at [from_iova, from_iova + len) in one IOAS is also mapped at [iova, iova + len) in another;
 * its pages are pinned once. Returns 0 or -errno. */
int iommufd_copy(int iommufd, uint32_t ioas_id, uint64_t iova, uint32_t from_ioas_id, uint64_t from_iova,
                 uint64_t len);

/* Unmaps whole mappings; 0 with UINT64_MAX are all of them. Returns 0 with the bytes that were unmapped, or
 * -errno. */
int iommufd_unmap(int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t len, uint64_t *unmapped);

struct iommufd_range {
    uint64_t start;
    uint64_t last;
};

/* The IOVAs that may be mapped, as of the devices that are attached now. Returns how many ranges there are
 * (the first max of them in `ranges`), or -errno. */
int iommufd_ranges(int iommufd, uint32_t ioas_id, struct iommufd_range *ranges, uint32_t max);

/* From now on an attach fails rather than take one of these ranges away, and what the kernel chooses lies in them; without any
 * (nr 0) both is as at first. Returns 0 or -errno. */
int iommufd_allow(int iommufd, uint32_t ioas_id, const struct iommufd_range *ranges, uint32_t nr);

/* Binds a device (its descriptor is that of /dev/vfio/devices/vfioN) to the iommufd. Returns 0 with the
 * number that the iommufd knows it by, or -errno. */
int iommufd_bind(int iommufd, int device_fd, uint32_t *device_id);

/* A page table for that device whose mappings are those of the IOAS. Returns 0 with its number, or -errno. */
int iommufd_alloc_page_table(int iommufd, uint32_t device_id, uint32_t ioas_id, uint32_t *page_table_id);

/* Attaches the device to an IOAS or a page table. Returns 0 or -errno. */
int iommufd_attach(int device_fd, uint32_t id);

/* Returns 0 or -errno. */
int iommufd_detach(int device_fd);

/* Options of the iommufd (object_id 0) or of an IOAS. Returns 0 or -errno. */
enum { IOMMUFD_OPTION_RLIMIT_MODE = 0, IOMMUFD_OPTION_HUGE_PAGES = 1 };
int iommufd_set_option(int iommufd, uint32_t object_id, uint32_t option, uint64_t value);

#endif
