/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for DPDK's environment: whose memory an address is, and its IOVA, with DPDK's names and habits. The functions
 * that begin with like_ are not DPDK's.
 */
#ifndef TESTS_STANDINS_DPDK_H
#define TESTS_STANDINS_DPDK_H

#include <stddef.h>
#include <stdint.h>

#define RTE_BAD_IOVA UINT64_MAX

enum rte_iova_mode { RTE_IOVA_DC, RTE_IOVA_PA, RTE_IOVA_VA };

struct rte_memseg {
    uint64_t iova;
    void *addr;
    size_t len;
    uint64_t hugepage_sz;
    int32_t socket_id;
    uint32_t nchannel, nrank, flags;
};
struct rte_memseg_list;

enum rte_iova_mode rte_eal_iova_mode(void);
struct rte_memseg *rte_mem_virt2memseg(const void *addr, const struct rte_memseg_list *list);
/* In VA mode the address, whatever is there; in PA mode what stands for a physical address. */
uint64_t rte_mem_virt2iova(const void *addr);
/* Memory of DPDK's, mapped for the device; NULL: used up. */
void *rte_malloc(const char *type, size_t size, unsigned align);
/* DPDK's own question about memory that it is about to take. */
uint64_t like_dpdk_iova_of_new_memory(const void *addr);

/* With a container whose IOMMU is set. Physical addresses are `offset` higher than addresses. 0 or -errno. */
int like_dpdk_start(int container, enum rte_iova_mode mode, uint64_t offset);

#endif
