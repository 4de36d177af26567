/* SPDX-License-Identifier: MIT */
/* What pins memory, with the shim in front of it and without: an io_uring behind the simulated IOMMU, or VFIO
 * itself. Both ways end in the same system call. */
#ifndef BENCH_REGISTRATION_PINNER_H
#define BENCH_REGISTRATION_PINNER_H

#include <stdint.h>

extern const char *const pinner_name;

/* Before any lookup; `device` is VFIO's. Ends the program where it can't be had. */
void pinner_open(const char *device);
/* The bare call, which the shim does not see. Return 0 or -errno. */
int pinner_map(uint64_t va, uint64_t len);
int pinner_unmap(uint64_t va, uint64_t len);

#endif
