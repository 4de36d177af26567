/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for SPDK's environment: the functions by which a program registers memory and asks for IOVAs, with SPDK's
 * names, locks, maps of 2 MiB pages, and habits: what a MAP answers is ignored, and registration allocates under the mutex.
 * The last three functions are not SPDK's.
 */
#ifndef TESTS_STANDINS_SPDK_H
#define TESTS_STANDINS_SPDK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPDK_VTOPHYS_ERROR UINT64_MAX

enum spdk_mem_map_notify_action { SPDK_MEM_MAP_NOTIFY_REGISTER, SPDK_MEM_MAP_NOTIFY_UNREGISTER };

struct spdk_mem_map;
struct spdk_mem_map_ops {
    int (*notify_cb)(void *arg, struct spdk_mem_map *map, enum spdk_mem_map_notify_action action, void *addr,
                     size_t len);
    int (*are_contiguous)(uint64_t first, uint64_t second);
};

struct spdk_mem_map *spdk_mem_map_alloc(uint64_t default_translation, const struct spdk_mem_map_ops *ops,
                                        void *arg);
int spdk_mem_map_set_translation(struct spdk_mem_map *map, uint64_t va, uint64_t len, uint64_t translation);
int spdk_mem_map_clear_translation(struct spdk_mem_map *map, uint64_t va, uint64_t len);
uint64_t spdk_mem_map_translate(const struct spdk_mem_map *map, uint64_t va, uint64_t *len);
/* Whole pages of 2 MiB. 0 or -errno, whatever became of the MAP. */
int spdk_mem_register(void *addr, size_t len);
int spdk_mem_unregister(void *addr, size_t len);
uint64_t spdk_vtophys(const void *addr, uint64_t *len);
/* Zeroed, in memory that was registered at the start; NULL: it is used up. Never given back. */
void *spdk_zmalloc(size_t len, size_t align);

/* As spdk_env_init, with a container whose IOMMU is set. A device's IOVAs are its addresses, or `offset` higher (as
 * physical addresses are others, in DPDK's PA mode). `has_device`: otherwise MAPs are put off until there is one, and
 * given up after one that fails. 0 or -errno. */
int like_spdk_start(int container, uint64_t offset, bool has_device);
void like_spdk_device_added(void);
/* How many tables the map of IOVAs has: an entry in a GiB that has none takes a lock and memory. */
unsigned like_spdk_nr_tables(void);

#endif
