/* SPDX-License-Identifier: MIT */
/* Makes and writes the live page. It is written under LOCK_REGISTRY; requests are taken under no lock. */
#include "profile/live.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "profile/capture.h"

enum { PATH_BYTES = 512 };

struct live_page *live_page;
static char path[PATH_BYTES];
static _Atomic uint64_t taken; /* the request that was taken last */

static size_t join(char *to, size_t size, const char *first, const char *second)
{
    size_t a = strlen(first), b = strlen(second);
    if (a + b >= size)
        return 0;
    memcpy(to, first, a);
    memcpy(to + a, second, b + 1);
    return a + b;
}

static size_t add_pid(char *to, size_t len)
{
    char digits[16];
    int n = 0;
    to[len++] = '/';
    for (int pid = os_getpid(); pid; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n)
        to[len++] = digits[--n];
    to[len] = '\0';
    return len;
}

static void describe(struct live_page *page)
{
    page->pid = (uint64_t)os_getpid();
    page->start_ns = os_monotonic_ns();
    page->memlock_limit = os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK);
    int fd = os_open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = fd < 0 ? 0 : os_read(fd, page->command, sizeof(page->command) - 1);
    if (fd >= 0)
        os_close(fd);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (!page->command[i])
            page->command[i] = ' ';
    __atomic_store_n(&page->magic, LIVE_MAGIC, __ATOMIC_RELEASE);
}

void live_open(void)
{
    const char *parent = live_page ? NULL : live_parent();
    size_t len = parent ? join(path, sizeof(path) - 20, parent, "/anydma") : 0;
    if (!len)
        return;
    os_call(SYS_mkdirat, AT_FDCWD, (long)path, 0700, 0, 0, 0);
    add_pid(path, len);
    os_call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0, 0);
    int fd = os_open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    intptr_t page = os_fallocate(fd, 0, LIVE_BYTES);
    if (!page)
        page = os_mmap(0, LIVE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    os_close(fd);
    if (os_is_error(page)) {
        os_call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0, 0);
        return;
    }
    describe((struct live_page *)page);
    __atomic_store_n(&live_page, (struct live_page *)page, __ATOMIC_RELEASE);
}

void live_close(void)
{
    if (live_page) /* stays mapped: other threads may still be at work */
        os_call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0, 0);
}

void live_forget(void)
{
    if (!live_page)
        return;
    os_munmap((uintptr_t)live_page, LIVE_BYTES);
    live_page = NULL;
    atomic_store_explicit(&taken, 0, memory_order_relaxed);
}

void live_write(const struct live_numbers *numbers)
{
    uint64_t sequence = atomic_load_explicit(&live_page->sequence, memory_order_relaxed);
    atomic_store_explicit(&live_page->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    live_page->numbers = *numbers;
    if (!live_page->capture[0])
        capture_name(live_page->capture, sizeof(live_page->capture), &live_page->capture_device,
                     &live_page->capture_inode);
    atomic_store_explicit(&live_page->sequence, sequence + 2, memory_order_release);
}

bool live_is_asked(void)
{
    struct live_page *page = __atomic_load_n(&live_page, __ATOMIC_ACQUIRE);
    return page && atomic_load_explicit(&page->asked, memory_order_relaxed) !=
                       atomic_load_explicit(&taken, memory_order_relaxed);
}

bool live_take_request(void)
{
    struct live_page *page = __atomic_load_n(&live_page, __ATOMIC_ACQUIRE);
    if (!page)
        return false;
    uint64_t asked = atomic_load_explicit(&page->asked, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&taken, memory_order_relaxed);
    return asked != last && atomic_compare_exchange_strong_explicit(
                                &taken, &last, asked, memory_order_relaxed, memory_order_relaxed);
}

/* Release: what was recorded comes first. */
void live_answer(void)
{
    struct live_page *page = __atomic_load_n(&live_page, __ATOMIC_ACQUIRE);
    if (page)
        atomic_store_explicit(&page->answered, atomic_load_explicit(&taken, memory_order_relaxed),
                              memory_order_release);
}
