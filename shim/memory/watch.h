/* SPDX-License-Identifier: MIT */
/*
 * Watches memory that the arena did not place, by userfaultfd in write-protect mode with nothing ever protected: the
 * kernel then reports unmaps, moves and purges, and one ioctl says whether a range is still what was registered.
 * Used under LOCK_REGISTRY only. Source: userfaultfd(2), ioctl_userfaultfd(2).
 *
 * A reader thread takes the events, since the thread that unmaps waits until its event is read. It is made by clone(2)
 * behind the C library's back (a program whose main thread ends by pthread_exit must still end), blocks every signal,
 * allocates nothing, takes no lock, and may make no system call but a handful (seccomp).
 */
#ifndef MEMORY_WATCH_H
#define MEMORY_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum watch_event_kind { WATCH_GONE, WATCH_PURGED };

struct watch_event {
    enum watch_event_kind kind;
    uintptr_t start, end;
};

/* Starts watching [start, end), whole pages of one private anonymous mapping. Returns 0; -EPERM: userfaultfd is not
 * permitted here; -ENOSPC: as many areas are watched as the program can spare; -EBUSY: the program watches it itself;
 * -EINVAL: the kernel can't watch such memory. */
int watch_start(uintptr_t start, uintptr_t end);
void watch_stop(uintptr_t start, uintptr_t end);

/* Whether the page at `va` is still the watched one, with every event up to now in the queue. Returns 0; -ENOENT: gone
 * or replaced; -EAGAIN: a change is in flight that will not end. The caller then empties the queue and judges by both. */
int watch_validate(uintptr_t va);
/* The next event, oldest first. */
bool watch_next_event(struct watch_event *event);
/* Events were lost: everything that is watched counts as purged. Cleared by the call. */
bool watch_overflowed(void);
/* Waits until every event that the kernel has handed over is in the queue; false: that does not end. */
bool watch_is_settled(void);
/* How many areas are still there: what is unmapped ends its watch by itself. */
void watch_count_is(unsigned nr);

/* Whether the reader runs, a thread that shares the program's descriptors. */
bool watch_has_reader(void);
/* Ends the reader: before unshare(2) of a user namespace, which a second thread forbids. Nothing is watched then. */
void watch_withdraw(void);
/* In a forked child: nothing is watched, the reader is not there. */
void watch_reset(void);

#endif
