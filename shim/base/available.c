/* SPDX-License-Identifier: MIT */
/* Sources: proc_meminfo(5), cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. */
#include "base/available.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "base/os.h"

enum { PATH_BYTES = 512, TEXT_BYTES = 8192 };

/* One version of control groups: where its files lie and what they are called. */
struct version {
    const char *folder; /* below the root */
    const char *limits[2], *usage;
    const char *reclaimable; /* in memory.stat: file pages that are given up first */
};
static const struct version v1 = {
    "/memory", {"/memory.limit_in_bytes", NULL}, "/memory.usage_in_bytes", "total_inactive_file "};
static const struct version v2 = {"", {"/memory.max", "/memory.high"}, "/memory.current", "inactive_file "};

/* Reads the file into `text`, as much as there is room for. False: it can't be read. */
static bool read_text(const char *path, char *text, size_t room)
{
    int fd = os_open(path, O_RDONLY | O_CLOEXEC, 0);
    size_t len = 0;
    if (fd < 0)
        return false;
    for (ssize_t n; len < room - 1 && (n = os_read(fd, text + len, room - 1 - len)) > 0;)
        len += (size_t)n;
    os_close(fd);
    text[len] = '\0';
    return true;
}

/* UINT64_MAX: no number ("max"), or one that is too large. */
static uint64_t read_number(const char *p)
{
    uint64_t value = 0;
    if (*p < '0' || *p > '9')
        return UINT64_MAX;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (value > (UINT64_MAX - 9) / 10)
            return UINT64_MAX;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    return value;
}

uint64_t available_read_field(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, len) == 0)
            return read_number(line + len + strspn(line + len, " "));
    return UINT64_MAX;
}

/* A folder's path, with room for a file's name. */
struct folder {
    char path[PATH_BYTES];
    size_t len;
};

static bool append(struct folder *folder, const char *text, size_t len)
{
    if (len >= sizeof(folder->path) - folder->len)
        return false;
    memcpy(folder->path + folder->len, text, len);
    folder->len += len;
    folder->path[folder->len] = '\0';
    return true;
}

/* The text of the folder's file `name`. */
static bool read_file(const struct folder *folder, const char *name, char *text, size_t room)
{
    struct folder file = *folder;
    return append(&file, name, strlen(name)) && read_text(file.path, text, room);
}

static uint64_t left_in(const struct folder *group, const struct version *version)
{
    char text[TEXT_BYTES];
    uint64_t limit = UINT64_MAX;
    for (int i = 0; i < 2 && version->limits[i]; i++) {
        uint64_t one =
            read_file(group, version->limits[i], text, sizeof(text)) ? read_number(text) : UINT64_MAX;
        limit = one < limit ? one : limit;
    }
    if (limit == UINT64_MAX || !read_file(group, version->usage, text, sizeof(text)))
        return UINT64_MAX;
    uint64_t usage = read_number(text), reclaimable = UINT64_MAX;
    if (read_file(group, "/memory.stat", text, sizeof(text)))
        reclaimable = available_read_field(text, version->reclaimable);
    if (reclaimable != UINT64_MAX)
        usage -= reclaimable < usage ? reclaimable : usage;
    return usage < limit ? limit - usage : 0;
}

/* Of the group and of each one above it. A container may see its own group as the root, or not see the path at all. */
static uint64_t left_along(const char *root, const char *path, size_t path_len, const struct version *version)
{
    struct folder group = {.len = 0};
    uint64_t least = UINT64_MAX;
    if (!append(&group, root, strlen(root)) || !append(&group, version->folder, strlen(version->folder)))
        return least;
    size_t top = group.len;
    if (!append(&group, path, path_len))
        return least;
    for (;;) {
        uint64_t left = left_in(&group, version);
        least = left < least ? left : least;
        if (group.len <= top)
            return least;
        while (group.len > top && group.path[--group.len] != '/')
            ;
        group.path[group.len] = '\0';
    }
}

/* Whether the list of controllers between `from` and `to` names memory. */
static bool has_memory(const char *from, const char *to)
{
    static const char name[] = "memory";
    for (const char *word = from; word < to; word += strcspn(word, ",:") + 1)
        if (strcspn(word, ",:") == sizeof(name) - 1 && memcmp(word, name, sizeof(name) - 1) == 0)
            return true;
    return false;
}

uint64_t available_in_groups(const char *cgroups, const char *root)
{
    uint64_t least = UINT64_MAX;
    for (const char *line = cgroups, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        const char *controllers = memchr(line, ':', (size_t)(end - line));
        const char *path = controllers ? memchr(controllers + 1, ':', (size_t)(end - controllers - 1)) : NULL;
        if (!path)
            continue;
        const struct version *version = path == controllers + 1             ? &v2
                                        : has_memory(controllers + 1, path) ? &v1
                                                                            : NULL;
        uint64_t left = version ? left_along(root, path + 1, (size_t)(end - path - 1), version) : UINT64_MAX;
        least = left < least ? left : least;
    }
    return least;
}

uint64_t available_memory(void)
{
    char text[TEXT_BYTES];
    uint64_t on_machine = UINT64_MAX, in_groups = UINT64_MAX;
    if (read_text("/proc/meminfo", text, sizeof(text)))
        on_machine = available_read_field(text, "MemAvailable:");
    if (on_machine < UINT64_MAX >> 10)
        on_machine *= 1024;
    if (read_text("/proc/self/cgroup", text, sizeof(text)))
        in_groups = available_in_groups(text, "/sys/fs/cgroup");
    uint64_t least = in_groups < on_machine ? in_groups : on_machine;
    return least == UINT64_MAX ? 0 : least;
}
