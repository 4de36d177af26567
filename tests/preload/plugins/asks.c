/* SPDX-License-Identifier: MIT */
/* Loaded when everything else is there: asks the libraries that the bridges are for, where they are. */
#include <stddef.h>
#include <stdint.h>

extern uint64_t spdk_vtophys(const void *addr, uint64_t *len) __attribute__((weak));
extern uint64_t rte_mem_virt2iova(const void *addr) __attribute__((weak));

uint64_t ask_spdk(const void *addr)
{
    return spdk_vtophys ? spdk_vtophys(addr, NULL) : 0;
}

uint64_t ask_dpdk(const void *addr)
{
    return rte_mem_virt2iova ? rte_mem_virt2iova(addr) : 0;
}
