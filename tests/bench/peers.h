/* SPDX-License-Identifier: MIT */
/*
 * How others translate an address, as their published algorithms in a few lines of our own; no peer's code.
 * Built as a shared library, since a program calls its peers across one. two_level   SPDK's
 * spdk_mem_map_translate: 1 GiB slots that lead to 2 MiB entries, lately with 4 KiB leaves skiplist libvfn's:
 * a skip list of ranges behind a mutex bsearch     QEMU's vfio-helpers: a sorted array of ranges behind a
 * mutex
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include <stddef.h>
#include <stdint.h>

#define PEER_BAD UINT64_MAX

/* Whole 2 MiB blocks as such, the rest by 4 KiB pages. */
void two_level_add(uint64_t va, uint64_t len, uint64_t iova);
/* `size`: in, how much is wanted; out, how much of it follows in one run; may be NULL. */
uint64_t two_level_translate(uint64_t va, uint64_t *size);

void skiplist_add(uint64_t va, uint64_t len, uint64_t iova);
void skiplist_clear(void);
uint64_t skiplist_translate(uint64_t va);

void bsearch_add(uint64_t va, uint64_t len, uint64_t iova);
void bsearch_clear(void);
uint64_t bsearch_translate(uint64_t va);

#endif
