/* SPDX-License-Identifier: MIT */
/* The files that the doctor looks at: those of /proc, /sys and /dev, or of a copy of them (--root), where what no file can tell
 * is in the file `probes`, a line "name=value" for each. Paths are formats; nothing is ever written. */
#ifndef CLI_DOCTOR_TREE_H
#define CLI_DOCTOR_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before any other call; NULL: the machine itself. */
void tree_set_root(const char *root);
bool tree_is_copy(void);

bool tree_exists(const char *path, ...) __attribute__((format(printf, 1, 2)));
/* The text, at most `size` - 1 bytes of it, without the newline at its end; "" and false where it can't be read. */
bool tree_read(char *text, size_t size, const char *path, ...) __attribute__((format(printf, 3, 4)));
/* Whether a line of a file that may be long has `words` in it. */
bool tree_contains(const char *words, const char *path, ...) __attribute__((format(printf, 2, 3)));
/* A number in base 10, or 16 with 0x; `absent` where there is none. */
uint64_t tree_number(uint64_t absent, const char *path, ...) __attribute__((format(printf, 2, 3)));
/* What a link says, and the last word of that. */
bool tree_target(char *target, size_t size, const char *path, ...) __attribute__((format(printf, 3, 4)));
bool tree_link(char *name, size_t size, const char *path, ...) __attribute__((format(printf, 3, 4)));
/* Where a path leads after all links, as seen from the root. */
bool tree_real(char *real, size_t size, const char *path, ...) __attribute__((format(printf, 3, 4)));
/* Calls back for each entry, in order of names; stops when that returns false. */
void tree_each(bool (*each)(const char *name, void *arg), void *arg, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* What a device node is. In a copy it may be a file that says "MAJOR:MINOR UID GID MODE". */
struct tree_node {
    char path[64];
    bool exists;
    uint32_t major, minor, uid, gid, mode;
};
bool tree_node(struct tree_node *node, const char *path, ...) __attribute__((format(printf, 2, 3)));

/* In a copy: the value of a probe; false where it has none. */
bool tree_probe(char *value, size_t size, const char *name, ...) __attribute__((format(printf, 3, 4)));

#endif
