/* SPDX-License-Identifier: MIT */
/* userfaultfd and its reader thread. Owned by memory/foreign.c; state under LOCK_REGISTRY but for the queue, which has
 * one writer (the reader thread) and one reader. */
#include "memory/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/os.h"
#include "base/pool.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum { QUEUE_LEN = 65536, STACK_BYTES = 64 * 1024, MAX_SPINS = 1 << 20, BLOCK = 1 << 21 };

static int fd = -1;
static bool is_refused; /* the kernel does not permit it: not asked again */
static unsigned nr_areas, max_areas;

static struct watch_event queue[QUEUE_LEN];
static _Atomic uint32_t queue_head; /* the reader thread's */
static _Atomic uint32_t queue_tail;
static _Atomic bool overflowed;
static _Atomic bool
    is_reading; /* set before an event is taken from the kernel, cleared when it is in the queue */
static _Atomic uintptr_t last_page; /* whose unmapping is the last that the reader reads */
static _Atomic uint32_t reader_tid; /* cleared by the kernel when the reader has gone */
static char *stack;

/* --- the reader thread ---------------------------------------------------------------------------------------------------- */

static void put_event(enum watch_event_kind kind, uintptr_t start, uintptr_t end)
{
    uint32_t head = atomic_load_explicit(&queue_head, memory_order_relaxed);
    if (head - atomic_load_explicit(&queue_tail, memory_order_acquire) == QUEUE_LEN) {
        atomic_store(&overflowed, true);
        return;
    }
    queue[head % QUEUE_LEN] = (struct watch_event){kind, start, end};
    atomic_store(&queue_head, head + 1);
}

static void put_message(const struct uffd_msg *message)
{
    switch (message->event) {
    case UFFD_EVENT_UNMAP:
        put_event(WATCH_GONE, message->arg.remove.start, message->arg.remove.end);
        break;
    case UFFD_EVENT_REMOVE:
        put_event(WATCH_PURGED, message->arg.remove.start, message->arg.remove.end);
        break;
    case UFFD_EVENT_REMAP:
        put_event(WATCH_GONE, message->arg.remap.from, message->arg.remap.from + message->arg.remap.len);
        break;
    default:
        break;
    }
}

/* Only what the reader needs: it shares the program's memory, and keeps the identity it was started with. */
static void confine_reader(void)
{
#define ALLOW(number)                                                                                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read),
        ALLOW(SYS_poll),
        ALLOW(SYS_exit),
        ALLOW(SYS_futex),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
#undef ALLOW
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    os_enter(SYS_prctl, PR_SET_NAME, (long)"anydma-watch", 0, 0, 0, 0);
    if (os_enter(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0) == 0)
        os_enter(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program, 0, 0, 0);
}

/* Runs on its own small stack and thread pointer, with every signal blocked; calls os_enter only: it has no thread-local variables. */
__attribute__((noreturn)) static void read_events(void)
{
    struct uffd_msg message;
    confine_reader();
    for (bool is_last = false; !is_last;) {
        struct pollfd poll = {.fd = fd, .events = POLLIN};
        os_enter(SYS_poll, (long)&poll, 1, -1, 0, 0, 0);
        if (poll.revents & ~POLLIN)
            break;
        atomic_store(&is_reading, true);
        while (os_enter(SYS_read, fd, (long)&message, sizeof(message), 0, 0, 0) == (ssize_t)sizeof(message)) {
            put_message(&message);
            is_last |=
                message.event == UFFD_EVENT_UNMAP && message.arg.remove.start == atomic_load(&last_page);
        }
        atomic_store(&is_reading, false);
    }
    for (;;)
        os_enter(SYS_exit, 0, 0, 0, 0, 0, 0);
}

/* The thread pointer's first words are what compiled code expects: itself, and the stack protector's value. */
static int start_reader(void)
{
    if (!stack && !(stack = pool_map(STACK_BYTES)))
        return -ENOMEM;
    uintptr_t *block = (uintptr_t *)(stack + STACK_BYTES - 4096);
    block[0] = block[2] = (uintptr_t)block;
    atomic_store(&last_page, 0);
    uint64_t saved;
    os_signals_block(&saved);
    intptr_t tid = os_clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                            (uintptr_t)(stack + STACK_BYTES / 2), (uint32_t *)&reader_tid, (uintptr_t)block,
                            read_events);
    os_signals_restore(&saved);
    return tid < 0 ? (int)tid : 0;
}

/* --- starting and stopping -------------------------------------------------------------------------------------------------- */

static unsigned read_max_map_count(void)
{
    char text[32];
    unsigned value = 0;
    int file = os_open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = file < 0 ? 0 : os_read(file, text, sizeof(text));
    if (file >= 0)
        os_close(file);
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        value = value * 10 + (unsigned)(text[i] - '0');
    return value ? value : 65530;
}

static int open_watch(void)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE |
                                         UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_PAGEFAULT_FLAG_WP};
    fd = (int)os_call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
    int error = fd < 0 ? fd : os_ioctl(fd, UFFDIO_API, &api);
    max_areas = read_max_map_count() / 4;
    if (!error)
        error = start_reader();
    if (error) {
        if (fd >= 0)
            os_close(fd);
        fd = -1;
        is_refused = true;
        log_write(
            LOG_INFO,
            "userfaultfd is not available (error %d): memory that anydma did not place is not registered",
            -error);
        return -EPERM;
    }
    return 0;
}

bool watch_has_reader(void)
{
    return atomic_load(&reader_tid) != 0;
}

int watch_start(uintptr_t start, uintptr_t end)
{
    struct uffdio_register reg = {.range = {start, end - start}, .mode = UFFDIO_REGISTER_MODE_WP};
    if (is_refused)
        return -EPERM;
    int error = fd < 0 ? open_watch() : 0;
    if (!error && nr_areas >= max_areas)
        error = -ENOSPC;
    if (!error)
        error = os_ioctl(fd, UFFDIO_REGISTER, &reg);
    if (error)
        return error;
    nr_areas++;
    return 0;
}

void watch_stop(uintptr_t start, uintptr_t end)
{
    struct uffdio_range range = {start, end - start};
    if (fd >= 0 && nr_areas) {
        os_ioctl(fd, UFFDIO_UNREGISTER, &range); /* ENOENT or EINVAL: already gone */
        nr_areas--;
    }
}

/* --- validation ---------------------------------------------------------------------------------------------------------------- */

static int ask_kernel(uintptr_t start, size_t len)
{
    struct uffdio_writeprotect same = {.range = {start, len}, .mode = 0};
    return os_ioctl(fd, UFFDIO_WRITEPROTECT, &same);
}

int watch_validate(uintptr_t va)
{
    /* A whole block where there is one: a part of it would split its huge page. */
    uintptr_t block = va & ~((uintptr_t)BLOCK - 1), page = va & ~(OS_PAGE_SIZE - 1);
    int error = ask_kernel(block, BLOCK);
    if (error == -ENOENT)
        error = ask_kernel(page, OS_PAGE_SIZE);
    for (int spins = 0; spins < MAX_SPINS && (error == -EAGAIN || atomic_load(&is_reading)); spins++) {
        os_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        error = ask_kernel(page, OS_PAGE_SIZE);
    }
    /* An event that was taken before the kernel answered is in the queue: is_reading was set before it was taken. */
    return error ? error : atomic_load(&is_reading) ? -EAGAIN : 0;
}

bool watch_is_settled(void)
{
    for (int spins = 0; spins < MAX_SPINS && atomic_load(&is_reading); spins++)
        os_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return !atomic_load(&is_reading);
}

void watch_count_is(unsigned nr)
{
    nr_areas = nr;
}

bool watch_next_event(struct watch_event *event)
{
    uint32_t tail = atomic_load_explicit(&queue_tail, memory_order_relaxed);
    if (tail == atomic_load(&queue_head))
        return false;
    *event = queue[tail % QUEUE_LEN];
    atomic_store_explicit(&queue_tail, tail + 1, memory_order_release);
    return true;
}

bool watch_overflowed(void)
{
    return atomic_exchange(&overflowed, false);
}

void watch_withdraw(void)
{
    if (fd < 0)
        return;
    /* An event of our own ends the reader: none is left unread, which somebody would wait for. */
    intptr_t page = os_mmap(0, OS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!os_is_error(page)) {
        atomic_store(&last_page, (uintptr_t)page);
        struct uffdio_register reg = {.range = {(uintptr_t)page, OS_PAGE_SIZE},
                                      .mode = UFFDIO_REGISTER_MODE_WP};
        bool is_told = os_ioctl(fd, UFFDIO_REGISTER, &reg) == 0;
        os_munmap((uintptr_t)page, OS_PAGE_SIZE);
        for (uint32_t tid; is_told && (tid = atomic_load(&reader_tid)) != 0;)
            os_call(SYS_futex, (long)&reader_tid, 0 /* FUTEX_WAIT, as the kernel wakes it */, tid, 0, 0, 0);
    }
    watch_reset();
}

void watch_reset(void)
{
    if (fd < 0)
        return;
    os_close(fd);
    fd = -1;
    nr_areas = 0;
    atomic_store(&queue_tail, 0);
    atomic_store(&queue_head, 0);
    atomic_store(&overflowed, false);
    atomic_store(&is_reading, false);
}
