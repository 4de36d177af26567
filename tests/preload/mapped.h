/* SPDX-License-Identifier: MIT */
/*
 * The device behind the simulated IOMMU as a map of what it can reach: a bit for each page of the low arena, set while
 * the page is mapped at its own address. Asking it changes nothing and registers nothing. The program must be linked
 * with -rdynamic.
 */
#ifndef TESTS_PRELOAD_MAPPED_H
#define TESTS_PRELOAD_MAPPED_H

#include "iommu/iommu.h"

#include <stdatomic.h>
#include <stdbool.h>

#define MAPPED_START (UINT64_C(256) << 30)
#define MAPPED_PAGES ((UINT64_C(256) << 30) >> 12)

static _Atomic uint64_t mapped_pages[MAPPED_PAGES / 64];

/* By 64 pages at a time where that can be. */
static void mapped_change(uint64_t va, uint64_t len, bool is_mapped)
{
    uint64_t page = (va - MAPPED_START) >> 12, end = page + (len >> 12);
    while (page < end && page < MAPPED_PAGES) {
        uint64_t mask = UINT64_C(1) << (page % 64), nr = 1;
        if (page % 64 == 0 && end - page >= 64)
            mask = UINT64_MAX, nr = 64;
        if (is_mapped)
            atomic_fetch_or(&mapped_pages[page / 64], mask);
        else
            atomic_fetch_and(&mapped_pages[page / 64], ~mask);
        page += nr;
    }
}

static int mapped_mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    if (iova == va)
        mapped_change(va, len, true);
    return 0;
}

static void mapped_unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    if (iova == va)
        mapped_change(va, len, false);
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device
    __attribute__((visibility("default"))) = {mapped_mapped, mapped_unmapped, NULL};

/* The first byte of the range that the device does not reach by its address; NULL: it reaches them all. */
static inline const char *mapped_hole(const void *addr, size_t len)
{
    uintptr_t va = (uintptr_t)addr & ~(uintptr_t)4095;
    for (; va < (uintptr_t)addr + len; va += 4096) {
        uint64_t page = (va - MAPPED_START) >> 12;
        if (page >= MAPPED_PAGES || !(atomic_load(&mapped_pages[page / 64]) >> (page % 64) & 1))
            return (const char *)va;
    }
    return NULL;
}

#endif
