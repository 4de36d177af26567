/* SPDX-License-Identifier: MIT */
/*
 * As the manual of the 82574 has it, with legacy descriptors and no interrupts. Each exchange uses one
 * descriptor of either ring.
 */
#include "e1000e.h"

#include "anydma.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    REG_CTRL = 0x0000,
    REG_STATUS = 0x0008,
    REG_INTERRUPTS_OFF = 0x00d8,
    REG_RCTL = 0x0100,
    REG_TCTL = 0x0400,
    REG_RX_RING = 0x2800, /* base low, base high, bytes; head at 0x10, tail at 0x18 */
    REG_TX_RING = 0x3800,
    RING_BASE_HIGH = 0x04,
    RING_BYTES = 0x08,
    RING_HEAD = 0x10,
    RING_TAIL = 0x18,

    CTRL_LINK_UP = 1 << 6,
    CTRL_RESET = 1 << 26,
    STATUS_LINK_UP = 1 << 1,
    RCTL_ENABLE = 1 << 1,
    RCTL_ALL_ADDRESSES = 1 << 3 | 1 << 4 | 1 << 15, /* unicast, multicast, broadcast */
    RCTL_LOOPBACK = 1 << 6,
    TCTL_ENABLE = 1 << 1,
    TCTL_PAD = 1 << 3,

    SEND_END = 1, /* of the frame */
    SEND_ADD_CHECKSUM = 2,
    SEND_REPORT = 8,
    DONE = 1,

    NR_DESCRIPTORS = 256,
    RING_ALIGNMENT = 4096,
    TIMEOUT_SECONDS = 20,
};

/* 16 bytes; the card fills in `length` of a received one, and `status` of both. */
struct e1000e_descriptor {
    uint64_t iova;
    uint16_t length;
    uint8_t checksum_offset; /* received: the low half of the checksum, as is */
    uint8_t command;         /* received: its high half */
    uint8_t status;
    uint8_t errors;
    uint16_t special;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int wait_for_link(const struct e1000e *nic)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    double give_up = seconds_now() + TIMEOUT_SECONDS;
    while (!(bar_read32(&nic->dev, REG_STATUS) & STATUS_LINK_UP)) {
        if (seconds_now() > give_up)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int set_ring(const struct e1000e *nic, size_t registers, const volatile void *ring)
{
    uint64_t iova = anydma_iova((const void *)ring);
    if (iova == ANYDMA_BAD_IOVA)
        return -errno;
    bar_write32(&nic->dev, registers, (uint32_t)iova);
    bar_write32(&nic->dev, registers + RING_BASE_HIGH, (uint32_t)(iova >> 32));
    bar_write32(&nic->dev, registers + RING_BYTES, NR_DESCRIPTORS * sizeof(struct e1000e_descriptor));
    bar_write32(&nic->dev, registers + RING_HEAD, 0);
    bar_write32(&nic->dev, registers + RING_TAIL, 0);
    return 0;
}

static int start(struct e1000e *nic)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    bar_write32(&nic->dev, REG_CTRL, CTRL_RESET);
    nanosleep(&pause, NULL);
    bar_write32(&nic->dev, REG_INTERRUPTS_OFF, UINT32_MAX);
    bar_write32(&nic->dev, REG_CTRL, CTRL_LINK_UP);
    int rc = wait_for_link(nic);
    if (rc == 0)
        rc = set_ring(nic, REG_RX_RING, nic->receives);
    if (rc == 0)
        rc = set_ring(nic, REG_TX_RING, nic->sends);
    if (rc < 0)
        return rc;
    bar_write32(&nic->dev, REG_RCTL, RCTL_ENABLE | RCTL_ALL_ADDRESSES | RCTL_LOOPBACK);
    bar_write32(&nic->dev, REG_TCTL, TCTL_ENABLE | TCTL_PAD);
    return 0;
}

int e1000e_open(struct e1000e *nic, const char *bdf)
{
    size_t bytes = NR_DESCRIPTORS * sizeof(struct e1000e_descriptor);
    memset(nic, 0, sizeof(*nic));
    int rc = vfio_device_open(&nic->dev, bdf);
    if (rc < 0)
        return rc;
    nic->sends = aligned_alloc(RING_ALIGNMENT, bytes);
    nic->receives = aligned_alloc(RING_ALIGNMENT, bytes);
    rc = nic->sends && nic->receives ? 0 : -ENOMEM;
    if (rc == 0) {
        memset((void *)nic->sends, 0, bytes);
        memset((void *)nic->receives, 0, bytes);
        rc = start(nic);
    }
    if (rc < 0) {
        fprintf(stderr, "e1000e: starting it: %s\n", strerror(-rc));
        e1000e_close(nic);
    }
    return rc;
}

void e1000e_close(struct e1000e *nic)
{
    if (nic->dev.bar0)
        bar_write32(&nic->dev, REG_CTRL, CTRL_RESET);
    vfio_device_close(&nic->dev);
    free((void *)nic->sends);
    free((void *)nic->receives);
    memset(nic, 0, sizeof(*nic));
}

static int wait_for_both(const struct e1000e *nic, unsigned slot)
{
    const struct timespec pause = {.tv_nsec = 20000};
    double give_up = seconds_now() + TIMEOUT_SECONDS;
    while (!(nic->sends[slot].status & DONE) || !(nic->receives[slot].status & DONE)) {
        if (seconds_now() > give_up)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return 0;
}

int e1000e_exchange(struct e1000e *nic, uint64_t from_iova, size_t bytes, uint64_t to_iova)
{
    unsigned slot = nic->tail;
    if (bytes < E1000E_MIN_FRAME || bytes > E1000E_MAX_FRAME)
        return -EINVAL;
    nic->receives[slot] = (struct e1000e_descriptor){.iova = to_iova};
    nic->sends[slot] = (struct e1000e_descriptor){
        .iova = from_iova, .length = (uint16_t)bytes, .command = SEND_END | SEND_ADD_CHECKSUM | SEND_REPORT};
    nic->tail = (slot + 1) % NR_DESCRIPTORS;
    atomic_thread_fence(memory_order_seq_cst); /* the rings and the frame are there before the card looks */
    bar_write32(&nic->dev, REG_RX_RING + RING_TAIL, nic->tail);
    bar_write32(&nic->dev, REG_TX_RING + RING_TAIL, nic->tail);
    int rc = wait_for_both(nic, slot);
    atomic_thread_fence(memory_order_seq_cst); /* and what it wrote is read after it said so */
    return rc < 0 ? rc : nic->receives[slot].length;
}
