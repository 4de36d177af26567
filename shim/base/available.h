/* SPDX-License-Identifier: MIT */
/* How much memory there still is for this process: on the machine, and in each control group that it is in. Reads files;
 * takes no lock. */
#ifndef BASE_AVAILABLE_H
#define BASE_AVAILABLE_H

#include <stdint.h>

/* Returns bytes, the least of what /proc/meminfo and the control groups (v1 and v2) leave; 0: nothing can be told. */
uint64_t available_memory(void);

/* The same of `cgroups`, the text of /proc/self/cgroup, with the groups' files below `root` (/sys/fs/cgroup); UINT64_MAX:
 * no group has a limit. */
uint64_t available_in_groups(const char *cgroups, const char *root);
/* The number behind `name` at the start of a line of `text`, in the line's own unit; UINT64_MAX: it is not there. */
uint64_t available_read_field(const char *text, const char *name);

#endif
