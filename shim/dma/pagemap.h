/* SPDX-License-Identifier: MIT */
/*
 * Which pages are registered, and where: the table that lookups read without a lock. Written under
 * LOCK_REGISTRY. One 8-byte entry for each 2 MiB block:
 *
 *   63                               21 20                  3 2       1    0
 *   | IOVA - address (multiple of 2M)  | leaf (18 bits)      | PINNED | LEAF | FULL |
 *
 * FULL: every page is registered and the other low bits are 0, so that IOVA = address + (entry - 1).
 * LEAF: the pages whose bit is set in leaf number `leaf` are registered.
 * PINNED: some page of the block may be pinned now, or is about to be: no page in it may be purged.
 * WHOLE (the lowest bit of `leaf`, where LEAF is not set): every page of the block is registered, though no lookup is
 * answered from here yet.
 * A publish releases, a reader acquires. A reader that loaded an entry before it was cleared holds a right answer for
 * memory that its caller keeps alive. A forked child sees the table wiped by the kernel (MADV_WIPEONFORK).
 */
#ifndef DMA_PAGEMAP_H
#define DMA_PAGEMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGEMAP_BLOCK_SHIFT 21
#define PAGEMAP_BLOCK_SIZE ((uint64_t)1 << PAGEMAP_BLOCK_SHIFT)
#define PAGEMAP_NR_FLAT ((uint64_t)1 << (39 - PAGEMAP_BLOCK_SHIFT))
#define PAGEMAP_FULL UINT64_C(1)
#define PAGEMAP_LEAF UINT64_C(2)
#define PAGEMAP_PINNED UINT64_C(4)
#define PAGEMAP_WHOLE UINT64_C(8)

/* Exported as anydma_table_v1; include/anydma.h reads it, and the leaves behind it. */
struct pagemap_table {
    _Atomic uint64_t *entries; /* NULL before start */
    uint64_t nr_entries;
    uint64_t nr_far; /* entries behind the leaves, which continue the first ones */
};
extern struct pagemap_table anydma_table_v1;

/* Maps the table. Returns 0 or -ENOMEM. */
int pagemap_init(void);
/* False in a child that fork or clone made, until pagemap_reset. */
bool pagemap_is_ours(void);
/* In a forked child: everything is absent again. */
void pagemap_reset(void);

/* Whether the page at `va` is registered; *iova gets its IOVA. No lock, no call but this, no system call. */
bool pagemap_lookup(uintptr_t va, uint64_t *iova);
/* The same; *run_len gets how many bytes from `va` on are known to follow (to the end of the page or block). */
bool pagemap_lookup_run(uintptr_t va, uint64_t *iova, size_t *run_len);
/* Whether some page of the block around `va` may be pinned. */
bool pagemap_is_pinned(uintptr_t va);
/* Marks every block of the range PINNED, before its pages are looked at. Returns 0 or -ENOMEM. */
int pagemap_mark_pinned(uintptr_t start, size_t len);
/* Notes that every page of [start, start + len) is registered in every container, whether or not lookups were asked of it:
 * for the blocks that lie whole in it. pagemap_clear takes it back. */
void pagemap_mark_whole(uintptr_t start, size_t len);
/* Whether it is known that all of the range is registered in every container. No lock. */
bool pagemap_is_registered(uintptr_t start, size_t len);
/* Takes the mark back from one block in which nothing is registered any more. */
void pagemap_unmark_pinned(uintptr_t block);
/* Makes the pages answer with address + delta. A block that already answers otherwise, or for which there is no leaf,
 * is left out: its lookups stay cold. */
void pagemap_publish(uintptr_t start, size_t len, uint64_t delta);
/* Nothing is published from here on, until pagemap_reset: every lookup is cold. */
void pagemap_publish_no_more(void);
/* Makes the pages absent. */
void pagemap_clear(uintptr_t start, size_t len);

#endif
