/* SPDX-License-Identifier: MIT */
/*
 * A minimal polled NVMe driver in user space: one admin queue, one I/O queue, one command at a time. Buffers
 * may be any memory that anydma can register: malloc'ed, `new`ed, mapped, at any address. One thread per
 * controller.
 */
#ifndef EXAMPLES_NVME_H
#define EXAMPLES_NVME_H

#include "anydma.h"
#include "vfio_device.h"

#define NVME_PAGE_BYTES 4096
#define NVME_MAX_PAGES 257 /* 1 MiB in one command, and a page more for a buffer that starts inside one */

struct nvme_command;
struct nvme_completion;

/* A submission queue and its completion queue: a page each, in ordinary memory. */
struct nvme_queue {
    struct nvme_command *submissions;
    volatile struct nvme_completion *completions;
    unsigned id;
    uint16_t tail;  /* next submission entry to fill */
    uint16_t head;  /* next completion entry to look at */
    uint16_t phase; /* what its phase bit will be once the device has written it */
};

struct nvme {
    struct vfio_device dev;
    struct nvme_queue admin;
    struct nvme_queue io;
    size_t doorbell_stride;
    uint64_t *prp_list; /* one page of 8-byte entries, for the command in flight */
    void *bounce;       /* max_bytes, for what PRPs can't describe */
    /* Where the device finds a buffer: anydma_segments; a program that relies on IOVA == address may say so. */
    int (*find_segments)(const void *addr, size_t len, struct anydma_segment *segs, size_t max);
    size_t max_bytes; /* what one command may move */
    size_t block_bytes;
    uint64_t nr_blocks;
    struct anydma_segment segments[NVME_MAX_PAGES];
    char model[41];
};

/* Opens the controller at `bdf`, resets it, identifies it and its namespace 1. Returns 0 or -errno, said on
 * stderr. */
int nvme_open(struct nvme *nvme, const char *bdf);

/* Stops the controller, then frees the queues: it must not be told to do DMA into freed memory. */
void nvme_close(struct nvme *nvme);

/* Moves `bytes` between `buf` and the namespace, from block `lba` on. A part of the last block is written
 * with zeroes behind it, and read without them. Returns 0 or -errno, said on stderr. */
int nvme_write(struct nvme *nvme, uint64_t lba, const void *buf, size_t bytes);
int nvme_read(struct nvme *nvme, uint64_t lba, void *buf, size_t bytes);

#endif
