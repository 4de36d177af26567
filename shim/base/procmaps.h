/* SPDX-License-Identifier: MIT */
/* Reads /proc/self/maps without allocating, by small reads. Source: proc(5). */
#ifndef BASE_PROCMAPS_H
#define BASE_PROCMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct procmaps_entry {
    uintptr_t start;
    uintptr_t end;
    int prot; /* PROT_* */
    bool is_shared;
    bool is_file;                   /* has an inode: a file, shared memory, hugetlb */
    uint64_t device, inode, offset; /* of the file: which one it is, and what of it begins at `start` */
    char name[64];                  /* a file's name, "[heap]", ...; cut; "" for anonymous */
};

struct procmaps {
    int fd;
    ssize_t len, at;
    char buf[2048];
};

/* Returns 0 or -errno. */
int procmaps_open(struct procmaps *maps);
bool procmaps_next(struct procmaps *maps, struct procmaps_entry *entry);
void procmaps_close(struct procmaps *maps);
/* The mapping around `addr`. Returns 0, -ENOENT when nothing is mapped there, or -errno. */
int procmaps_find(uintptr_t addr, struct procmaps_entry *entry);
/* Whether nothing is mapped in [start, end); false, too, where that can't be read. */
bool procmaps_is_free(uintptr_t start, uintptr_t end);

#endif
