/* SPDX-License-Identifier: MIT */
/* See spdk.h. Written from SPDK's interface and what was seen of its behaviour. */
#include "spdk.h"

#include <errno.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { PAGE_SHIFT = 21, PAGES = 512, POOL_BYTES = 8 << 20, MOST_REGIONS = 256 };
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)
#define PAGE_MASK (PAGE_BYTES - 1)
#define NR_TABLES (UINT64_C(1) << (48 - PAGE_SHIFT - 9))

struct table {
    uint64_t translation[PAGES];
};

struct spdk_mem_map {
    struct table *tables[NR_TABLES]; /* one for each GiB; never freed */
    uint64_t default_translation;
    struct spdk_mem_map_ops ops;
    void *arg;
    pthread_mutex_t mutex; /* tables that are made */
    struct spdk_mem_map *next;
};

static pthread_mutex_t g_spdk_mem_map_mutex =
    PTHREAD_MUTEX_INITIALIZER; /* not recursive, over every callback */
static struct spdk_mem_map *g_spdk_mem_maps, *g_mem_reg_map, *g_vtophys_map;
static char *pool;
static size_t pool_used;

/* The device's side: SPDK's g_vfio and its list of maps. */
static struct {
    int fd;
    uint64_t offset;
    bool is_put_off;
    struct vfio_iommu_type1_dma_map maps[MOST_REGIONS];
    unsigned nr_maps;
    pthread_mutex_t mutex; /* after g_spdk_mem_map_mutex */
} g_vfio = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* --- maps ------------------------------------------------------------------------------------------------------- */

static uint64_t *entry_of(struct spdk_mem_map *map, uint64_t va)
{
    struct table **slot = &map->tables[va >> (PAGE_SHIFT + 9)];
    if (!*slot) {
        pthread_mutex_lock(&map->mutex);
        struct table *table = *slot ? *slot : malloc(sizeof(*table));
        for (unsigned i = 0; table && table != *slot && i < PAGES; i++)
            table->translation[i] = map->default_translation;
        *slot = table;
        pthread_mutex_unlock(&map->mutex);
    }
    return *slot ? &(*slot)->translation[va >> PAGE_SHIFT & (PAGES - 1)] : NULL;
}

int spdk_mem_map_set_translation(struct spdk_mem_map *map, uint64_t va, uint64_t len, uint64_t translation)
{
    if ((va | len) & PAGE_MASK || va >> 48)
        return -EINVAL;
    for (uint64_t end = va + len; va < end; va += PAGE_BYTES) {
        uint64_t *entry = entry_of(map, va);
        if (!entry)
            return -ENOMEM;
        *entry = translation;
    }
    return 0;
}

int spdk_mem_map_clear_translation(struct spdk_mem_map *map, uint64_t va, uint64_t len)
{
    return spdk_mem_map_set_translation(map, va, len, map->default_translation);
}

static uint64_t translation_at(const struct spdk_mem_map *map, uint64_t va)
{
    struct table *table = va >> 48 ? NULL : map->tables[va >> (PAGE_SHIFT + 9)];
    return table ? table->translation[va >> PAGE_SHIFT & (PAGES - 1)] : map->default_translation;
}

uint64_t spdk_mem_map_translate(const struct spdk_mem_map *map, uint64_t va, uint64_t *len)
{
    uint64_t first = translation_at(map, va), last = first, run = PAGE_BYTES - (va & PAGE_MASK);
    if (!len)
        return first;
    while (first != map->default_translation && map->ops.are_contiguous && run < *len) {
        uint64_t next = translation_at(map, va + run);
        if (!map->ops.are_contiguous(last, next))
            break;
        last = next;
        run += PAGE_BYTES;
    }
    *len = run < *len ? run : *len; /* also where there is none */
    return first;
}

struct spdk_mem_map *spdk_mem_map_alloc(uint64_t default_translation, const struct spdk_mem_map_ops *ops,
                                        void *arg)
{
    struct spdk_mem_map *map = calloc(1, sizeof(*map));
    if (!map)
        return NULL;
    pthread_mutex_init(&map->mutex, NULL);
    map->default_translation = default_translation;
    map->arg = arg;
    if (ops)
        map->ops = *ops;
    pthread_mutex_lock(&g_spdk_mem_map_mutex);
    map->next = g_spdk_mem_maps;
    g_spdk_mem_maps = map;
    pthread_mutex_unlock(&g_spdk_mem_map_mutex);
    return map;
}

/* --- the device's mappings -------------------------------------------------------------------------------------- */

static void map_dma(uint64_t va, uint64_t len)
{
    pthread_mutex_lock(&g_vfio.mutex);
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = va,
                                           .iova = va + g_vfio.offset,
                                           .size = len};
    if (!g_vfio.is_put_off && ioctl(g_vfio.fd, VFIO_IOMMU_MAP_DMA, &map) != 0)
        fprintf(stderr, "stand-in: Cannot set up DMA mapping, error %d, ignored\n", errno);
    if (g_vfio.nr_maps < MOST_REGIONS)
        g_vfio.maps[g_vfio.nr_maps++] = map;
    pthread_mutex_unlock(&g_vfio.mutex);
}

static void unmap_dma(uint64_t va)
{
    pthread_mutex_lock(&g_vfio.mutex);
    for (unsigned i = 0; i < g_vfio.nr_maps; i++) {
        struct vfio_iommu_type1_dma_unmap unmap = {
            .argsz = sizeof(unmap), .iova = g_vfio.maps[i].iova, .size = g_vfio.maps[i].size};
        if (g_vfio.maps[i].vaddr != va)
            continue;
        if (!g_vfio.is_put_off && ioctl(g_vfio.fd, VFIO_IOMMU_UNMAP_DMA, &unmap) != 0)
            fprintf(stderr, "stand-in: Cannot clear DMA mapping, error %d, ignored\n", errno);
        g_vfio.maps[i] = g_vfio.maps[--g_vfio.nr_maps];
        break;
    }
    pthread_mutex_unlock(&g_vfio.mutex);
}

static int vtophys_notify(void *arg, struct spdk_mem_map *map, enum spdk_mem_map_notify_action action,
                          void *addr, size_t len)
{
    uint64_t va = (uint64_t)addr, known = len;
    if (action == SPDK_MEM_MAP_NOTIFY_REGISTER) {
        map_dma(va, len);
        for (uint64_t page = va; page < va + len; page += PAGE_BYTES)
            spdk_mem_map_set_translation(map, page, PAGE_BYTES, page + g_vfio.offset);
        return 0;
    }
    if (spdk_vtophys(addr, &known) != va + g_vfio.offset || known != len)
        return -EINVAL;
    unmap_dma(va);
    return spdk_mem_map_clear_translation(map, va, len);
}

static int follow_each_other(uint64_t first, uint64_t second)
{
    return second - first == PAGE_BYTES;
}

uint64_t spdk_vtophys(const void *addr, uint64_t *len)
{
    if (!g_vtophys_map)
        return SPDK_VTOPHYS_ERROR;
    uint64_t found = spdk_mem_map_translate(g_vtophys_map, (uint64_t)addr, len);
    return found == SPDK_VTOPHYS_ERROR ? found : found + ((uint64_t)addr & PAGE_MASK);
}

/* --- registration ----------------------------------------------------------------------------------------------- */

static void tell_maps(enum spdk_mem_map_notify_action action, void *addr, size_t len)
{
    for (struct spdk_mem_map *map = g_spdk_mem_maps; map; map = map->next)
        if (map->ops.notify_cb)
            map->ops.notify_cb(map->arg, map, action, addr, len);
}

int spdk_mem_register(void *addr, size_t len)
{
    if (((uint64_t)addr | len) & PAGE_MASK)
        return -EINVAL;
    pthread_mutex_lock(&g_spdk_mem_map_mutex);
    for (uint64_t at = 0; at < len; at += PAGE_BYTES)
        if (translation_at(g_mem_reg_map, (uint64_t)addr + at)) {
            pthread_mutex_unlock(&g_spdk_mem_map_mutex);
            return -EBUSY;
        }
    int error = spdk_mem_map_set_translation(g_mem_reg_map, (uint64_t)addr, len, 1);
    free(malloc(64)); /* as SPDK's own records are allocated under it */
    if (!error)
        tell_maps(SPDK_MEM_MAP_NOTIFY_REGISTER, addr, len);
    pthread_mutex_unlock(&g_spdk_mem_map_mutex);
    return error;
}

int spdk_mem_unregister(void *addr, size_t len)
{
    pthread_mutex_lock(&g_spdk_mem_map_mutex);
    int error = translation_at(g_mem_reg_map, (uint64_t)addr) ? 0 : -EINVAL;
    if (!error) {
        tell_maps(SPDK_MEM_MAP_NOTIFY_UNREGISTER, addr, len);
        spdk_mem_map_set_translation(g_mem_reg_map, (uint64_t)addr, len, 0);
    }
    pthread_mutex_unlock(&g_spdk_mem_map_mutex);
    return error;
}

void *spdk_zmalloc(size_t len, size_t align)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    size_t start = (pool_used + (align ? align - 1 : 0)) / (align ? align : 1) * (align ? align : 1);
    void *found = pool && start + len <= POOL_BYTES ? pool + start : NULL;
    if (found)
        pool_used = start + len;
    pthread_mutex_unlock(&mutex);
    return found;
}

/* What a program with SPDK in it can be known by when it was stripped: an argument that SPDK gives DPDK. */
__attribute__((used)) static const char dpdk_argument[] = "--file-prefix=spdk_pid%d";

int like_spdk_start(int container, uint64_t offset, bool has_device)
{
    static const struct spdk_mem_map_ops of_vtophys = {vtophys_notify, follow_each_other};
    g_vfio.fd = container;
    g_vfio.offset = offset;
    g_vfio.is_put_off = !has_device;
    g_mem_reg_map = spdk_mem_map_alloc(0, NULL, NULL);
    g_vtophys_map = spdk_mem_map_alloc(SPDK_VTOPHYS_ERROR, &of_vtophys, NULL);
    /* Where SPDK has its huge pages. */
    pool = mmap((void *)UINT64_C(0x2000000000), POOL_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (!g_mem_reg_map || !g_vtophys_map || pool == MAP_FAILED)
        return -ENOMEM;
    return spdk_mem_register(pool, POOL_BYTES);
}

unsigned like_spdk_nr_tables(void)
{
    unsigned nr = 0;
    for (uint64_t i = 0; i < NR_TABLES; i++)
        nr += g_vtophys_map->tables[i] != NULL;
    return nr;
}

void like_spdk_device_added(void)
{
    pthread_mutex_lock(&g_vfio.mutex);
    g_vfio.is_put_off = false;
    for (unsigned i = 0; i < g_vfio.nr_maps; i++)
        if (ioctl(g_vfio.fd, VFIO_IOMMU_MAP_DMA, &g_vfio.maps[i]) != 0)
            break;
    pthread_mutex_unlock(&g_vfio.mutex);
}
