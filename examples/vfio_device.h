/* SPDX-License-Identifier: MIT */
/*
 * Opens a PCI device through VFIO the ordinary way: container, group, type1 IOMMU, device, BAR 0. The
 * examples and the tests in the VM share it. It knows nothing of anydma: this is what any application with a
 * driver of its own does.
 */
#ifndef EXAMPLES_VFIO_DEVICE_H
#define EXAMPLES_VFIO_DEVICE_H

#include <stddef.h>
#include <stdint.h>

struct vfio_device {
    int container_fd;
    int group_fd;
    int device_fd;
    volatile uint8_t *bar0;
    size_t bar0_bytes;
};

/* Opens the device at `bdf` ("0000:00:03.0"; the domain may be left out), already bound to vfio-pci, in a
 * container of its own, maps its BAR 0 and lets it be a bus master. Returns 0, or -errno after saying on
 * stderr what failed. */
int vfio_device_open(struct vfio_device *dev, const char *bdf);

/* Closes all of it; the kernel undoes what was mapped in the container. Safe after a failed open. */
void vfio_device_close(struct vfio_device *dev);

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
