/* SPDX-License-Identifier: MIT */
/* DPDK as a peer: memory of the program's own, registered as external memory, and rte_mem_virt2memseg. */
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include "lookup_ops.h"

bool dpdk_init(void)
{
    char *argv[] = {"lookup", "--no-huge", "--no-shconf",   "--no-pci", "--no-telemetry",
                    "-l0",    "-m64",      "--log-level=1", NULL};
    return rte_eal_init((int)(sizeof(argv) / sizeof(*argv)) - 1, argv) >= 0;
}

void dpdk_register(uint64_t va, uint64_t len)
{
    enum { PAGE = 1 << 21 };
    unsigned nr = (unsigned)(len / PAGE);
    rte_iova_t *iovas = malloc(nr * sizeof(*iovas));
    for (unsigned i = 0; i < nr; i++)
        iovas[i] = va + (uint64_t)i * PAGE;
    if (rte_extmem_register((void *)va, len, iovas, nr, PAGE) != 0)
        rte_exit(1, "rte_extmem_register: %s\n", rte_strerror(rte_errno));
    free(iovas);
}

uint64_t dpdk_translate(uint64_t va)
{
    const struct rte_memseg *segment = rte_mem_virt2memseg((void *)va, NULL);
    return segment ? segment->iova + (va - segment->addr_64) : RTE_BAD_IOVA;
}
