/* SPDX-License-Identifier: MIT */
/* The capture's name is kept from before it is closed. */
#include "interpose/ending.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "profile/capture.h"
#include "profile/helper.h"

enum { PATH_BYTES = 4096 };

static char capture[PATH_BYTES];

void ending_prepare(void)
{
    uint64_t device, inode;
    if (getenv("_ANYDMA_RUN"))
        capture_name(capture, sizeof(capture), &device, &inode);
}

void ending_tell(void)
{
    char *arguments[] = {(char *)"report", (char *)"--summary", capture};
    if (capture[0] && helper_is_there(true) && !helper_run(arguments, 3))
        log_line(log_stderr(), "anydma: %s is written; `anydma report %s` reads it", capture, capture);
}
