/* SPDX-License-Identifier: MIT */
/* What the kernel says of this process in a file of /proc/self. */
#ifndef TESTS_PROC_H
#define TESTS_PROC_H

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The bytes of the line "NAME:   N kB"; 0: there is none. */
__attribute__((unused)) static size_t proc_bytes(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char line[256], found[64];
    size_t kib = 0, bytes = 0;
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "%63[^:]: %zu kB", found, &kib) == 2 && strcmp(found, name) == 0)
            bytes = kib << 10;
    if (file)
        fclose(file);
    return bytes;
}

#endif
