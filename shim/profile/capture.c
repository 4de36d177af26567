/* SPDX-License-Identifier: MIT */
/* The capture: opened at the start, and by a forked child at its first event; what every event needs around
 * it (the time, the thread, the site); closed at exit. Owns LOCK_CAPTURE. */
#include "profile/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/config.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/probes.h"
#include "profile/blocks.h"
#include "profile/live.h"
#include "profile/modules.h"
#include "profile/profile.h"
#include "profile/samples.h"
#include "profile/sites.h"

enum { PATH_BYTES = 4096, TEXT_BYTES = 1024, MAX_CONTAINERS = 32, NAME_BYTES = 16 };

#define RENAME_NS INT64_C(100000000) /* how late a new name of a thread may be told */

bool profile_is_on;

/* The containers attached now: a child that opens its capture later, or a reader, has to know. */
struct attached {
    bool is_attached;
    char backend[NAME_BYTES];
    uint64_t entries, first, last;
};

static struct lock lock = {.rank = LOCK_CAPTURE};
LOCK_ON_LIST(lock);
static struct record current;
static struct stack stack;
static char path[PATH_BYTES];
static struct attached attached[MAX_CONTAINERS];
static uint32_t generation; /* of the file that is written: sites told of in another count as untold */
static bool is_stopped;
/* A child of a process that is captured, whose file is beside that one's and made when there is something to
 * tell: a shell's capture does not litter. */
static bool is_child;
static _Thread_local struct {
    uint32_t generation, tid;
    uint64_t named_ns; /* when its name was last asked for */
    char name[NAME_BYTES];
} thread __attribute__((tls_model("initial-exec")));

/* --- the file's name ------------------------------------------------------------------------------ */

static bool names_process(void)
{
    for (const char *p = config.output; *p; p += *p == '%' && p[1] ? 2 : 1)
        if (*p == '%' && p[1] == 'p')
            return true;
    return false;
}

static size_t read_file(const char *name, char *text, size_t size)
{
    int fd = os_open(name, O_RDONLY | O_CLOEXEC, 0);
    ssize_t len = fd < 0 ? 0 : os_read(fd, text, size);
    if (fd >= 0)
        os_close(fd);
    return len > 0 ? (size_t)len : 0;
}

static size_t executable(char *text, size_t size)
{
    intptr_t len = os_call(SYS_readlink, (long)"/proc/self/exe", (long)text, (long)size - 1, 0, 0, 0);
    text[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

static void add(char *to, size_t *len, const char *text)
{
    while (*text && *len < PATH_BYTES - 1)
        to[(*len)++] = *text++;
    to[*len] = '\0';
}

static void add_number(char *to, size_t *len, unsigned value)
{
    char digits[16] = {0};
    int n = sizeof(digits) - 1;
    do
        digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    add(to, len, digits + n);
}

/* %e the program's name, %p the process; relative to where the process is now. A child's is its parent's with ".PID". */
static void expand_path(void)
{
    char exe[PATH_BYTES];
    size_t len = 0;
    path[0] = '\0';
    if (config.output[0] != '/') {
        intptr_t n = os_call(SYS_getcwd, (long)path, sizeof(path), 0, 0, 0, 0);
        len = n > 1 ? (size_t)n - 1 : 0;
        if (len > 1)
            add(path, &len, "/");
    }
    executable(exe, sizeof(exe));
    for (const char *p = config.output; *p; p++) {
        const char one[2] = {*p, '\0'};
        if (*p == '%' && p[1] == 'p')
            add_number(path, &len, (unsigned)os_getpid());
        else if (*p == '%' && p[1] == 'e')
            add(path, &len, strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe);
        else if (*p == '%' && p[1] == '%')
            add(path, &len, "%");
        else
            add(path, &len, one);
        p += *p == '%' && p[1] && strchr("pe%", p[1]);
    }
    if (is_child && !names_process()) {
        add(path, &len, ".");
        add_number(path, &len, (unsigned)os_getpid());
    }
}

/* --- records
 * -----------------------------------------------------------------------------------------------------------
 */

void capture_write(struct record *record, uint64_t now_ns)
{
    record_end(record);
    blocks_base_time(record->len, now_ns);
    blocks_append(record->bytes, record->len, now_ns);
}

struct record *capture_event(enum record_type type, uint64_t now_ns)
{
    /* The block that the record will go to: one of the largest size fits behind this base. */
    uint64_t base = blocks_base_time(sizeof(current.bytes), now_ns);
    record_begin(&current, type);
    record_number(&current, now_ns > base ? now_ns - base : 0);
    return &current;
}

static void found_module(const struct module_range *range, const unsigned char *id, size_t id_len,
                         const char *name)
{
    record_begin(&current, RECORD_MODULE);
    record_number(&current, range->start);
    record_number(&current, range->end);
    record_number(&current, range->file_offset);
    record_bytes(&current, id, id_len);
    record_text(&current, name);
    capture_write(&current, os_monotonic_ns());
}

static void write_attach(unsigned container, uint64_t now_ns)
{
    const struct attached *it = &attached[container];
    struct record *record = capture_event(RECORD_ATTACH, now_ns);
    record_number(record, container);
    record_number(record, it->entries);
    record_number(record, it->first);
    record_number(record, it->last);
    record_text(record, it->backend);
    capture_write(record, now_ns);
}

static void write_process(uint64_t now_ns)
{
    char text[PATH_BYTES];
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    record_begin(&current, RECORD_PROCESS);
    record_number(&current, CAPTURE_VERSION);
    record_number(&current, (uint64_t)os_getpid());
    record_number(&current, (uint64_t)os_call(SYS_getppid, 0, 0, 0, 0, 0, 0));
    record_number(&current, (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec);
    record_number(&current, now_ns);
    record_number(&current, OS_PAGE_SIZE);
    record_number(&current, os_can_lock_all() ? UINT64_MAX : os_limit(RLIMIT_MEMLOCK));
    record_number(&current, config.sample_bytes);
    record_bytes(&current, text, executable(text, TEXT_BYTES / 2));
    record_bytes(&current, text, read_file("/proc/self/cmdline", text, TEXT_BYTES / 2));
    record_text(&current, ANYDMA_VERSION);
    capture_write(&current, now_ns);
    modules_cover(NULL, 0, now_ns, found_module);
    for (unsigned i = 0; i < MAX_CONTAINERS; i++)
        if (attached[i].is_attached)
            write_attach(i, now_ns);
}

static bool open_capture(void)
{
    expand_path();
    modules_forget();
    generation++;
    int error = blocks_open(path);
    if (error == -EWOULDBLOCK && !is_child) {
        is_child = true;
        return false;
    }
    if (error) {
        log_write(LOG_WARNING, "no capture: %s can't be written: error %d", path, -error);
        is_stopped = true;
        return false;
    }
    write_process(os_monotonic_ns());
    return true;
}

bool capture_begin(void)
{
    if (is_stopped)
        return false;
    lock_take(&lock);
    if (!is_stopped && (blocks_are_open() || open_capture()))
        return true;
    lock_release(&lock);
    return false;
}

void capture_end(void)
{
    lock_release(&lock);
}

void capture_name(char *to, size_t size, uint64_t *device, uint64_t *inode)
{
    if (!profile_is_on)
        return;
    lock_take(&lock);
    if (blocks_are_open()) {
        const char *name = blocks_name(device, inode);
        size_t len = strlen(name);
        if (len < size)
            memcpy(to, name, len + 1);
    }
    lock_release(&lock);
}

uint32_t capture_thread(uint64_t now_ns)
{
    char name[NAME_BYTES] = "";
    if (thread.generation == generation && (int64_t)(now_ns - thread.named_ns) < RENAME_NS)
        return thread.tid;
    thread.named_ns = now_ns;
    os_call(SYS_prctl, PR_GET_NAME, (long)name, 0, 0, 0, 0);
    if (thread.generation == generation && memcmp(thread.name, name, sizeof(name)) == 0)
        return thread.tid;
    if (thread.generation != generation)
        thread.tid = (uint32_t)os_gettid();
    thread.generation = generation;
    memcpy(thread.name, name, sizeof(name));
    record_begin(&current, RECORD_THREAD);
    record_number(&current, thread.tid);
    record_bytes(&current, name, strnlen(name, sizeof(name)));
    capture_write(&current, now_ns);
    return thread.tid;
}

uint32_t capture_site(uint64_t now_ns)
{
    uint64_t noted = stack_noted();
    if (noted >> 32 == generation && noted)
        return (uint32_t)noted;
    unsigned depth = stack_current(&stack);
    struct site *site = depth ? sites_find(&stack, depth) : NULL;
    if (!site)
        return 0;
    stack_note((uint64_t)generation << 32 | site->id);
    if (site->written == generation)
        return site->id;
    modules_cover(site->frames, site->depth, now_ns, found_module);
    record_begin(&current, RECORD_SITE);
    record_number(&current, site->id);
    record_number(&current, site->depth);
    for (unsigned i = 0; i < site->depth; i++)
        record_number(&current, (uintptr_t)site->frames[i]);
    record_text(&current, site->label);
    capture_write(&current, now_ns);
    site->written = generation;
    return site->id;
}

/* --- containers
 * ---------------------------------------------------------------------------------------------------------
 */

void profile_record_attach(unsigned container, const char *backend, uint64_t entries, uint64_t first,
                           uint64_t last)
{
    if (!profile_is_on || container >= MAX_CONTAINERS)
        return;
    lock_take(&lock);
    struct attached *it = &attached[container];
    *it = (struct attached){.is_attached = true, .entries = entries, .first = first, .last = last};
    for (unsigned i = 0; i < NAME_BYTES - 1 && backend[i]; i++)
        it->backend[i] = backend[i];
    if (blocks_are_open())
        write_attach(container, os_monotonic_ns());
    lock_release(&lock);
}

void profile_record_detach(unsigned container)
{
    if (!profile_is_on || container >= MAX_CONTAINERS)
        return;
    lock_take(&lock);
    attached[container].is_attached = false;
    if (!is_stopped && blocks_are_open()) {
        uint64_t now = os_monotonic_ns();
        struct record *record = capture_event(RECORD_DETACH, now);
        record_number(record, container);
        capture_write(record, now);
    }
    lock_release(&lock);
}

/* --- from start to exit --------------------------------------------------------------------------- */

/* Check mode takes stacks, and may write none of them anywhere. */
static bool has_output(void)
{
    return config.output && config.output[0];
}

void profile_start(void)
{
    if (!has_output() && !config.check)
        return;
    if (config.depth < 1)
        config.depth = 1;
    profile_is_on = true;
    is_stopped = !has_output();
    if (is_stopped)
        return;
    lock_take(&lock);
    open_capture();
    lock_release(&lock);
}

void profile_open_stacks(void)
{
    if (profile_is_on)
        stack_open();
}

void profile_begin_thread(void)
{
    stack_thread_begins();
}

void profile_stop(const uint64_t *stats, size_t nr)
{
    if (!profile_is_on || !blocks_are_open() || !capture_begin())
        return;
    uint64_t now = os_monotonic_ns();
    struct record *record = capture_event(RECORD_STATS, now);
    for (size_t i = 0; i < nr; i++)
        record_number(record, stats[i]);
    capture_write(record, now);
    capture_write(capture_event(RECORD_END, now), now);
    blocks_close();
    is_stopped = true;
    capture_end();
}

void profile_before_fork(uint64_t pinned)
{
    if (pinned)
        PROBE_FORK_COPY(pinned);
    if (!profile_is_on)
        return;
    stack_pause();
    if (blocks_are_open() && pinned && capture_begin()) {
        uint64_t now = os_monotonic_ns();
        uint32_t site = capture_site(now);
        struct record *record = capture_event(RECORD_FORK, now);
        record_number(record, pinned);
        record_number(record, site);
        capture_write(record, now);
        capture_end();
    }
}

void profile_after_fork(void)
{
    if (profile_is_on)
        stack_resume();
}

void profile_become_child(void)
{
    live_forget();
    if (!profile_is_on)
        return;
    stack_reset();
    samples_become_child();
    blocks_forget();
    memset(attached, 0, sizeof(attached));
    is_child = true;
    is_stopped = !has_output();
}
