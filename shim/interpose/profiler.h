/* SPDX-License-Identifier: MIT */
/* What the profile needs of several layers at once: who calls it stands above them. */
#ifndef INTERPOSE_PROFILER_H
#define INTERPOSE_PROFILER_H

#include "profile/profile.h"

void profiler_start(void);
void profiler_stop(void);

#endif
