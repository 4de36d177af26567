/* SPDX-License-Identifier: MIT */
/* What mlockall's door knows. */
#ifndef INTERPOSE_LOCKED_H
#define INTERPOSE_LOCKED_H

#include <stdbool.h>

/* Whether each new mapping is locked (MCL_FUTURE), as far as is known. */
bool locked_is_future(void);

#endif
