/* SPDX-License-Identifier: MIT */
#include "cli/doctor/tree.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PATH_BYTES = PATH_MAX };

static const char *root = "";

void tree_set_root(const char *path)
{
    root = path ? path : "";
}

bool tree_is_copy(void)
{
    return *root;
}

/* `out` of PATH_BYTES. */
static void below_root(char *out, const char *format, va_list args)
{
    int len = snprintf(out, PATH_BYTES, "%s", root);
    if (len < PATH_BYTES)
        vsnprintf(out + len, PATH_BYTES - (size_t)len, format, args);
}

#define BELOW_ROOT(path, format)                                                                             \
    char path[PATH_BYTES];                                                                                   \
    va_list args;                                                                                            \
    va_start(args, format);                                                                                  \
    below_root(path, format, args);                                                                          \
    va_end(args)

bool tree_exists(const char *format, ...)
{
    BELOW_ROOT(path, format);
    struct stat st;
    return stat(path, &st) == 0;
}

static bool read_path(char *text, size_t size, const char *path)
{
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, size - 1, file) : 0;
    if (file)
        fclose(file);
    while (len && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    return file != NULL;
}

bool tree_read(char *text, size_t size, const char *format, ...)
{
    BELOW_ROOT(path, format);
    return read_path(text, size, path);
}

bool tree_contains(const char *words, const char *format, ...)
{
    BELOW_ROOT(path, format);
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (file && !found && getline(&line, &size, file) >= 0)
        found = strstr(line, words) != NULL;
    free(line);
    if (file)
        fclose(file);
    return found;
}

uint64_t tree_number(uint64_t absent, const char *format, ...)
{
    BELOW_ROOT(path, format);
    char text[64], *end;
    if (!read_path(text, sizeof(text), path))
        return absent;
    uint64_t value = strtoull(text, &end, 0);
    return end == text ? absent : value;
}

bool tree_target(char *target, size_t size, const char *format, ...)
{
    BELOW_ROOT(path, format);
    ssize_t len = readlink(path, target, size - 1);
    target[len < 0 ? 0 : len] = '\0';
    return len > 0;
}

bool tree_link(char *name, size_t size, const char *format, ...)
{
    BELOW_ROOT(path, format);
    char target[PATH_MAX];
    ssize_t len = readlink(path, target, sizeof(target) - 1);
    target[len < 0 ? 0 : len] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(name, size, "%s", slash ? slash + 1 : target);
    return len > 0;
}

bool tree_real(char *real, size_t size, const char *format, ...)
{
    BELOW_ROOT(path, format);
    char found[PATH_MAX], base[PATH_MAX] = "";
    real[0] = '\0';
    if (!realpath(path, found) || (*root && !realpath(root, base)))
        return false;
    size_t skip = strncmp(found, base, strlen(base)) == 0 ? strlen(base) : 0;
    snprintf(real, size, "%s", found + skip);
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

void tree_each(bool (*each)(const char *name, void *arg), void *arg, const char *format, ...)
{
    BELOW_ROOT(path, format);
    struct dirent **entries = NULL;
    int nr = scandir(path, &entries, is_visible, versionsort);
    bool goes_on = true;
    for (int i = 0; i < nr; i++) {
        goes_on = goes_on && each(entries[i]->d_name, arg);
        free(entries[i]);
    }
    free(entries);
}

bool tree_node(struct tree_node *node, const char *format, ...)
{
    BELOW_ROOT(path, format);
    struct stat st;
    char text[64];
    memset(node, 0, sizeof(*node));
    snprintf(node->path, sizeof(node->path), "%s", path + strlen(root));
    if (stat(path, &st))
        return false;
    node->exists = true;
    node->major = major(st.st_rdev);
    node->minor = minor(st.st_rdev);
    node->uid = st.st_uid;
    node->gid = st.st_gid;
    node->mode = st.st_mode & 07777;
    if (*root && S_ISREG(st.st_mode) && read_path(text, sizeof(text), path))
        sscanf(text, "%u:%u %u %u %o", &node->major, &node->minor, &node->uid, &node->gid, &node->mode);
    return true;
}

bool tree_probe(char *value, size_t size, const char *format, ...)
{
    char name[128], line[256], path[PATH_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    snprintf(path, sizeof(path), "%s/probes", root);
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        size_t len = strlen(name);
        line[strcspn(line, "\n")] = '\0';
        found = strncmp(line, name, len) == 0 && line[len] == '=';
        if (found)
            snprintf(value, size, "%s", line + len + 1);
    }
    if (file)
        fclose(file);
    return found;
}
