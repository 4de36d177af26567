/* SPDX-License-Identifier: MIT */
/* The parser of /proc/self/maps. Owns nothing. */
#include "base/procmaps.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/os.h"

int procmaps_open(struct procmaps *maps)
{
    maps->len = maps->at = 0;
    maps->fd = os_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    return maps->fd < 0 ? maps->fd : 0;
}

void procmaps_close(struct procmaps *maps)
{
    os_close(maps->fd);
}

/* The next character, or -1. */
static int next_char(struct procmaps *maps)
{
    if (maps->at == maps->len) {
        maps->len = os_read(maps->fd, maps->buf, sizeof(maps->buf));
        maps->at = 0;
        if (maps->len <= 0) {
            maps->len = 0;
            return -1;
        }
    }
    return (unsigned char)maps->buf[maps->at++];
}

/* A number and the character behind it. */
static uintptr_t next_number(struct procmaps *maps, unsigned base, int *c)
{
    uintptr_t value = 0;
    for (*c = next_char(maps); (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'f'); *c = next_char(maps))
        value = value * base + (uintptr_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    return value;
}

static uintptr_t next_hex(struct procmaps *maps, int *c)
{
    return next_number(maps, 16, c);
}

bool procmaps_next(struct procmaps *maps, struct procmaps_entry *entry)
{
    int c;
    size_t n = 0;
    entry->start = next_hex(maps, &c);
    if (c < 0)
        return false;
    entry->end = next_hex(maps, &c);
    entry->prot = next_char(maps) == 'r' ? PROT_READ : 0;
    entry->prot |= next_char(maps) == 'w' ? PROT_WRITE : 0;
    entry->prot |= next_char(maps) == 'x' ? PROT_EXEC : 0;
    entry->is_shared = next_char(maps) == 's';
    next_char(maps);
    entry->offset = next_hex(maps, &c);
    entry->device = next_hex(maps, &c) << 32; /* major */
    entry->device |= next_hex(maps, &c);      /* minor */
    entry->inode = next_number(maps, 10, &c);
    entry->is_file = entry->inode != 0;
    while (c == ' ')
        c = next_char(maps);
    for (; c >= 0 && c != '\n'; c = next_char(maps))
        if (n < sizeof(entry->name) - 1)
            entry->name[n++] = (char)c;
    entry->name[n] = '\0';
    return true;
}

/* PROCMAP_QUERY of <linux/fs.h>, since Linux 6.11. */
struct query {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define QUERY _IOWR('f', 17, struct query)
enum { QUERY_READABLE = 1, QUERY_WRITABLE = 2, QUERY_EXECUTABLE = 4, QUERY_SHARED = 8 };

/* Asks the kernel for the one mapping. Returns 0, -ENOENT, or another error: read all of them. */
static int query_one(int fd, uintptr_t addr, struct procmaps_entry *entry)
{
    struct query query = {.size = sizeof(query),
                          .query_addr = addr,
                          .vma_name_size = sizeof(entry->name),
                          .vma_name_addr = (uintptr_t)entry->name};
    entry->name[0] = '\0';
    int error = os_ioctl(fd, QUERY, &query);
    if (error)
        return error;
    entry->start = query.vma_start;
    entry->end = query.vma_end;
    entry->prot = (query.vma_flags & QUERY_READABLE ? PROT_READ : 0) |
                  (query.vma_flags & QUERY_WRITABLE ? PROT_WRITE : 0) |
                  (query.vma_flags & QUERY_EXECUTABLE ? PROT_EXEC : 0);
    entry->is_shared = query.vma_flags & QUERY_SHARED;
    entry->is_file = query.inode != 0;
    entry->device = (uint64_t)query.dev_major << 32 | query.dev_minor;
    entry->inode = query.inode;
    entry->offset = query.vma_offset;
    return 0;
}

int procmaps_find(uintptr_t addr, struct procmaps_entry *entry)
{
    struct procmaps maps;
    int error = procmaps_open(&maps);
    if (error)
        return error;
    error = query_one(maps.fd, addr, entry);
    bool found = !error;
    while (error && error != -ENOENT && !found && procmaps_next(&maps, entry))
        found = addr >= entry->start && addr < entry->end;
    procmaps_close(&maps);
    return found ? 0 : -ENOENT;
}

bool procmaps_is_free(uintptr_t start, uintptr_t end)
{
    struct procmaps maps;
    struct procmaps_entry entry = {.end = 0};
    if (procmaps_open(&maps) != 0)
        return false;
    while (procmaps_next(&maps, &entry) && entry.end <= start)
        ;
    procmaps_close(&maps);
    return entry.end && (entry.end <= start || entry.start >= end);
}
