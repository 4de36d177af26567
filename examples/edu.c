/* SPDX-License-Identifier: MIT */
/*
 * QEMU's `edu` device: its identification and its DMA engine, polled. One command at a time, by one thread.
 */
#include "edu.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum {
    EDU_REG_ID = 0x00,
    EDU_REG_DMA_SRC = 0x80,
    EDU_REG_DMA_DST = 0x88,
    EDU_REG_DMA_COUNT = 0x90,
    EDU_REG_DMA_COMMAND = 0x98,
    EDU_DMA_START = 1,
    EDU_DMA_TO_RAM = 2,
    EDU_MEMORY = 0x40000, /* where the device's memory lies in its own address space */
};

int edu_check(const struct vfio_device *dev)
{
    uint32_t id = bar_read32(dev, EDU_REG_ID);
    if ((id & 0xff) == 0xed)
        return 0;
    fprintf(stderr, "not an edu device: its identification is %#x, not 0x…ed\n", id);
    return -ENODEV;
}

static int run_command(const struct vfio_device *dev, uint64_t src, uint64_t dst, size_t len, uint64_t flags)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    struct timespec start, now;

    bar_write64(dev, EDU_REG_DMA_SRC, src);
    bar_write64(dev, EDU_REG_DMA_DST, dst);
    bar_write64(dev, EDU_REG_DMA_COUNT, len);
    atomic_thread_fence(memory_order_seq_cst); /* what the CPU stored is there before the device looks */
    bar_write64(dev, EDU_REG_DMA_COMMAND, EDU_DMA_START | flags);
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        if (!(bar_read64(dev, EDU_REG_DMA_COMMAND) & EDU_DMA_START)) {
            atomic_thread_fence(memory_order_seq_cst); /* and nothing is read before the device is done */
            return 0;
        }
        nanosleep(&pause, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < 10);
    return -ETIMEDOUT;
}

static int fits(size_t offset, size_t len)
{
    return len > 0 && offset < EDU_MAX_BYTES && len <= EDU_MAX_BYTES - offset;
}

int edu_load(const struct vfio_device *dev, uint64_t iova, size_t offset, size_t len)
{
    return fits(offset, len) ? run_command(dev, iova, EDU_MEMORY + offset, len, 0) : -EINVAL;
}

int edu_store(const struct vfio_device *dev, uint64_t iova, size_t offset, size_t len)
{
    return fits(offset, len) ? run_command(dev, EDU_MEMORY + offset, iova, len, EDU_DMA_TO_RAM) : -EINVAL;
}
