/* SPDX-License-Identifier: MIT */
/*
 * Calls that take pages out of a file, and so out of every mapping of it. They matter where a mapping of a file is
 * registered, which is under ANYDMA_FOREIGN=trust only: everywhere else they go straight to the kernel. What they take is
 * no longer answered for; what another process takes, or open(O_TRUNC), is not noticed: ANYDMA_FOREIGN=trust says that this does not happen.
 */
#ifndef MEMORY_FILES_H
#define MEMORY_FILES_H

#include <stddef.h>
#include <stdint.h>

struct files_call {
    int fd;            /* of the file; -1: any file */
    uint64_t from, to; /* which bytes of the file leave; both 0: none */
    long number;       /* the system call */
    long args[4];
};

/* Makes the call, with no lookup meanwhile. Returns what the kernel does. */
intptr_t files_make(const struct files_call *call);
/* madvise(MADV_REMOVE) of whole pages. Returns 0 or -errno. */
int files_remove(uintptr_t start, size_t len);

#endif
