/* SPDX-License-Identifier: MIT */
/* The capture's file, block by block. One writer: the capture's lock guards it. */
#ifndef PROFILE_BLOCKS_H
#define PROFILE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Creates the file. Returns 0; -EWOULDBLOCK: another process is writing it; -errno. */
int blocks_open(const char *path);
bool blocks_are_open(void);
/* The path of the open file, and which file it is. */
const char *blocks_name(uint64_t *device, uint64_t *inode);
/* Appends one record to the current block. After a failure nothing more is written but the count of what was
 * lost. */
void blocks_append(const void *record, size_t len, uint64_t now_ns);
/* A record's time is relative to this. Makes room for `len` bytes first. */
uint64_t blocks_base_time(size_t len, uint64_t now_ns);
void blocks_close(void);
/* In a forked child: the parent's file is left alone. */
void blocks_forget(void);

#endif
