/* SPDX-License-Identifier: MIT */
/*
 * Programs that ask another library for an IOVA: where that library has none, anydma answers. A bridge is on only when
 * the program has the library, found when the program first speaks to VFIO and again when objects were loaded since.
 *
 * The rules of all of them: the library's own answer comes first and stands; it is called with no lock of ours held;
 * nothing of another library's is ever called from malloc; ours are called under that library's locks, so they allocate
 * nothing from the program's heap and call back nothing of it; what can't be answered right gets the library's own refusal.
 */
#ifndef INTERPOSE_BRIDGES_BRIDGES_H
#define INTERPOSE_BRIDGES_BRIDGES_H

#include <stdbool.h>
#include <stdint.h>

/* In the door of VFIO's calls, before one of them that is not a MAP or UNMAP. No lock may be held. */
void bridges_look(void);

/* In the same door, when the program asks about a device: its libraries have their maps by now. */
void bridges_look_at_device(void);

/* The program's own MAP failed: judged here, since a library may ignore it. `caller`: where the call came from. */
void bridges_map_failed(const void *caller, uintptr_t va, uint64_t iova, uint64_t len, int error);

/* One file each. They look for their library and bind it; true when it is there. */
bool bridge_spdk_bind(void);
bool bridge_libvfn_bind(void);
bool bridge_dpdk_bind(void);

/* Whether DPDK says that the memory is its own, or was made known to it; false without DPDK. */
bool bridge_dpdk_owns(const void *addr);
void bridge_spdk_map_failed(const void *caller, uintptr_t va, uint64_t iova, uint64_t len, int error);

/* SPDK that is linked into the program itself. */
void bridge_spdk_static_look(void);
void bridge_spdk_static_map_failed(uintptr_t va, uint64_t iova, uint64_t len, int error);

#endif
