/* SPDX-License-Identifier: MIT */
/* When the bridges are looked for, and which of them. */
#include "interpose/bridges/bridges.h"

#include <stdatomic.h>

#include "base/config.h"
#include "base/log.h"
#include "interpose/bridges/bind.h"

static const struct bridge {
    unsigned bit;
    const char *name;
    bool (*bind)(void);
} bridges[] = {
    {BRIDGE_SPDK, "spdk", bridge_spdk_bind},
    {BRIDGE_LIBVFN, "libvfn", bridge_libvfn_bind},
    {BRIDGE_DPDK, "dpdk", bridge_dpdk_bind},
};

static void look(void)
{
    static unsigned found;
    for (unsigned i = 0; i < sizeof(bridges) / sizeof(bridges[0]); i++) {
        const struct bridge *bridge = &bridges[i];
        if (!(config.bridges & bridge->bit) || !bridge->bind() || found & bridge->bit)
            continue;
        found |= bridge->bit;
        log_write(LOG_INFO, "%s is here: what it has no IOVA for is answered by anydma (ANYDMA_BRIDGES)",
                  bridge->name);
    }
}

void bridges_look(void)
{
    static _Atomic uint64_t nr_looked_at;
    static atomic_flag is_looking = ATOMIC_FLAG_INIT; /* another thread is; it will find the same */
    if (!config.bridges)
        return;
    uint64_t nr_loaded = bind_nr_loaded();
    if (nr_loaded == nr_looked_at || atomic_flag_test_and_set(&is_looking))
        return;
    look();
    nr_looked_at = nr_loaded;
    atomic_flag_clear(&is_looking);
}

void bridges_map_failed(const void *caller, uintptr_t va, uint64_t iova, uint64_t len, int error)
{
    if (!(config.bridges & BRIDGE_SPDK))
        return;
    bridge_spdk_map_failed(caller, va, iova, len, error);
    bridge_spdk_static_map_failed(va, iova, len, error);
}

void bridges_look_at_device(void)
{
    if (config.bridges & BRIDGE_SPDK)
        bridge_spdk_static_look();
}
