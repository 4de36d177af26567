/* SPDX-License-Identifier: MIT */
/*
 * The program's descriptors that matter here, and what each of them is: containers, their groups and devices, and what
 * leads to a device that anydma does not serve. Records only. Under LOCK_REGISTRY, but for what says otherwise.
 */
#ifndef DMA_DESCRIPTORS_H
#define DMA_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum descriptor_kind {
    DESCRIPTOR_CONTAINER, /* a container, or an iommufd: `object` is what its descriptors share */
    DESCRIPTOR_DEVICE,    /* a group or a device: with its end a container may end */
    DESCRIPTOR_UNSERVED,  /* a device that its `object` is no container for */
};

/* Whether the descriptor may be one of them. No lock: `close` is called often. Wrong only by a yes. */
bool descriptors_may_know(int fd);

/* Notes what `fd` is now, whatever it was before. Returns false when there is no memory for it. */
bool descriptors_note(int fd, enum descriptor_kind kind, void *object);
/* Whether `fd` is known, and still the file that it was: another number may have taken its place by a way that nobody
 * saw, and a thread may have descriptors of its own. *object and *kind, which may be NULL, get what it is. */
bool descriptors_find(int fd, enum descriptor_kind *kind, void **object);
/* Forgets it. */
void descriptors_forget(int fd);
/* Forgets all of `object`. */
void descriptors_forget_all(const void *object);
/* The first at or above `fd`; -1: none. */
int descriptors_from(int fd);
/* One of `object` other than `but`; -1: none. */
int descriptors_other(const void *object, int but);
/* How many there are of that kind. */
unsigned descriptors_count(enum descriptor_kind kind);
/* Looks among all of the process's descriptors but `first` to `last` for further ones of the file behind `fd`, and notes
 * them as what it is: they may have come by ways that nobody saw. Returns whether there are any. */
bool descriptors_look_for_others(int fd, int first, int last);
/* Whether two of them are one file. 0: no, or it can't be told. */
bool descriptors_are_one(int fd, int other);

void descriptors_reset(void);

#endif
