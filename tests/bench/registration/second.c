/* SPDX-License-Identifier: MIT */
/*
 * What a second address space of an iommufd costs: base pages are registered in the first, then another device is attached to
 * the second, which is given all of it by copies. With the shim preloaded by lookups; without it by the bare calls, for blocks of
 * the same size: the kernel's share. Runs in the VM: second MIB ROUNDS BDF character device of another
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "anydma.h"
#include "bench.h"
#include "iommufd.h"
#include "vfio_device.h"

#define BLOCK ((uint64_t)2 << 20)
#define GOAL 0.1

static struct vfio_device dev;
static int other;
static uint32_t second;
static uint64_t len;

static double ms_since(uint64_t began)
{
    return (double)(bench_now_ns() - began) / 1e6;
}

static void make_first(uint64_t va)
{
    uint64_t iova;
    for (uint64_t at = va; at < va + len; at += BLOCK) {
        int rc = anydma_active() ? anydma_iova_range((void *)at, BLOCK, &iova)
                                 : iommufd_map(dev.container_fd, dev.ioas_id, at, at, BLOCK);
        bench_require(rc == 0, "the first registration");
    }
}

static void make_copies(uint64_t va)
{
    for (uint64_t at = va; !anydma_active() && at < va + len; at += BLOCK)
        bench_require(iommufd_copy(dev.container_fd, second, at, dev.ioas_id, at, BLOCK) == 0, "a copy");
}

static void undo(uint64_t va)
{
    uint64_t undone;
    for (unsigned i = 0; !anydma_active() && i < 2; i++)
        bench_require(iommufd_unmap(dev.container_fd, i ? dev.ioas_id : second, va, len, &undone) == 0 &&
                          undone == len,
                      "unmapping");
    bench_require(iommufd_detach(other) == 0 && munmap((void *)va, len) == 0, "undoing");
}

static void run_round(struct samples *first, struct samples *attach, struct samples *copies)
{
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_require(memory != MAP_FAILED && madvise(memory, len, MADV_NOHUGEPAGE) == 0, "no memory");
    uint64_t began = bench_now_ns();
    make_first((uint64_t)memory);
    bench_add(first, ms_since(began));
    began = bench_now_ns();
    bench_require(iommufd_attach(other, second) == 0, "the second attach");
    bench_add(attach, ms_since(began));
    began = bench_now_ns();
    make_copies((uint64_t)memory);
    bench_add(copies, ms_since(began));
    undo((uint64_t)memory);
}

static void emit(const char *name, const struct samples *value, const struct samples *first, double goal)
{
    bench_emit(&(struct figure){name, bench_median(value), "ms", "first", bench_median(first), goal,
                                bench_spread(value)});
}

int main(int argc, char **argv)
{
    static struct samples first, attach, copies;
    uint32_t id;
    bench_require(argc == 5, "usage: second MIB ROUNDS BDF CDEV");
    len = strtoul(argv[1], NULL, 0) << 20;
    other = open(argv[4], O_RDWR | O_CLOEXEC);
    bench_require(other >= 0 && vfio_device_open(&dev, argv[3]) == 0 &&
                      iommufd_bind(dev.container_fd, other, &id) == 0 &&
                      iommufd_alloc_ioas(dev.container_fd, &second) == 0,
                  "no two devices by iommufd");
    bench_pin(0);
    for (int round = 0; round < atoi(argv[2]); round++)
        run_round(&first, &attach, &copies);
    if (anydma_active())
        emit("registration_second_attach", &attach, &first, GOAL);
    else {
        emit("registration_second_bare_attach", &attach, &first, 0);
        emit("registration_second_bare_copies", &copies, &first, 0);
    }
    return 0;
}
