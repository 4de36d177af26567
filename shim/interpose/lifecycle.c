/* SPDX-License-Identifier: MIT */
/* Start and exit of the shim. Called by every door; owns no lock. */
#include "interpose/lifecycle.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/sparse.h"
#include "dma/attachments.h"
#include "dma/dma.h"
#include "dma/eager.h"
#include "dma/hazards.h"
#include "dma/pagemap.h"
#include "dma/registry.h"
#include "interpose/advice.h"
#include "interpose/bridges/bridges.h"
#include "interpose/ending.h"
#include "interpose/filters.h"
#include "interpose/foresight.h"
#include "interpose/fork.h"
#include "interpose/next.h"
#include "interpose/patched.h"
#include "interpose/profiler.h"
#include "interpose/strict.h"
#include "interpose/summary.h"
#include "iommu/iommu.h"
#include "memory/arena.h"
#include "memory/heap.h"
#include "memory/huge.h"
#include "memory/owners.h"
#include "memory/populate.h"
#include "profile/failures.h"
#include "profile/live.h"
#include "profile/profile.h"

enum { CHECK_EXIT = 2, EXIT_HAZARDS = 99 };

_Atomic int lifecycle_state;
static int owner_pid = -1; /* not zero: in a page that a forked child writes anyway */

/* The program's, if it has them. Not by dlsym: what it does not find costs it an allocation, and a program with a malloc of
 * its own may be inside that, with its lock taken, when it makes its first mapping. */
#define OF_THE_PROGRAM __attribute__((weak, visibility("default")))
extern const struct sim_device anydma_sim_device OF_THE_PROGRAM;
extern const char anydma_sim_device_pins OF_THE_PROGRAM;

struct sim_start {
    struct iommu *iommu;
    struct sim_config config;
    int error;
};

static void init_sim(void *arg)
{
    struct sim_start *start = arg;
    start->error = sim_init(start->iommu, &start->config);
}

int lifecycle_init_sim(struct iommu *iommu, int fd, uint32_t ioas_id)
{
    struct sim_start start = {.iommu = iommu};
    sim_config_default(&start.config);
    if (ioas_id)
        start.config.rules = SIM_IOMMUFD;
    if (&anydma_sim_device) {
        start.config.mapped = anydma_sim_device.mapped;
        start.config.unmapped = anydma_sim_device.unmapped;
        start.config.arg = anydma_sim_device.arg;
        start.config.populate = !&anydma_sim_device_pins;
    }
    if (&anydma_sim_device_pins) /* by itself, or nothing at all */
        populate_give_up();
    registry_locked(init_sim, &start);
    iommu->fd = fd;
    iommu->ioas_id = ioas_id;
    return start.error;
}

static void close_sim(void *arg)
{
    struct iommu *iommu = arg;
    iommu->ops->close(iommu);
}

void lifecycle_close_sim(struct iommu *iommu)
{
    registry_locked(close_sim, iommu);
}

static void attach_sim(void)
{
    struct iommu iommu;
    int error = lifecycle_init_sim(&iommu, -1, 0);
    if (!error)
        error = attachments_add(&iommu);
    if (error)
        log_write(LOG_ERROR, "the simulated IOMMU could not be set up: error %d; nothing is registered",
                  -error);
}

/* The ANYDMA_* variables that the program was started with: for a start before the C library's own, when there is no
 * environ yet. Source: proc_pid_environ(5). */
static char **initial_environment(void)
{
    enum { MOST = 64, BYTES = 2 << 20 };
    static char *variables[MOST + 1];
    char *text = pool_map(BYTES), *end = text;
    int fd = text ? os_open("/proc/self/environ", O_RDONLY | O_CLOEXEC, 0) : -1;
    for (ssize_t n; fd >= 0 && (n = os_read(fd, end, (size_t)(text + BYTES - 1 - end))) > 0;)
        end += n;
    if (fd >= 0)
        os_close(fd);
    size_t nr = 0;
    for (char *at = text; at < end && nr < MOST; at += strlen(at) + 1)
        if (strncmp(at, "ANYDMA_", 7) == 0)
            variables[nr++] = at;
    return variables;
}

/* The linker's: where the shim's zeroed variables are, most of which are tables. */
extern const char __bss_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static bool start(void)
{
    extern char **environ;
    sparse_note(__bss_start, (size_t)(_end - __bss_start));
    config_read(environ ? environ : initial_environment());
    next_libc();
    malloc_find_next();
    if (config.disabled)
        return false;
    if (pagemap_init() != 0) {
        log_write(LOG_ERROR, "no memory for the lookup table: anydma is off");
        return false;
    }
    lifecycle_own();
    if (config.stats || config.output)
        log_keep_stderr();
    if (config.heap == HEAP_OWN)
        heap_init();
    dma_init(&owners_memory_ops);
    fork_init();
    profiler_start();
    if (config.iommu == IOMMU_SIM)
        attach_sim();
    return true;
}

bool lifecycle_start(void)
{
    int expected = STATE_NEW;
    if (atomic_compare_exchange_strong_explicit(&lifecycle_state, &expected, STATE_STARTING,
                                                memory_order_acquire, memory_order_acquire)) {
        int saved = errno;
        expected = start() ? STATE_ACTIVE : STATE_OFF;
        atomic_store_explicit(&lifecycle_state, expected, memory_order_release);
        errno = saved;
    }
    return expected == STATE_ACTIVE;
}

bool lifecycle_enter(void)
{
    int state = atomic_load_explicit(&lifecycle_state, memory_order_acquire);
    if (state != STATE_ACTIVE && !(state == STATE_NEW && lifecycle_start()))
        return false;
    if (!pagemap_is_ours() && os_getpid() != owner_pid)
        fork_become_child(true); /* a raw clone, or _Fork: no handler ran */
    return true;
}

void lifecycle_own(void)
{
    owner_pid = os_getpid();
}

bool lifecycle_is_owner(void)
{
    return os_getpid() == owner_pid;
}

void *lifecycle_next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor(101))) static void construct(void)
{
    if (!lifecycle_enter())
        return;
    profile_open_stacks();
    patched_find();
    if (foresight_sees_device())
        huge_expect_device();
    if (config.iommu == IOMMU_SIM)
        bridges_look(); /* no call to VFIO may ever come */
    profile_leave();    /* what is registered by now was so through no door */
    strict_start();
}

/* What there is to do at the end, of which a process in a sandbox does nothing, as if it were killed: captures and pages in
 * /run are made to bear that. */
static bool has_something_to_do(void)
{
    return (profile_is_on || live_page || config.stats || config.check == CHECK_EXIT) && !filters_are_set();
}

__attribute__((destructor(101))) static void destroy(void)
{
    if (atomic_load_explicit(&lifecycle_state, memory_order_acquire) != STATE_ACTIVE)
        return;
    if (!filters_are_set()) { /* a system call only where something has failed */
        advice_tell_end();
        if (!config.stats) /* the summary has them */
            failures_tell_end();
    }
    if (!has_something_to_do() || !lifecycle_is_owner())
        return;
    ending_prepare();
    profiler_stop();
    eager_tell_end();
    if (config.stats)
        summary_print();
    ending_tell();
    if (config.check == CHECK_EXIT && hazards_seen()) {
        fflush(NULL);
        _exit(EXIT_HAZARDS);
    }
}
