/* SPDX-License-Identifier: MIT */
/* iommufd's calls and their structures, as far as they are used here: headers of before Linux 6.6 lack them. Each begins with
 * its own size. Source: include/uapi/linux/iommufd.h and vfio.h (Linux 6.12; MAP_FILE and CHANGE_PROCESS: 6.13). */
#ifndef IOMMU_IOMMUFD_ABI_H
#define IOMMU_IOMMUFD_ABI_H

#include <linux/ioctl.h>
#include <stdint.h>

#define IOMMUFD_CALL(nr) _IO(';', nr)

/* On an iommufd. */
#define IOMMUFD_DESTROY IOMMUFD_CALL(0x80)
#define IOMMUFD_IOAS_ALLOC IOMMUFD_CALL(0x81)
#define IOMMUFD_IOAS_COPY IOMMUFD_CALL(0x83)
#define IOMMUFD_IOAS_IOVA_RANGES IOMMUFD_CALL(0x84)
#define IOMMUFD_IOAS_MAP IOMMUFD_CALL(0x85)
#define IOMMUFD_IOAS_UNMAP IOMMUFD_CALL(0x86)
#define IOMMUFD_OPTION IOMMUFD_CALL(0x87)
#define IOMMUFD_VFIO_IOAS IOMMUFD_CALL(0x88)
#define IOMMUFD_HWPT_ALLOC IOMMUFD_CALL(0x89)
#define IOMMUFD_IOAS_MAP_FILE IOMMUFD_CALL(0x8f)
#define IOMMUFD_CHANGE_PROCESS IOMMUFD_CALL(0x92)
/* On a device's character device. */
#define IOMMUFD_DEVICE_BIND IOMMUFD_CALL(118)
#define IOMMUFD_DEVICE_ATTACH IOMMUFD_CALL(119)
#define IOMMUFD_DEVICE_DETACH IOMMUFD_CALL(120)

enum { IOMMUFD_FIXED_IOVA = 1, IOMMUFD_WRITEABLE = 2, IOMMUFD_READABLE = 4 };
enum { IOMMUFD_VFIO_IOAS_GET, IOMMUFD_VFIO_IOAS_SET, IOMMUFD_VFIO_IOAS_CLEAR };
enum { IOMMUFD_OPTION_SET, IOMMUFD_OPTION_GET };
enum { IOMMUFD_OPTION_RLIMIT_MODE, IOMMUFD_OPTION_HUGE_PAGES };

struct iommufd_destroy {
    uint32_t size, id;
};

struct iommufd_ioas_alloc {
    uint32_t size, flags, out_ioas_id;
};

struct iommufd_ioas_copy {
    uint32_t size, flags, dst_ioas_id, src_ioas_id;
    uint64_t length, dst_iova, src_iova;
};

struct iommufd_range {
    uint64_t start, last;
};

struct iommufd_ioas_iova_ranges {
    uint32_t size, ioas_id, num_iovas, reserved;
    uint64_t allowed_iovas, out_iova_alignment;
};

struct iommufd_ioas_map {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t user_va, length, iova;
};

struct iommufd_ioas_map_file {
    uint32_t size, flags, ioas_id;
    int32_t fd;
    uint64_t start, length, iova;
};

struct iommufd_ioas_unmap {
    uint32_t size, ioas_id;
    uint64_t iova, length;
};

struct iommufd_change_process {
    uint32_t size, reserved;
};

struct iommufd_option {
    uint32_t size, option_id;
    uint16_t op, reserved;
    uint32_t object_id;
    uint64_t val64;
};

struct iommufd_hwpt_alloc {
    uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
    uint64_t data_uptr;
};

struct iommufd_vfio_ioas {
    uint32_t size, ioas_id;
    uint16_t op, reserved;
};

struct iommufd_device_bind {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t out_devid;
};

struct iommufd_device_attach {
    uint32_t argsz, flags, pt_id;
};

#endif
