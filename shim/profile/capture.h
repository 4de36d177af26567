/* SPDX-License-Identifier: MIT */
/* The capture as its own files see it: opening it, and writing one record. Owns LOCK_CAPTURE. */
#ifndef PROFILE_CAPTURE_H
#define PROFILE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/record.h"

/* Takes the lock, opening a forked child's capture first. False: there is none; nothing is locked. */
bool capture_begin(void);
void capture_end(void);
/* Starts a record that begins with the time; in between capture_begin and capture_end. */
struct record *capture_event(enum record_type type, uint64_t now_ns);
/* Tells of the thread, once, and whenever it was renamed. Returns its id. */
uint32_t capture_thread(uint64_t now_ns);
/* The current stack's site, told of once; 0: no stack. */
uint32_t capture_site(uint64_t now_ns);
/* Ends such a record and appends it to the file. */
void capture_write(struct record *record, uint64_t now_ns);
/* Where the capture is, if there is one: an absolute path that fits `size`, and which file that is. */
void capture_name(char *path, size_t size, uint64_t *device, uint64_t *inode);

#endif
