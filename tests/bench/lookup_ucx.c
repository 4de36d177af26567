/* SPDX-License-Identifier: MIT */
/* UCX's own registration cache as a way to translate: get, read what was stored with the region, put. Nothing
 * is registered behind it, and it watches no memory: only its lookup is measured. */
#include <limits.h>
#include <sys/mman.h>
#include <ucs/memory/rcache.h>

#include "bench.h"
#include "lookup_ops.h"

struct region {
    ucs_rcache_region_t super;
    uint64_t delta; /* IOVA - address */
};

static ucs_rcache_t *cache;

static ucs_status_t mem_reg(void *context, ucs_rcache_t *rcache, void *arg, ucs_rcache_region_t *region,
                            uint16_t flags)
{
    (void)context, (void)rcache, (void)arg, (void)flags;
    ((struct region *)region)->delta = 0;
    return UCS_OK;
}

static void mem_dereg(void *context, ucs_rcache_t *rcache, ucs_rcache_region_t *region)
{
    (void)context, (void)rcache, (void)region;
}

static void dump_region(void *context, ucs_rcache_t *rcache, ucs_rcache_region_t *region, char *buf,
                        size_t max)
{
    (void)context, (void)rcache, (void)region;
    if (max)
        *buf = '\0';
}

bool ucx_init(void)
{
    static const ucs_rcache_ops_t ops = {mem_reg, mem_dereg, dump_region};
    const ucs_rcache_params_t params = {.region_struct_size = sizeof(struct region),
                                        .alignment = 4096,
                                        .max_alignment = 4096,
                                        .ops = &ops,
                                        .max_regions = ULONG_MAX,
                                        .max_size = SIZE_MAX,
                                        .max_unreleased = SIZE_MAX};
    return ucs_rcache_create(&params, "bench", NULL, &cache) == UCS_OK;
}

uint64_t ucx_translate(uint64_t va)
{
    ucs_rcache_region_t *region;
    if (ucs_rcache_get(cache, (void *)va, 1, PROT_READ | PROT_WRITE, NULL, &region) != UCS_OK)
        return UINT64_MAX;
    uint64_t iova = va + ((struct region *)region)->delta;
    ucs_rcache_region_put(cache, region);
    return iova;
}

void ucx_register(uint64_t va, uint64_t len)
{
    ucs_rcache_region_t *region;
    bench_require(ucs_rcache_get(cache, (void *)va, len, PROT_READ | PROT_WRITE, NULL, &region) == UCS_OK,
                  "UCX does not register");
    ucs_rcache_region_put(cache, region);
}
