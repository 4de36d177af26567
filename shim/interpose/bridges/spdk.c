/* SPDX-License-Identifier: MIT */
/*
 * SPDK as shared libraries: spdk_vtophys of memory that SPDK does not know.
 *
 * SPDK's locks: memory_hotplug_lock (DPDK's) < g_spdk_mem_map_mutex (not recursive; SPDK allocates under it) < g_vfio.mutex,
 * and ours below them all. spdk_vtophys takes none of them; drivers call it outside of all of them, and SPDK itself under
 * the second, in unregistering what it has an answer for. So the bridge may take the registry's lock, and calls back
 * nothing.
 *
 * It refuses when no container is attached (a device without an IOMMU wants physical addresses), and what a lookup
 * refuses. SPDK's other maps (RDMA, vhost, vfio-user, a program's own) are left alone: their translations are what their
 * own callbacks made of a registration, a key or a peer's acceptance, which no IOVA of ours can stand for; to register
 * memory there in the program's stead would pin it until nobody knows when.
 *
 * SPDK ignores that its MAP failed, and gives up those that it had put off; its map then says what no device reaches. So
 * once one has failed, what it says of memory that is not DPDK's is compared with what the IOMMU has.
 */
#include <stdatomic.h>
#include <stddef.h>

#include "base/log.h"
#include "dma/application.h"
#include "dma/attachments.h"
#include "interpose/bridges/bind.h"
#include "interpose/bridges/bridges.h"
#include "interpose/lookup.h"

#define SPDK_VTOPHYS_ERROR UINT64_MAX

static uint64_t bridge_vtophys(const void *buf, uint64_t *size);

static struct bound_name names[] = {{.name = "spdk_vtophys", .ours = bridge_vtophys}};
/* Its own bookkeeping asks for what it noted itself; where all of SPDK is one object, the drivers ask from there, too. */
static struct bound_library spdk = {.witness = "spdk_mem_register",
                                    .names = names,
                                    .nr_names = 1,
                                    .spared = {"spdk_mem_register"},
                                    .not_spared = "spdk_nvme_probe"};

static _Atomic bool has_failed; /* a MAP of SPDK's did */

bool bridge_spdk_bind(void)
{
    return bind_library(&spdk);
}

/* Whether a device finds the memory where SPDK says; if so, *size is cut to what it finds there. */
static bool is_true(const void *buf, uint64_t iova, uint64_t *size)
{
    if (!has_failed || !attachments_are_there() || bridge_dpdk_owns(buf))
        return true;
    size_t len = application_reaches((uintptr_t)buf, iova);
    if (len && size && *size > len)
        *size = len;
    return len != 0;
}

static uint64_t bridge_vtophys(const void *buf, uint64_t *size)
{
    uint64_t (*next)(const void *, uint64_t *) = (__typeof__(next))names[0].next;
    uint64_t want = size && *size ? *size : 1; /* the call that fails shrinks it */
    uint64_t answer = next(buf, size), iova;
    size_t run;
    if (answer != SPDK_VTOPHYS_ERROR && is_true(buf, answer, size))
        return answer;
    if (lookup_run((uintptr_t)buf, want, &iova, &run) != 0)
        return SPDK_VTOPHYS_ERROR;
    if (size)
        *size = run;
    return iova;
}

void bridge_spdk_map_failed(const void *caller, uintptr_t va, uint64_t iova, uint64_t len, int error)
{
    if (!bind_contains(&spdk, caller) || application_reaches(va, iova) >= len)
        return; /* EEXIST for what is there already does no harm */
    has_failed = true;
    log_write(LOG_ERROR,
              "SPDK's registration of 0x%lx (%lu bytes) at IOVA 0x%lx failed in the IOMMU (error %d), which "
              "SPDK ignores: "
              "spdk_vtophys answers for it from anydma's own registration, or refuses, instead of leading a "
              "device astray",
              va, len, iova, -error);
}
