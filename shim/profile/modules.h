/* SPDX-License-Identifier: MIT */
/* The code that is mapped: which file, where, with which build-id, so that a report can name addresses
 * elsewhere. Guarded by the capture's lock. */
#ifndef PROFILE_MODULES_H
#define PROFILE_MODULES_H

#include <stddef.h>
#include <stdint.h>

#include "profile/stack.h"

struct module_range {
    uintptr_t start, end;
    uint64_t file_offset;
};

enum { BUILD_ID_BYTES = 20 };

/* Brings the table up to date if it may lack one of the frames, and tells `found` of what is new. */
void modules_cover(void *const *frames, unsigned depth, uint64_t now_ns,
                   void (*found)(const struct module_range *range, const unsigned char *build_id,
                                 size_t build_id_len, const char *path));
/* Everything is told again. */
void modules_forget(void);

#endif
