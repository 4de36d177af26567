/* SPDX-License-Identifier: MIT */
/*
 * Others who watch memory go: registration caches (UCX, libfabric) write a jump over the first bytes of the C library's
 * munmap and its like, to functions of their own, which tell the cache and then enter the kernel by syscall(). Our doors
 * never call the C library's, so a call would pass such a cache by. So where a jump is found the door calls the function;
 * by syscall() the call comes back to the door (interpose/routes.c), which then does its work. What does not come back, in
 * a trial, is not called: ours come first. And the heap gives no page back any more: no cache would hear of it.
 */
#ifndef INTERPOSE_PATCHED_H
#define INTERPOSE_PATCHED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum patched_call {
    PATCHED_MMAP,
    PATCHED_MUNMAP,
    PATCHED_MADVISE,
    PATCHED_MREMAP,
    PATCHED_SHMAT,
    PATCHED_SHMDT,
    NR_PATCHED_CALLS
};

/* Where the C library's functions begin. */
extern _Atomic(const unsigned char *) patched_code[NR_PATCHED_CALLS];

/* At the start, before another thread could load something. */
void patched_find(void);

/* In routes_syscall: a call came by syscall(). */
void patched_came_back(void);

/* The C library's function, if it is to be called; NULL. */
void *patched_look(enum patched_call call);

/* The same: one load and one test where nobody has patched it. */
static inline void *patched_function(enum patched_call call)
{
    const unsigned char *code = atomic_load_explicit(&patched_code[call], memory_order_acquire);
    uint16_t first;
    memcpy(&first, code, sizeof(first));
    /* jmp near; movabs to r11; jmp through memory */
    return (first & 0xff) == 0xe9 || first == 0xbb49 || first == 0x25ff ? patched_look(call) : NULL;
}

#endif
