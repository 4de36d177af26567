/* SPDX-License-Identifier: MIT */
/*
 * QEMU's `edu` device (docs/specs/edu): one DMA engine between the device's own 4 KiB of memory and the bus.
 * A command takes 100 ms of the emulator's clock, however little it moves.
 */
#ifndef EXAMPLES_EDU_H
#define EXAMPLES_EDU_H

#include "vfio_device.h"

/* One command moves at most this much: QEMU before 8.2 stops with an error when a transfer ends exactly at
 * the end of the device's memory. */
#define EDU_MAX_BYTES 4095

/* Checks that the device is an edu. Returns 0, or -ENODEV after saying on stderr what it is. */
int edu_check(const struct vfio_device *dev);

/* The device reads [iova, iova + len) into its memory at `offset`. Returns 0, -EINVAL, or -ETIMEDOUT after 10
 * s. */
int edu_load(const struct vfio_device *dev, uint64_t iova, size_t offset, size_t len);

/* The device writes `len` bytes of its memory at `offset` to [iova, iova + len). Returns as edu_load does. */
int edu_store(const struct vfio_device *dev, uint64_t iova, size_t offset, size_t len);

#endif
