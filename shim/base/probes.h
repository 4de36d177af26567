/* SPDX-License-Identifier: MIT */
/*
 * Static probes of the provider "anydma", for bpftrace, perf and gdb: a nop each, and a note of where its arguments are, until somebody
 * looks. anydma(7) has a line of bpftrace for each. Their names and arguments are an interface; arguments are only appended.
 *
 *   register    address, length, IOVA, error (0, or positive: nothing was mapped), owner (enum profile_owner), container's number
 *   unregister  the same
 *   refuse      address, error: a lookup that failed
 *   fork_copy   bytes that are pinned, which the kernel copies now
 */
#ifndef BASE_PROBES_H
#define BASE_PROBES_H

#include <sys/sdt.h>

#define PROBE_REGISTER(va, len, iova, error, owner, container)                                               \
    DTRACE_PROBE6(anydma, register, va, len, iova, error, owner, container)
#define PROBE_UNREGISTER(va, len, iova, error, owner, container)                                             \
    DTRACE_PROBE6(anydma, unregister, va, len, iova, error, owner, container)
#define PROBE_REFUSE(va, error) DTRACE_PROBE2(anydma, refuse, va, error)
#define PROBE_FORK_COPY(bytes) DTRACE_PROBE1(anydma, fork_copy, bytes)

#endif
