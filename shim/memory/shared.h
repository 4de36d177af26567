/* SPDX-License-Identifier: MIT */
/*
 * Memory that several mappings, and other processes, may have: anonymous shared memory, memfds, files of tmpfs and hugetlbfs.
 * Eager mode registers it as it is mapped on the word of who said ANYDMA_FOREIGN=trust, at IOVA == address, for as long as it
 * is mapped; else it tells that it does not. Outside the arena only. What is registered of it is judged by foreign.h.
 */
#ifndef MEMORY_SHARED_H
#define MEMORY_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The program has mapped something, as it has asked: `fd` is of its call. Returns as eager_offer. */
int shared_mapped(uintptr_t start, size_t len, int prot, int flags, int fd);
/* What is so mapped would be registered, and is at a place where it can't be: in a hole of a live registration, or where another
 * thread has just unmapped something. */
bool shared_is_in_hole(uintptr_t start, size_t len, int flags, int fd);
/* Something of the range may be accessible, or have pages, that was not or had none: it is registered, if it is such memory.
 * Returns as eager_offer. */
int shared_changed(uintptr_t start, size_t len);

/* Around the program's own call that unmaps or replaces what is mapped. */
void shared_begin(uintptr_t start, size_t len);
void shared_end(uintptr_t start, size_t len, bool has_failed);
/* Whether such memory is mapped at `addr`. */
bool shared_contains(uintptr_t addr);
/* It is mapped here, too: moved, grown, or mapped once more. */
void shared_arrived(uintptr_t start, size_t len);

/* As in memory_ops. Under LOCK_REGISTRY. */
bool shared_next_alive(uintptr_t *cursor, uintptr_t end, uintptr_t *start, size_t *len);

#endif
