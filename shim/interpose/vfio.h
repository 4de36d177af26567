/* SPDX-License-Identifier: MIT */
/* What the doors of VFIO's and of iommufd's calls share. */
#ifndef INTERPOSE_VFIO_H
#define INTERPOSE_VFIO_H

#include <stdbool.h>
#include <stdint.h>

struct dma_request;

/* The program's own call that maps or unmaps, made and told. `caller`: an address in who makes it. Returns as the ioctl,
 * -errno on failure. */
int vfio_map(const struct dma_request *request, const void *caller);
int vfio_unmap(const struct dma_request *request);

/* Whether address spaces of iommufds are served: ANYDMA_IOMMU may keep them apart. */
bool iommufd_is_served(void);
/* `fd`, just opened, is an iommufd, or a device's own file. */
void iommufd_opened(int fd);
void iommufd_device_opened(int fd);
/* iommufd's calls, and those of a device's own file that name an iommufd. Returns false when `call` is none of them; *result
 * gets what the ioctl returned, -errno on failure. */
bool iommufd_ioctl(int fd, unsigned long call, void *arg, const void *caller, int *result);

/* Makes a call by which a device comes to address space `id`, or to a page table of that number (0: to what plays the
 * container). It may fail for what is registered there: it is tried again without that, and what fits is put back. */
int vfio_attach(int fd, unsigned long call, void *arg, uint32_t id);

#endif
