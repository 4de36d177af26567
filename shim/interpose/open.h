/* SPDX-License-Identifier: MIT */
/* The doors of open. */
#ifndef INTERPOSE_OPEN_H
#define INTERPOSE_OPEN_H

/* At the start: a signal handler may open, and must not be the first to look a name up. */
void open_find_next(void);

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

#endif
