/* SPDX-License-Identifier: MIT */
/* What the profile needs of several layers at once: who calls it stands above them. */
#ifndef INTERPOSE_PROFILER_H
#define INTERPOSE_PROFILER_H

#include "profile/profile.h"

void profiler_start(void);
/* Tells the capture how much of each registration is in use. No lock may be held. */
void profiler_record_usage(void);
void profiler_stop(void);

/* At the end of a door that may have registered something. */
static inline void profiler_leave(void)
{
    if (!__builtin_expect(profile_is_on, 0))
        return;
    profile_drop_stack();
    if (profile_is_usage_due())
        profiler_record_usage();
}

#endif
