/* SPDX-License-Identifier: MIT */
/* Eager mode: what is handed out is registered at once, within LIMIT. For programs that rely on IOVA == address without
 * asking. Under LOCK_REGISTRY. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/pagemap.h"
#include "dma/registration.h"
#include "profile/profile.h"

uint64_t eager_read_meminfo(const char *text)
{
    const char *p = strstr(text, "MemAvailable:");
    uint64_t kib = 0;
    for (p = p ? p + 13 : ""; *p == ' '; p++)
        ;
    for (; *p >= '0' && *p <= '9' && kib < UINT64_MAX >> 20; p++)
        kib = kib * 10 + (uint64_t)(*p - '0');
    return kib * 1024;
}

static uint64_t available_memory(void)
{
    char text[1024];
    int fd = os_open("/proc/meminfo", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    ssize_t n = os_read(fd, text, sizeof(text) - 1);
    os_close(fd);
    text[n > 0 ? n : 0] = '\0';
    return eager_read_meminfo(text);
}

/* Read once, when eager mode starts: what it pins itself must not shrink the limit. */
static uint64_t limit, largest;

static void stop(const char *why, int error)
{
    registry.eager_stopped = true;
    log_write(LOG_WARNING,
              "eager registration stopped at %lu MiB pinned: %s (error %d); later memory is registered when "
              "it is looked up. "
              "Raise ANYDMA_LIMIT or `ulimit -l`, or give the program less memory",
              registry.count.pinned >> 20, why, error);
}

static void register_range(uintptr_t start, size_t len)
{
    if (registry.eager_stopped || len > largest)
        return;
    if (registry.count.pinned + len > limit) {
        stop("the limit is reached", 0);
        return;
    }
    for (uintptr_t va = start, end = start + len; va < end && !registry.eager_stopped;) {
        struct registration *reg = registration_from(va);
        if (reg && reg->start <= va) {
            va = reg->start + reg->len;
            continue;
        }
        int error = registration_make(va, OS_PAGE_SIZE, false, &reg);
        if (error == -ENOMEM || error == -ENOSPC)
            stop(error == -ENOSPC ? "the IOMMU's table of mappings is full" : "the memlock limit is reached",
                 -error);
        va = error ? (va & ~(OS_PAGE_SIZE - 1)) + OS_PAGE_SIZE : reg->start + reg->len;
    }
}

void eager_start(void)
{
    uintptr_t cursor = 0, start;
    size_t len;
    uint64_t available = available_memory();
    if (registry.is_eager)
        return;
    registry.is_eager = true;
    limit = config.limit_bytes ? config.limit_bytes : available / 2;
    largest = available / 8;
    while (registry.memory->next_alive(&cursor, &start, &len))
        register_range(start, len);
}

void registry_offer(uintptr_t start, size_t len)
{
    if (!registry.is_eager || !registry.attached || pagemap_is_registered(start, len))
        return;
    profile_enter();
    lock_take(&registry.lock);
    if (registry.is_eager && registry.attached)
        register_range(start, len);
    lock_release(&registry.lock);
    profile_leave();
}
