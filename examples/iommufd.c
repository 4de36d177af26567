/* SPDX-License-Identifier: MIT */
/*
 * The structures are spelled out as the kernel's documentation has them (include/uapi/linux/iommufd.h and
 * vfio.h of 6.6 and later), since the headers of Debian 12 lack them. Each begins with its own size, so that
 * a newer kernel knows what an older program means.
 */
#include "iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>

#define COMMAND(nr) _IO(';', nr)

enum {
    DESTROY = COMMAND(0x80),
    IOAS_ALLOC = COMMAND(0x81),
    IOAS_ALLOW_IOVAS = COMMAND(0x82),
    IOAS_COPY = COMMAND(0x83),
    IOAS_IOVA_RANGES = COMMAND(0x84),
    IOAS_MAP = COMMAND(0x85),
    IOAS_UNMAP = COMMAND(0x86),
    OPTION = COMMAND(0x87),
    HWPT_ALLOC = COMMAND(0x89),
    IOAS_MAP_FILE = COMMAND(0x8f),
    IOAS_CHANGE_PROCESS = COMMAND(0x92),
    DEVICE_BIND = COMMAND(118),
    DEVICE_ATTACH = COMMAND(119),
    DEVICE_DETACH = COMMAND(120),

    FIXED_IOVA = 1,
    WRITEABLE = 2,
    READABLE = 4,
};

static int call(int fd, unsigned long command, void *arg)
{
    return ioctl(fd, command, arg) < 0 ? -errno : 0;
}

int iommufd_open(void)
{
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int iommufd_alloc_ioas(int iommufd, uint32_t *ioas_id)
{
    struct {
        uint32_t size, flags, out_ioas_id;
    } alloc = {.size = sizeof(alloc)};
    int rc = call(iommufd, IOAS_ALLOC, &alloc);
    *ioas_id = alloc.out_ioas_id;
    return rc;
}

int iommufd_destroy(int iommufd, uint32_t id)
{
    struct {
        uint32_t size, id;
    } destroy = {.size = sizeof(destroy), .id = id};
    return call(iommufd, DESTROY, &destroy);
}

static int map(int iommufd, uint32_t ioas_id, uint32_t flags, uint64_t *iova, uint64_t va, uint64_t len)
{
    struct {
        uint32_t size, flags, ioas_id, reserved;
        uint64_t user_va, length, iova;
    } map = {.size = sizeof(map),
             .flags = flags | WRITEABLE | READABLE,
             .ioas_id = ioas_id,
             .user_va = va,
             .length = len,
             .iova = *iova};
    int rc = call(iommufd, IOAS_MAP, &map);
    *iova = map.iova;
    return rc;
}

int iommufd_map(int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t va, uint64_t len)
{
    return map(iommufd, ioas_id, FIXED_IOVA, &iova, va, len);
}

int iommufd_map_anywhere(int iommufd, uint32_t ioas_id, uint64_t *iova, uint64_t va, uint64_t len)
{
    return map(iommufd, ioas_id, 0, iova, va, len);
}

int iommufd_map_file(int iommufd, uint32_t ioas_id, uint64_t iova, int fd, uint64_t start, uint64_t len)
{
    struct {
        uint32_t size, flags, ioas_id;
        int32_t fd;
        uint64_t start, length, iova;
    } map = {.size = sizeof(map),
             .flags = FIXED_IOVA | WRITEABLE | READABLE,
             .ioas_id = ioas_id,
             .fd = fd,
             .start = start,
             .length = len,
             .iova = iova};
    return call(iommufd, IOAS_MAP_FILE, &map);
}

int iommufd_change_process(int iommufd)
{
    struct {
        uint32_t size, reserved;
    } change = {.size = sizeof(change)};
    return call(iommufd, IOAS_CHANGE_PROCESS, &change);
}

int iommufd_copy(int iommufd, uint32_t ioas_id, uint64_t iova, uint32_t from_ioas_id, uint64_t from_iova,
                 uint64_t len)
{
    struct {
        uint32_t size, flags, dst_ioas_id, src_ioas_id;
        uint64_t length, dst_iova, src_iova;
    } copy = {.size = sizeof(copy),
              .flags = FIXED_IOVA | WRITEABLE | READABLE,
              .dst_ioas_id = ioas_id,
              .src_ioas_id = from_ioas_id,
              .length = len,
              .dst_iova = iova,
              .src_iova = from_iova};
    return call(iommufd, IOAS_COPY, &copy);
}

int iommufd_unmap(int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    struct {
        uint32_t size, ioas_id;
        uint64_t iova, length;
    } unmap = {.size = sizeof(unmap), .ioas_id = ioas_id, .iova = iova, .length = len};
    int rc = call(iommufd, IOAS_UNMAP, &unmap);
    *unmapped = rc < 0 ? 0 : unmap.length;
    return rc;
}

int iommufd_ranges(int iommufd, uint32_t ioas_id, struct iommufd_range *ranges, uint32_t max)
{
    struct {
        uint32_t size, ioas_id, num_iovas, reserved;
        uint64_t allowed_iovas, out_iova_alignment;
    } query = {.size = sizeof(query),
               .ioas_id = ioas_id,
               .num_iovas = max,
               .allowed_iovas = (uint64_t)(uintptr_t)ranges};
    int rc = call(iommufd, IOAS_IOVA_RANGES, &query);
    return rc < 0 && rc != -EMSGSIZE ? rc : (int)query.num_iovas;
}

int iommufd_allow(int iommufd, uint32_t ioas_id, const struct iommufd_range *ranges, uint32_t nr)
{
    struct {
        uint32_t size, ioas_id, num_iovas, reserved;
        uint64_t allowed_iovas;
    } allow = {.size = sizeof(allow),
               .ioas_id = ioas_id,
               .num_iovas = nr,
               .allowed_iovas = (uint64_t)(uintptr_t)ranges};
    return call(iommufd, IOAS_ALLOW_IOVAS, &allow);
}

int iommufd_bind(int iommufd, int device_fd, uint32_t *device_id)
{
    struct {
        uint32_t argsz, flags;
        int32_t iommufd;
        uint32_t out_devid;
    } bind = {.argsz = sizeof(bind), .iommufd = iommufd};
    int rc = call(device_fd, DEVICE_BIND, &bind);
    *device_id = bind.out_devid;
    return rc;
}

int iommufd_alloc_page_table(int iommufd, uint32_t device_id, uint32_t ioas_id, uint32_t *page_table_id)
{
    struct {
        uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
        uint64_t data_uptr;
    } alloc = {.size = sizeof(alloc), .dev_id = device_id, .pt_id = ioas_id};
    int rc = call(iommufd, HWPT_ALLOC, &alloc);
    *page_table_id = alloc.out_hwpt_id;
    return rc;
}

int iommufd_attach(int device_fd, uint32_t id)
{
    struct {
        uint32_t argsz, flags, pt_id;
    } attach = {.argsz = sizeof(attach), .pt_id = id};
    return call(device_fd, DEVICE_ATTACH, &attach);
}

int iommufd_detach(int device_fd)
{
    struct {
        uint32_t argsz, flags;
    } detach = {.argsz = sizeof(detach)};
    return call(device_fd, DEVICE_DETACH, &detach);
}

int iommufd_set_option(int iommufd, uint32_t object_id, uint32_t option, uint64_t value)
{
    struct {
        uint32_t size, option_id;
        uint16_t op, reserved;
        uint32_t object_id;
        uint64_t val64;
    } set = {.size = sizeof(set), .option_id = option, .object_id = object_id, .val64 = value};
    return call(iommufd, OPTION, &set);
}
