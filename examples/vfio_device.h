/* SPDX-License-Identifier: MIT */
/*
 * Opens a PCI device through VFIO, in one of the three ways that there are, and maps its BAR 0. The examples
 * and the tests in the VM share it. It knows nothing of anydma: this is what any application with a driver of
 * its own does.
 */
#ifndef EXAMPLES_VFIO_DEVICE_H
#define EXAMPLES_VFIO_DEVICE_H

#include <stddef.h>
#include <stdint.h>

/* The environment's BACKEND chooses: "type1" (container and group; the default), "compat" (the same calls, on
 * /dev/iommu in the container's place), "iommufd" (the device's own character device, on an address space of
 * /dev/iommu). */
enum vfio_backend { VFIO_BACKEND_TYPE1, VFIO_BACKEND_COMPAT, VFIO_BACKEND_IOMMUFD };

struct vfio_device {
    enum vfio_backend backend;
    int container_fd; /* the container, or with iommufd /dev/iommu */
    int group_fd;     /* -1 with iommufd */
    int device_fd;
    uint32_t device_id; /* with iommufd: what it calls the device, */
    uint32_t ioas_id;   /* and the address space; else 0 */
    volatile uint8_t *bar0;
    size_t bar0_bytes;
};

/* Opens the device at `bdf` ("0000:00:03.0"; the domain may be left out), already bound to vfio-pci, in a
 * container (or an address space) of its own, maps its BAR 0 and lets it be a bus master. Returns 0, or -errno
 * after saying on stderr what failed. */
int vfio_device_open(struct vfio_device *dev, const char *bdf);

/* Closes all of it; the kernel undoes what was mapped in the container. Safe after a failed open. */
void vfio_device_close(struct vfio_device *dev);

/* Maps [va, va + len) for the device at [iova, iova + len), readable and writable: the application's own
 * mapping. Returns 0 or -errno. */
int vfio_device_map(const struct vfio_device *dev, uint64_t iova, const void *va, uint64_t len);

/* Unmaps what lies in [iova, iova + len). Returns 0 with the bytes that were unmapped, or -errno. */
int vfio_device_unmap(const struct vfio_device *dev, uint64_t iova, uint64_t len, uint64_t *unmapped);

/* Reads and writes the registers of BAR 0; `offset` in bytes, naturally aligned. */
static inline uint32_t bar_read32(const struct vfio_device *dev, size_t offset)
{
    return *(const volatile uint32_t *)(dev->bar0 + offset);
}

static inline uint64_t bar_read64(const struct vfio_device *dev, size_t offset)
{
    return *(const volatile uint64_t *)(dev->bar0 + offset);
}

static inline void bar_write32(const struct vfio_device *dev, size_t offset, uint32_t value)
{
    *(volatile uint32_t *)(dev->bar0 + offset) = value;
}

static inline void bar_write64(const struct vfio_device *dev, size_t offset, uint64_t value)
{
    *(volatile uint64_t *)(dev->bar0 + offset) = value;
}

#endif
