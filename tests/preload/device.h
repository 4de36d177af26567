/* SPDX-License-Identifier: MIT */
/*
 * A device without hardware. What the shim maps in its simulated IOMMU becomes a fixed buffer of io_uring,
 * which pins pages for the long term as VFIO does; what the device "writes" to an IOVA is read from a memfd
 * into that buffer: into the pages that were pinned at the moment of the registration, whatever the page
 * table says by now. The program must be linked with -rdynamic. device_mapped and device_unmapped run under
 * the registry's lock: they call neither malloc nor the shim. The device's lock comes after the registry's.
 */
#ifndef TESTS_PRELOAD_DEVICE_H
#define TESTS_PRELOAD_DEVICE_H

#include "iommu/iommu.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DEVICE_SLOTS = 8192 };

struct device_slot {
    uint64_t iova, va, len; /* len 0: free */
};

static struct {
    struct io_uring ring;
    pthread_mutex_t lock; /* the ring's submission side, and slots[] */
    struct device_slot slots[DEVICE_SLOTS];
    unsigned nr_slots; /* used so far */
    int source;        /* what the device writes is put here first */
    pid_t owner;
    atomic_ulong *calls_by_others; /* map and unmap calls by other processes: shared with them */
    bool is_there;
    bool is_idle; /* takes every mapping, pins and writes nothing */
    unsigned nth; /* which of the containers that have an IOVA it writes through */
} device = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Points slot `slot` of the ring's table to `len` bytes at `va`, pinned, or to nothing. */
static int device_set_buffer(unsigned slot, uint64_t va, uint64_t len)
{
    struct iovec buffer = {(void *)(uintptr_t)va, len};
    int n = io_uring_register_buffers_update_tag(&device.ring, slot, &buffer, NULL, 1);
    return n == 1 ? 0 : n < 0 ? n : -EIO;
}

static struct device_slot *device_free_slot(void)
{
    for (unsigned i = 0; i < device.nr_slots; i++)
        if (!device.slots[i].len)
            return &device.slots[i];
    return device.nr_slots < DEVICE_SLOTS ? &device.slots[device.nr_slots++] : NULL;
}

/* Takes the device's lock; not in another process than its own, where who held it at the fork does not exist.
 */
static void device_enter(void)
{
    if (getpid() == device.owner)
        pthread_mutex_lock(&device.lock);
    else
        atomic_fetch_add(device.calls_by_others, 1);
}

static void device_leave(void)
{
    if (getpid() == device.owner)
        pthread_mutex_unlock(&device.lock);
}

static int device_mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    if (device.is_idle)
        return 0;
    if (!device.is_there)
        return -ENODEV;
    device_enter();
    struct device_slot *slot = device_free_slot();
    int error = slot ? device_set_buffer((unsigned)(slot - device.slots), va, len) : -ENOSPC;
    if (!error)
        *slot = (struct device_slot){iova, va, len};
    device_leave();
    return error;
}

static void device_unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    if (device.is_idle)
        return;
    device_enter();
    for (unsigned i = 0; i < device.nr_slots; i++)
        if (device.slots[i].len == len && device.slots[i].iova == iova && device.slots[i].va == va) {
            device_set_buffer(i, 0, 0);
            device.slots[i].len = 0;
            break; /* another container may have the same */
        }
    device_leave();
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device
    __attribute__((visibility("default"))) = {device_mapped, device_unmapped, NULL};

/* First of all; ends the program where there is no io_uring. */
__attribute__((unused)) static void device_start(void)
{
    int error = io_uring_queue_init(8, &device.ring, 0);
    if (!error)
        error = io_uring_register_buffers_sparse(&device.ring, DEVICE_SLOTS);
    device.source = memfd_create("device", MFD_CLOEXEC);
    device.calls_by_others = mmap(NULL, sizeof(*device.calls_by_others), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (error || device.source < 0 || device.calls_by_others == MAP_FAILED) {
        printf("no io_uring with a table of buffers here (error %d)\n", -error);
        exit(77);
    }
    device.owner = getpid();
    device.is_there = true;
}

static unsigned device_find_slot(uint64_t iova, size_t len)
{
    unsigned i = 0, before = 0;
    for (; i < device.nr_slots; i++)
        if (device.slots[i].len && iova >= device.slots[i].iova &&
            iova + len <= device.slots[i].iova + device.slots[i].len && before++ == device.nth)
            break;
    return i;
}

static int device_read_fixed(uint64_t va, size_t len, unsigned slot)
{
    struct io_uring_cqe *cqe;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&device.ring);
    io_uring_prep_read_fixed(sqe, device.source, (void *)(uintptr_t)va, (unsigned)len, 0, (int)slot);
    int n = io_uring_submit_and_wait(&device.ring, 1);
    if (n < 0 || (n = io_uring_wait_cqe(&device.ring, &cqe)) < 0)
        return n;
    n = cqe->res;
    io_uring_cqe_seen(&device.ring, cqe);
    return n == (int)len ? 0 : n < 0 ? n : -EIO;
}

/* As judge.h has it; [iova, iova + len) lies in one mapping. */
int device_write(uint64_t iova, const void *bytes, size_t len);

int device_write(uint64_t iova, const void *bytes, size_t len)
{
    pthread_mutex_lock(&device.lock);
    unsigned i = device_find_slot(iova, len);
    int error = i == device.nr_slots ? -EFAULT : 0;
    if (!error && pwrite(device.source, bytes, len, 0) != (ssize_t)len)
        error = -EIO;
    if (!error)
        error = device_read_fixed(device.slots[i].va + (iova - device.slots[i].iova), len, i);
    pthread_mutex_unlock(&device.lock);
    return error;
}

/* The same, whatever mappings it lies in. */
__attribute__((unused)) static int device_write_all(uint64_t iova, const void *bytes, size_t len)
{
    int error = 0;
    for (size_t at = 0, n; !error && at < len; at += n) {
        n = 4096 - ((iova + at) & 4095) < len - at ? 4096 - ((iova + at) & 4095) : len - at;
        error = device_write(iova + at, (const char *)bytes + at, n);
    }
    return error;
}

#endif
