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

/* Where the driver's memory comes from, and where the device finds any: a driver written against another
 * library takes both from there. Each returns 0 or -errno unless said otherwise. */
struct nvme_memory {
    int (*start)(const struct vfio_device *dev); /* the device is open; NULL: there is nothing to do */
    void *(*alloc)(size_t bytes);                /* at the start of a page; NULL: there is none */
    void (*free)(void *memory);
    /* As anydma_segments. */
    int (*find_segments)(const void *addr, size_t len, struct anydma_segment *segs, size_t max);
};

struct nvme {
    struct vfio_device dev;
    struct nvme_memory memory;
    struct nvme_queue admin;
    struct nvme_queue io;
    size_t doorbell_stride;
    uint64_t *prp_list; /* one page of 8-byte entries, for the command in flight */
    void *bounce;       /* max_bytes, for what PRPs can't describe */
    size_t max_bytes;   /* what one command may move */
    size_t block_bytes;
    uint64_t nr_blocks;
    struct anydma_segment segments[NVME_MAX_PAGES];
    char model[41];
};

/* Opens the controller at `bdf`, resets it, identifies it and its namespace 1. Returns 0 or -errno, said on
 * stderr. */
int nvme_open(struct nvme *nvme, const char *bdf);
/* The same, with other memory than malloc's and anydma's lookups. */
int nvme_open_with(struct nvme *nvme, const char *bdf, const struct nvme_memory *memory);

/* Stops the controller, then frees the queues: it must not be told to do DMA into freed memory. */
void nvme_close(struct nvme *nvme);

/* Moves `bytes` between `buf` and the namespace, from block `lba` on. A part of the last block is written
 * with zeroes behind it, and read without them. Returns 0 or -errno, said on stderr. */
int nvme_write(struct nvme *nvme, uint64_t lba, const void *buf, size_t bytes);
int nvme_read(struct nvme *nvme, uint64_t lba, void *buf, size_t bytes);

/* For callers who can't say how large a struct nvme is. NULL: it could not be opened, which stderr says. */
struct nvme *nvme_new(const char *bdf);
void nvme_delete(struct nvme *nvme);
size_t nvme_block_bytes(const struct nvme *nvme);

#endif
