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

/* In the door of VFIO's calls, before one of them that is not a MAP or UNMAP. No lock may be held. */
void bridges_look(void);

/* One file each. They look for their library and bind it; true when it is there. */
bool bridge_dpdk_bind(void);

#endif
