/* SPDX-License-Identifier: MIT */
#ifndef INTERPOSE_FORESIGHT_H
#define INTERPOSE_FORESIGHT_H

#include <stdbool.h>

/* Whether the program is going to be a device's, by what it imports and is linked with, or because the user says so (ANYDMA_THP).
 * At the start, when everything that it is linked with has been loaded. */
bool foresight_sees_device(void);

#endif
