/* SPDX-License-Identifier: MIT */
/*
 * A minimal polled NVMe driver: what the device reads and writes, queues and PRP lists included, is ordinary
 * memory whose IOVAs come from anydma. Read build_prps() first: the rest is the NVMe specification (1.4), in
 * the order of use.
 */
#include "nvme.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    REG_CAP = 0x00,  /* capabilities */
    REG_CC = 0x14,   /* controller configuration */
    REG_CSTS = 0x1c, /* controller status */
    REG_AQA = 0x24,  /* sizes of the admin queues */
    REG_ASQ = 0x28,  /* IOVA of the admin submission queue */
    REG_ACQ = 0x30,  /* IOVA of the admin completion queue */
    REG_DOORBELLS = 0x1000,

    CC_ENABLE = 1,
    CC_ENTRY_SIZES = 6 << 16 | 4 << 20, /* 2^6 bytes a submission, 2^4 a completion */
    CSTS_READY = 1,

    ADMIN_CREATE_SQ = 0x01,
    ADMIN_CREATE_CQ = 0x05,
    ADMIN_IDENTIFY = 0x06,
    ADMIN_SET_FEATURES = 0x09,
    FEATURE_NR_QUEUES = 0x07,
    IO_WRITE = 0x01,
    IO_READ = 0x02,

    QUEUE_ENTRIES = 64, /* 64 submissions of 64 bytes are one page */
    TIMEOUT_SECONDS = 20,
};

struct nvme_command {
    uint8_t opcode;
    uint8_t flags;
    uint16_t id;
    uint32_t namespace_id;
    uint64_t reserved;
    uint64_t metadata;
    uint64_t prp1;
    uint64_t prp2;
    uint32_t dword[6]; /* command dwords 10 to 15 */
};

struct nvme_completion {
    uint32_t result;
    uint32_t reserved;
    uint16_t sq_head;
    uint16_t sq_id;
    uint16_t command_id;
    uint16_t status; /* bit 0 is the phase */
};

static int say(int rc, const char *what)
{
    fprintf(stderr, "nvme: %s: %s\n", what, strerror(-rc));
    return rc;
}

static size_t page_offset(uint64_t address)
{
    return address & (NVME_PAGE_BYTES - 1);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Physical region pages: the first may start anywhere (at a multiple of 4), each of the others is a whole
 * page. Writes the IOVA of each page of [buf, buf + bytes) to first, then list[0..). Returns how many pages,
 * or -errno. It works for any memory because an IOVA has the same offset within its page as its address, so
 * that runs of IOVAs only ever end on a page's end. */
static int build_prp_entries(struct nvme *nvme, const void *buf, size_t bytes, uint64_t *first)
{
    int nr_segments = nvme->memory.find_segments(buf, bytes, nvme->segments, NVME_MAX_PAGES);
    int nr_pages = 0;

    if (nr_segments < 0)
        return nr_segments;
    if (nr_segments > NVME_MAX_PAGES)
        return -E2BIG;
    for (int s = 0; s < nr_segments; s++) {
        uint64_t iova = nvme->segments[s].iova, end = iova + nvme->segments[s].len;
        if (nr_pages > 0 && page_offset(iova) != 0)
            return -EINVAL;
        for (; iova < end; iova += NVME_PAGE_BYTES - page_offset(iova)) {
            if (nr_pages == 0)
                *first = iova;
            else
                nvme->prp_list[nr_pages - 1] = iova;
            nr_pages++;
        }
        if (s + 1 < nr_segments && page_offset(end) != 0)
            return -EINVAL;
    }
    return nr_pages;
}

/* The IOVA of one page of the driver's own; ANYDMA_BAD_IOVA with errno. */
static uint64_t page_iova(struct nvme *nvme, const volatile void *page)
{
    struct anydma_segment found;
    int rc = nvme->memory.find_segments((const void *)page, NVME_PAGE_BYTES, &found, 1);
    if (rc > 0)
        return found.iova;
    errno = -rc;
    return ANYDMA_BAD_IOVA;
}

/* Describes [buf, buf + bytes) in the two PRP fields: one page, two pages, or one page and a list of the
 * others. */
static int build_prps(struct nvme *nvme, const void *buf, size_t bytes, struct nvme_command *command)
{
    int nr_pages = build_prp_entries(nvme, buf, bytes, &command->prp1);
    if (nr_pages < 0)
        return nr_pages;
    if (nr_pages == 2)
        command->prp2 = nvme->prp_list[0];
    if (nr_pages > 2) {
        command->prp2 = page_iova(nvme, nvme->prp_list);
        if (command->prp2 == ANYDMA_BAD_IOVA)
            return -errno;
    }
    return 0;
}

static void ring_doorbell(struct nvme *nvme, const struct nvme_queue *queue, int is_completion,
                          uint16_t value)
{
    size_t index = 2 * queue->id + (is_completion ? 1 : 0);
    atomic_thread_fence(memory_order_seq_cst); /* what the queue holds is visible before the device is told */
    bar_write32(&nvme->dev, REG_DOORBELLS + index * nvme->doorbell_stride, value);
}

static int wait_for_completion(struct nvme *nvme, struct nvme_queue *queue, uint16_t *status)
{
    const struct timespec pause = {.tv_nsec = 20000};
    volatile struct nvme_completion *completion = &queue->completions[queue->head];
    double give_up = seconds_now() + TIMEOUT_SECONDS;

    while ((completion->status & 1) != queue->phase) {
        if (seconds_now() > give_up)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    atomic_thread_fence(memory_order_seq_cst); /* the data arrived before the phase bit did */
    *status = completion->status >> 1;
    queue->head = (queue->head + 1) % QUEUE_ENTRIES;
    if (queue->head == 0)
        queue->phase ^= 1;
    ring_doorbell(nvme, queue, 1, queue->head);
    return 0;
}

/* Submits one command and waits for it. Returns 0, -EIO with the device's own status on stderr, or
 * -ETIMEDOUT. */
static int run_command(struct nvme *nvme, struct nvme_queue *queue, struct nvme_command *command)
{
    uint16_t status;

    command->id = queue->tail;
    queue->submissions[queue->tail] = *command;
    queue->tail = (queue->tail + 1) % QUEUE_ENTRIES;
    ring_doorbell(nvme, queue, 0, queue->tail);
    int rc = wait_for_completion(nvme, queue, &status);
    if (rc < 0) {
        fprintf(stderr, "nvme: queue %u, opcode %#x: no completion after %d s (did its DMA fault?)\n",
                queue->id, command->opcode, TIMEOUT_SECONDS);
        return rc;
    }
    if (status & 0x7ff) {
        fprintf(stderr, "nvme: queue %u, opcode %#x: the device says: status type %u, code %#x\n", queue->id,
                command->opcode, status >> 8 & 7, status & 0xff);
        return -EIO;
    }
    return 0;
}

static int queue_create(const struct nvme_memory *memory, struct nvme_queue *queue, unsigned id)
{
    *queue = (struct nvme_queue){.id = id, .phase = 1};
    queue->submissions = memory->alloc(NVME_PAGE_BYTES);
    queue->completions = memory->alloc(NVME_PAGE_BYTES);
    if (!queue->submissions || !queue->completions)
        return -ENOMEM;
    memset(queue->submissions, 0, NVME_PAGE_BYTES);
    memset((void *)queue->completions, 0, NVME_PAGE_BYTES);
    return 0;
}

static int wait_until_ready(struct nvme *nvme, uint32_t ready)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    double give_up = seconds_now() + TIMEOUT_SECONDS;
    while ((bar_read32(&nvme->dev, REG_CSTS) & CSTS_READY) != ready) {
        if (seconds_now() > give_up)
            return say(-ETIMEDOUT, ready ? "waiting for it to start" : "waiting for it to stop");
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* Resets the controller and gives it the admin queue. */
static int start_controller(struct nvme *nvme)
{
    uint64_t capabilities = bar_read64(&nvme->dev, REG_CAP);
    uint64_t submissions = page_iova(nvme, nvme->admin.submissions);
    uint64_t completions = page_iova(nvme, nvme->admin.completions);

    if (submissions == ANYDMA_BAD_IOVA || completions == ANYDMA_BAD_IOVA)
        return say(-errno, "no IOVA for the admin queue");
    if (capabilities >> 48 & 0xf)
        return say(-ENOTSUP, "it has no pages of 4 KiB");
    nvme->doorbell_stride = 4u << (capabilities >> 32 & 0xf);

    bar_write32(&nvme->dev, REG_CC, 0);
    int rc = wait_until_ready(nvme, 0);
    if (rc < 0)
        return rc;
    bar_write32(&nvme->dev, REG_AQA, (QUEUE_ENTRIES - 1) << 16 | (QUEUE_ENTRIES - 1));
    bar_write64(&nvme->dev, REG_ASQ, submissions);
    bar_write64(&nvme->dev, REG_ACQ, completions);
    bar_write32(&nvme->dev, REG_CC, CC_ENTRY_SIZES | CC_ENABLE);
    return wait_until_ready(nvme, CSTS_READY);
}

/* `what`: 1 the controller, 0 the namespace. */
static int identify_one(struct nvme *nvme, uint32_t what, void *page)
{
    struct nvme_command command = {.opcode = ADMIN_IDENTIFY, .namespace_id = what ? 0 : 1, .dword = {what}};
    int rc = build_prps(nvme, page, NVME_PAGE_BYTES, &command);
    return rc < 0 ? say(rc, "no IOVA for the identification") : run_command(nvme, &nvme->admin, &command);
}

static int identify(struct nvme *nvme)
{
    uint8_t *page = nvme->bounce;
    int rc = identify_one(nvme, 1, page);
    if (rc == 0) {
        memcpy(nvme->model, page + 24, 40);
        for (int i = 39; i >= 0 && nvme->model[i] == ' '; i--)
            nvme->model[i] = 0;
        unsigned shift = page[77]; /* MDTS: a power of two of pages; 0: no limit */
        nvme->max_bytes = (NVME_MAX_PAGES - 1) * NVME_PAGE_BYTES;
        if (shift > 0 && shift < 8)
            nvme->max_bytes = (size_t)NVME_PAGE_BYTES << shift;
        rc = identify_one(nvme, 0, page);
    }
    if (rc == 0) {
        unsigned format = page[26] & 0xf;
        memcpy(&nvme->nr_blocks, page, sizeof(nvme->nr_blocks));
        nvme->block_bytes = (size_t)1 << page[128 + 4 * format + 2];
    }
    return rc;
}

static int create_io_queue(struct nvme *nvme)
{
    uint32_t id_and_size = nvme->io.id | (QUEUE_ENTRIES - 1) << 16;
    struct nvme_command want_one = {.opcode = ADMIN_SET_FEATURES, .dword = {FEATURE_NR_QUEUES, 0}};
    struct nvme_command create_cq = {
        .opcode = ADMIN_CREATE_CQ, .prp1 = page_iova(nvme, nvme->io.completions), .dword = {id_and_size, 1}};
    struct nvme_command create_sq = {.opcode = ADMIN_CREATE_SQ,
                                     .prp1 = page_iova(nvme, nvme->io.submissions),
                                     .dword = {id_and_size, nvme->io.id << 16 | 1}};

    if (create_cq.prp1 == ANYDMA_BAD_IOVA || create_sq.prp1 == ANYDMA_BAD_IOVA)
        return say(-errno, "no IOVA for the I/O queue");
    int rc = run_command(nvme, &nvme->admin, &want_one);
    if (rc == 0)
        rc = run_command(nvme, &nvme->admin, &create_cq);
    if (rc == 0)
        rc = run_command(nvme, &nvme->admin, &create_sq);
    return rc;
}

static int allocate(struct nvme *nvme)
{
    const struct nvme_memory *memory = &nvme->memory;
    nvme->prp_list = memory->alloc(NVME_PAGE_BYTES);
    nvme->bounce = memory->alloc((NVME_MAX_PAGES - 1) * NVME_PAGE_BYTES);
    if (queue_create(memory, &nvme->admin, 0) < 0 || queue_create(memory, &nvme->io, 1) < 0 ||
        !nvme->prp_list || !nvme->bounce)
        return say(-ENOMEM, "its queues");
    return 0;
}

int nvme_open_with(struct nvme *nvme, const char *bdf, const struct nvme_memory *memory)
{
    memset(nvme, 0, sizeof(*nvme));
    nvme->memory = *memory;
    int rc = vfio_device_open(&nvme->dev, bdf);
    if (rc < 0)
        return rc;
    if (memory->start)
        rc = memory->start(&nvme->dev);
    if (rc == 0)
        rc = allocate(nvme);
    if (rc == 0)
        rc = start_controller(nvme);
    if (rc == 0)
        rc = identify(nvme);
    if (rc == 0)
        rc = create_io_queue(nvme);
    if (rc < 0)
        nvme_close(nvme);
    return rc;
}

static void *alloc_pages(size_t bytes)
{
    return aligned_alloc(NVME_PAGE_BYTES, bytes);
}

/* Ordinary memory: malloc's, which anydma finds IOVAs for. */
static const struct nvme_memory ordinary = {
    .alloc = alloc_pages, .free = free, .find_segments = anydma_segments};

int nvme_open(struct nvme *nvme, const char *bdf)
{
    return nvme_open_with(nvme, bdf, &ordinary);
}

struct nvme *nvme_new(const char *bdf)
{
    struct nvme *nvme = malloc(sizeof(*nvme));
    if (nvme && nvme_open(nvme, bdf) == 0)
        return nvme;
    free(nvme);
    return NULL;
}

void nvme_delete(struct nvme *nvme)
{
    nvme_close(nvme);
    free(nvme);
}

size_t nvme_block_bytes(const struct nvme *nvme)
{
    return nvme->block_bytes;
}

void nvme_close(struct nvme *nvme)
{
    void (*give)(void *) = nvme->memory.free;
    if (nvme->dev.bar0) {
        bar_write32(&nvme->dev, REG_CC, 0);
        wait_until_ready(nvme, 0);
    }
    vfio_device_close(&nvme->dev);
    give(nvme->admin.submissions);
    give((void *)nvme->admin.completions);
    give(nvme->io.submissions);
    give((void *)nvme->io.completions);
    give(nvme->prp_list);
    give(nvme->bounce);
    memset(nvme, 0, sizeof(*nvme));
}

/* One command: whole blocks, at most max_bytes, `buf` at a multiple of 4. */
static int move_blocks(struct nvme *nvme, uint8_t opcode, uint64_t lba, void *buf, size_t bytes)
{
    struct nvme_command command = {.opcode = opcode, .namespace_id = 1};
    int rc = build_prps(nvme, buf, bytes, &command);
    if (rc < 0)
        return say(rc, "no IOVAs for the buffer");
    command.dword[0] = (uint32_t)lba;
    command.dword[1] = (uint32_t)(lba >> 32);
    command.dword[2] = (uint32_t)(bytes / nvme->block_bytes - 1);
    return run_command(nvme, &nvme->io, &command);
}

/* What PRPs can't describe: a part of a block, or a buffer at an odd address. */
static int move_bounced(struct nvme *nvme, uint8_t opcode, uint64_t lba, void *buf, size_t bytes)
{
    size_t whole = (bytes + nvme->block_bytes - 1) / nvme->block_bytes * nvme->block_bytes;
    if (opcode == IO_WRITE) {
        memset((char *)nvme->bounce + bytes, 0, whole - bytes);
        memcpy(nvme->bounce, buf, bytes);
    }
    int rc = move_blocks(nvme, opcode, lba, nvme->bounce, whole);
    if (rc == 0 && opcode == IO_READ)
        memcpy(buf, nvme->bounce, bytes);
    return rc;
}

static int move(struct nvme *nvme, uint8_t opcode, uint64_t lba, char *buf, size_t bytes)
{
    if (lba > nvme->nr_blocks || bytes > (nvme->nr_blocks - lba) * nvme->block_bytes)
        return say(-ENOSPC, "the namespace ends before the buffer does");
    for (size_t done = 0; done < bytes;) {
        size_t piece = bytes - done < nvme->max_bytes ? bytes - done : nvme->max_bytes;
        int direct = piece >= nvme->block_bytes && (uintptr_t)(buf + done) % 4 == 0;
        if (direct)
            piece -= piece % nvme->block_bytes;
        int rc = (direct ? move_blocks : move_bounced)(nvme, opcode, lba + done / nvme->block_bytes,
                                                       buf + done, piece);
        if (rc < 0)
            return rc;
        done += piece;
    }
    return 0;
}

int nvme_write(struct nvme *nvme, uint64_t lba, const void *buf, size_t bytes)
{
    return move(nvme, IO_WRITE, lba, (char *)(uintptr_t)buf, bytes);
}

int nvme_read(struct nvme *nvme, uint64_t lba, void *buf, size_t bytes)
{
    return move(nvme, IO_READ, lba, buf, bytes);
}
