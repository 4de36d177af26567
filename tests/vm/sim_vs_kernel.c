/* SPDX-License-Identifier: MIT */
/*
 * Is the simulated IOMMU's every answer the kernel's? Makes the same random calls to a VFIO container, or to an
 * address space of iommufd (as BACKEND says), and to sim, and compares errno and unmapped size, call for call:
 * type1 v1 and v2, iommufd; without limits, with few entries, with little memlock. Without limits iommufd has three address
 * spaces, with a device each, but for the last one, which is destroyed now and then; what is mapped is copied between them. Runs in
 * the guest, as root:
 * sim_vs_kernel [seed [calls per scenario]]; EDU_GROUP, EDU_BDF and NVME_CDEV name the devices.
 * @vm-bed sim_vs_kernel
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "iommu/iommu.h"
#include "iommufd.h"
#include "vfio_device.h"

#define PAGE 4096ull
/* Where WINDOW_PAGES of memory of every kind lie: away from where the kernel would map anything in its holes.
 */
#define WINDOW 0x100000000000ull
#define ENTRY_LIMIT "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"

enum { WINDOW_PAGES = 1024, NR_REMEMBERED = 64, SKIPPED = 77 };
enum { WITH_EDU, WITH_NVME, WITHOUT_DEVICE, MAX_SPACES }; /* of an iommufd; a container is the first */

struct scenario {
    const char *name;
    enum sim_rules rules;
    int vfio_type;          /* 0: an address space of iommufd */
    unsigned max_entries;   /* 0: the kernel's default */
    uint64_t memlock_bytes; /* 0: unlimited */
};

static const struct scenario scenarios[] = {
    {"v1", SIM_TYPE1_V1, VFIO_TYPE1_IOMMU, 0, 0},
    {"v2", SIM_TYPE1_V2, VFIO_TYPE1v2_IOMMU, 0, 0},
    {"v1, 6 entries", SIM_TYPE1_V1, VFIO_TYPE1_IOMMU, 6, 0},
    {"v2, 6 entries", SIM_TYPE1_V2, VFIO_TYPE1v2_IOMMU, 6, 0},
    {"v1, memlock of 40 pages", SIM_TYPE1_V1, VFIO_TYPE1_IOMMU, 0, 40 * PAGE},
    {"v2, memlock of 40 pages and a bit", SIM_TYPE1_V2, VFIO_TYPE1v2_IOMMU, 0, 40 * PAGE + 123},
    {"iommufd", SIM_IOMMUFD, 0, 0, 0},
    {"iommufd, memlock of 40 pages", SIM_IOMMUFD, 0, 0, 40 * PAGE},
};

struct call {
    enum { UNMAP, MAP, COPY, NR_KINDS } kind;
    unsigned space, from;
    uint64_t iova, va, len; /* va: the IOVA in `from`, of a copy */
};

/* Both sides of the comparison, and what was mapped of late, so that calls meet mappings often. */
struct bench {
    int container, group;
    struct vfio_device dev; /* iommufd's, */
    int other;              /* and another one */
    unsigned nr_spaces;
    struct iommu kernel[MAX_SPACES], sim[MAX_SPACES];
    struct sim_config config[MAX_SPACES];
    struct iommu_info info;
    struct call remembered[NR_REMEMBERED];
    uint64_t nr_answers[NR_KINDS][256]; /* by errno */
    uint64_t random;
};

static void die(const char *what)
{
    printf("sim_vs_kernel: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* splitmix64 */
static uint64_t next_random(struct bench *bench)
{
    uint64_t z = bench->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t below(struct bench *bench, uint64_t limit)
{
    return next_random(bench) % limit;
}

static bool one_in(struct bench *bench, unsigned n)
{
    return below(bench, n) == 0;
}

static void place(uint64_t addr, uint64_t nr_pages, int prot, int flags, int fd)
{
    void *at = mmap((void *)addr, nr_pages * PAGE, prot, flags | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED)
        die("mmap");
}

/* Runs of 1 to 32 pages: touched, untouched, shared, PROT_NONE, read-only, touched then read-only, nothing at
 * all. Nothing lies before and behind. */
static void fill_window(struct bench *bench)
{
    int memfd = memfd_create("window", 0);
    if (memfd < 0 || ftruncate(memfd, 16 * PAGE) != 0)
        die("memfd_create");
    for (uint64_t page = 0, len; page < WINDOW_PAGES; page += len) {
        uint64_t at = WINDOW + page * PAGE;
        unsigned kind = (unsigned)below(bench, 12);
        len = 1 + below(bench, 32);
        len = len > WINDOW_PAGES - page ? WINDOW_PAGES - page : len;
        if (kind == 0)
            continue;
        if (kind == 1) /* the file ends within some of these */
            place(at, len, PROT_READ | PROT_WRITE, MAP_SHARED, memfd);
        else
            place(at, len,
                  kind == 2   ? PROT_NONE
                  : kind == 3 ? PROT_READ
                              : PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1);
        if (kind >= 4 && kind < 9)
            memset((void *)at, 1, len * PAGE);
        if (kind == 4)
            mprotect((void *)at, len * PAGE, PROT_READ);
    }
    close(memfd);
}

static uint64_t random_len(struct bench *bench, uint64_t start)
{
    switch (below(bench, 24)) {
    case 0:
        return 0;
    case 1:
        return 1 + below(bench, 3 * PAGE);
    case 2:
        return -start; /* ends with the address space */
    case 3:
        return -start + PAGE;
    case 4:
        return UINT64_MAX - (one_in(bench, 2) ? PAGE - 1 : 0);
    case 5:
        return 1ull << (12 + below(bench, 52));
    case 6:
        return (1 + below(bench, WINDOW_PAGES)) * PAGE;
    default:
        return (1 + below(bench, 16)) * PAGE;
    }
}

/* A page or two around a border of the aperture or of a width. */
static uint64_t near_a_border(struct bench *bench)
{
    const struct iommu_range *range = &bench->info.ranges[below(bench, bench->info.nr_ranges)];
    uint64_t borders[] = {range->start, range->last + 1, 0, 1ull << 32, 1ull << 39, 1ull << 48};
    return borders[below(bench, 6)] + below(bench, 8) * PAGE - 4 * PAGE;
}

static uint64_t random_iova(struct bench *bench)
{
    switch (below(bench, 16)) {
    case 0:
        return next_random(bench);
    case 1:
        return next_random(bench) & -PAGE;
    case 2:
        return near_a_border(bench);
    case 3:
        return (64 + below(bench, 128)) * PAGE + below(bench, 2 * PAGE);
    case 4:
        return 0x40000000 + below(bench, 4 * WINDOW_PAGES) * PAGE;
    default:
        return (64 + below(bench, 128)) * PAGE;
    }
}

static uint64_t random_va(struct bench *bench)
{
    switch (below(bench, 24)) {
    case 0:
        return below(bench, 4) * PAGE;
    case 1:
        return -(1 + below(bench, 16)) * PAGE;
    case 2:
        return 0xffff888000000000 + below(bench, WINDOW_PAGES) * PAGE;
    case 3:
        return next_random(bench) & -PAGE;
    case 4:
        return WINDOW + below(bench, WINDOW_PAGES * PAGE);
    case 5:
        return 0x7ffffffff000 - below(bench, 8) * PAGE;
    default:
        return WINDOW + below(bench, WINDOW_PAGES) * PAGE;
    }
}

/* A border before, inside or behind what was mapped of late. */
static uint64_t near_known(struct bench *bench, const struct call *known)
{
    uint64_t iova = known->iova;
    if (one_in(bench, 3))
        iova += below(bench, 2 * known->len / PAGE + 1) * PAGE - known->len / 2 / PAGE * PAGE;
    return iova;
}

static struct call random_call(struct bench *bench)
{
    struct call call = {.kind = one_in(bench, 3) ? UNMAP : MAP,
                        .space = (unsigned)below(bench, bench->nr_spaces),
                        .from = (unsigned)below(bench, bench->nr_spaces),
                        .iova = random_iova(bench),
                        .va = random_va(bench)};
    const struct call *known = &bench->remembered[below(bench, NR_REMEMBERED)];
    if (!one_in(bench, 3) && known->len)
        call.iova = near_known(bench, known);
    if (bench->nr_spaces > 1 && call.kind == MAP && one_in(bench, 3)) {
        call.kind = COPY;
        call.va = known->len && !one_in(bench, 8) ? near_known(bench, known) : random_iova(bench);
        call.from = known->len && !one_in(bench, 8) ? known->space : call.from;
        call.iova = one_in(bench, 2) ? random_iova(bench) : call.iova;
    }
    call.len = random_len(bench, one_in(bench, 2) ? call.iova : call.va);
    if (call.kind != MAP && (call.iova == known->iova || call.va == known->iova) && one_in(bench, 2))
        call.len = known->len;
    if (call.kind == UNMAP && one_in(bench, 200)) /* iommufd: everything */
        call.iova = 0, call.len = UINT64_MAX;
    return call;
}

static int make_in_kernel(struct bench *bench, const struct call *call, uint64_t *unmapped)
{
    struct iommu *space = &bench->kernel[call->space];
    if (call->kind == COPY)
        return iommufd_copy(space->fd, space->ioas_id, call->iova, bench->kernel[call->from].ioas_id,
                            call->va, call->len);
    return call->kind == MAP ? space->ops->map(space, call->iova, call->va, call->len)
                             : space->ops->unmap(space, call->iova, call->len, unmapped);
}

static int make_in_sim(struct bench *bench, const struct call *call, uint64_t *unmapped)
{
    struct iommu *space = &bench->sim[call->space];
    if (call->kind == COPY)
        return sim_copy(space, call->iova, &bench->sim[call->from], call->va, call->len);
    return call->kind == MAP ? space->ops->map(space, call->iova, call->va, call->len)
                             : space->ops->unmap(space, call->iova, call->len, unmapped);
}

static const char *name_of(int error)
{
    return error ? strerrorname_np(-error) : "ok";
}

static const char *const kinds[NR_KINDS] = {[UNMAP] = "unmap", [MAP] = "map", [COPY] = "copy"};

static void compare(struct bench *bench, const struct call *call, uint64_t number)
{
    uint64_t by_kernel = 0, by_sim = 0;
    int kernel = make_in_kernel(bench, call, &by_kernel);
    int sim = make_in_sim(bench, call, &by_sim);
    bench->nr_answers[call->kind][-kernel & 255]++;
    if (kernel == 0 && call->kind != UNMAP)
        bench->remembered[below(bench, NR_REMEMBERED)] = *call;
    if (kernel == sim && by_kernel == by_sim)
        return;
    printf("call %" PRIu64 ": %s(space %u, iova=0x%" PRIx64, number, kinds[call->kind], call->space,
           call->iova);
    if (call->kind != UNMAP)
        printf(", %s=0x%" PRIx64, call->kind == MAP ? "va" : "from", call->va);
    if (call->kind == COPY)
        printf(" of space %u", call->from);
    printf(", len=0x%" PRIx64 "): kernel %s (0x%" PRIx64 " unmapped), sim %s (0x%" PRIx64 " unmapped)\n",
           call->len, name_of(kernel), by_kernel, name_of(sim), by_sim);
    exit(1);
}

static void compare_entries(struct bench *bench, uint64_t number)
{
    struct iommu_info kernel, sim;
    if (bench->kernel[0].ops->query(&bench->kernel[0], &kernel) != 0 ||
        bench->sim[0].ops->query(&bench->sim[0], &sim) != 0)
        die("query");
    kernel.counter = sim.counter = NULL; /* whose pages are counted is no rule of the IOMMU's */
    if (memcmp(&kernel, &sim, sizeof(kernel)) == 0)
        return;
    printf("after call %" PRIu64 ": query: %" PRIu64 " free entries in the kernel, %" PRIu64 " in sim\n",
           number, kernel.nr_entries, sim.nr_entries);
    exit(1);
}

static void set_entry_limit(unsigned limit)
{
    int fd = open(ENTRY_LIMIT, O_WRONLY);
    char text[16];
    int len = snprintf(text, sizeof(text), "%u", limit);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        die(ENTRY_LIMIT);
    close(fd);
}

/* Root is held to a memlock limit only without CAP_IPC_LOCK in effect. */
static void set_memlock(uint64_t bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    rlim_t limit = bytes ? bytes : RLIM_INFINITY;
    struct rlimit memlock = {limit, RLIM_INFINITY};
    if (syscall(SYS_capget, &header, data) != 0)
        die("capget");
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    if (!bytes)
        data[0].effective |= data[0].permitted & (1u << CAP_IPC_LOCK);
    if (setrlimit(RLIMIT_MEMLOCK, &memlock) != 0 || syscall(SYS_capset, &header, data) != 0)
        die("setrlimit, capset");
}

static void open_container(struct bench *bench, const char *group, int vfio_type)
{
    char path[64];
    snprintf(path, sizeof(path), "%s%s", group[0] == '/' ? "" : "/dev/vfio/", group);
    bench->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    bench->group = open(path, O_RDWR | O_CLOEXEC);
    if (bench->container < 0 || bench->group < 0)
        die(path);
    if (ioctl(bench->group, VFIO_GROUP_SET_CONTAINER, &bench->container) != 0)
        die("VFIO_GROUP_SET_CONTAINER");
    if (ioctl(bench->container, VFIO_SET_IOMMU, (unsigned long)vfio_type) != 0)
        die("VFIO_SET_IOMMU");
    bench->nr_spaces = 1;
    type1_init(&bench->kernel[0], bench->container);
    if (bench->kernel[0].ops->query(&bench->kernel[0], &bench->info) != 0)
        die("VFIO_IOMMU_GET_INFO");
}

static int ioas_query(struct iommu *iommu, struct iommu_info *info)
{
    struct iommufd_range ranges[IOMMU_MAX_RANGES];
    int nr = iommufd_ranges(iommu->fd, iommu->ioas_id, ranges, IOMMU_MAX_RANGES);
    if (nr < 0)
        return nr;
    memset(info, 0, sizeof(*info));
    for (int i = 0; i < nr; i++)
        info->ranges[i] = (struct iommu_range){ranges[i].start, ranges[i].last};
    info->nr_ranges = (unsigned)nr;
    info->page_sizes = PAGE;
    info->nr_entries = UINT64_MAX;
    return 0;
}

static int ioas_map(struct iommu *iommu, uint64_t iova, uint64_t va, uint64_t len)
{
    return iommufd_map(iommu->fd, iommu->ioas_id, iova, va, len);
}

static int ioas_unmap(struct iommu *iommu, uint64_t iova, uint64_t len, uint64_t *unmapped)
{
    return iommufd_unmap(iommu->fd, iommu->ioas_id, iova, len, unmapped);
}

static void add_space(struct bench *bench, uint32_t ioas_id)
{
    static const struct iommu_ops ops = {
        .name = "iommufd", .query = ioas_query, .map = ioas_map, .unmap = ioas_unmap};
    bench->kernel[bench->nr_spaces++] =
        (struct iommu){.ops = &ops, .fd = bench->dev.container_fd, .ioas_id = ioas_id};
}

static uint32_t make_space(const struct bench *bench)
{
    uint32_t ioas_id;
    if (iommufd_alloc_ioas(bench->dev.container_fd, &ioas_id) != 0)
        die("IOMMU_IOAS_ALLOC");
    return ioas_id;
}

static void open_ioas(struct bench *bench, bool has_several)
{
    const char *bdf = getenv("EDU_BDF"), *cdev = getenv("NVME_CDEV");
    uint32_t id, second;
    if (!bdf || vfio_device_open(&bench->dev, bdf) < 0)
        exit(1);
    add_space(bench, bench->dev.ioas_id);
    if (ioas_query(&bench->kernel[0], &bench->info) != 0)
        die("IOMMU_IOAS_IOVA_RANGES");
    bench->other = -1;
    if (!has_several)
        return;
    bench->other = cdev ? open(cdev, O_RDWR | O_CLOEXEC) : -1;
    second = make_space(bench);
    if (bench->other < 0 || iommufd_bind(bench->dev.container_fd, bench->other, &id) != 0 ||
        iommufd_attach(bench->other, second) != 0)
        die("a second device");
    add_space(bench, second);
    add_space(bench, make_space(bench));
}

/* Which kernel it is: the newer one says EOVERFLOW of a range that wraps, and iommufd does whatever the length is. */
static bool ends_are_seen(struct iommu *kernel, bool is_type1)
{
    uint64_t unmapped;
    return (is_type1 ? kernel->ops->unmap(kernel, 2 * PAGE, -PAGE, &unmapped)
                     : kernel->ops->map(kernel, 2 * PAGE, 2 * PAGE, -PAGE)) == -EOVERFLOW;
}

static void open_sims(struct bench *bench, const struct scenario *scenario)
{
    bool is_seen = ends_are_seen(&bench->kernel[0], scenario->vfio_type);
    for (unsigned i = 0; i < bench->nr_spaces; i++) {
        struct sim_config *config = &bench->config[i];
        sim_config_default(config);
        config->rules = scenario->rules;
        config->ends_are_seen = is_seen;
        memcpy(config->ranges, bench->info.ranges, sizeof(config->ranges));
        config->nr_ranges = bench->info.nr_ranges;
        config->page_sizes = bench->info.page_sizes;
        config->max_entries = bench->info.nr_entries;
        config->memlock_bytes = scenario->memlock_bytes ? scenario->memlock_bytes : UINT64_MAX;
        if (i == WITHOUT_DEVICE) { /* nothing is pinned, nor taken away */
            config->populate = false;
            config->ranges[0] = (struct iommu_range){0, UINT64_MAX};
            config->nr_ranges = 1;
            config->page_sizes = UINT64_MAX;
        }
        if (sim_init(&bench->sim[i], config) != 0)
            die("sim_init");
    }
}

/* What was copied out of it stays. */
static void destroy_and_remake(struct bench *bench)
{
    struct iommu *kernel = &bench->kernel[WITHOUT_DEVICE], *sim = &bench->sim[WITHOUT_DEVICE];
    uint64_t undone;
    if (iommufd_destroy(kernel->fd, kernel->ioas_id) != 0 ||
        iommufd_unmap(kernel->fd, kernel->ioas_id, 0, UINT64_MAX, &undone) != -ENOENT ||
        iommufd_destroy(kernel->fd, bench->kernel[WITH_NVME].ioas_id) != -EBUSY)
        die("IOMMU_DESTROY");
    kernel->ioas_id = make_space(bench);
    sim->ops->close(sim);
    if (sim_init(sim, &bench->config[WITHOUT_DEVICE]) != 0)
        die("sim_init");
}

/* So that a reader sees that every rule was reached. */
static void print_answers(const struct bench *bench)
{
    for (int kind = 0; kind < NR_KINDS; kind++) {
        printf("   %s:", kinds[kind]);
        for (int error = 0; error < 256; error++)
            if (bench->nr_answers[kind][error])
                printf(" %" PRIu64 " %s", bench->nr_answers[kind][error], name_of(-error));
    }
    printf("\n");
}

static void run(const struct scenario *scenario, const char *group, uint64_t seed, uint64_t nr_calls)
{
    struct bench bench = {.random = seed};
    if (scenario->max_entries)
        set_entry_limit(scenario->max_entries);
    if (scenario->vfio_type)
        open_container(&bench, group, scenario->vfio_type);
    else
        open_ioas(&bench, !scenario->memlock_bytes);
    set_memlock(scenario->memlock_bytes);
    open_sims(&bench, scenario);
    fill_window(&bench);
    for (uint64_t i = 0; i < nr_calls; i++) {
        struct call call = random_call(&bench);
        compare(&bench, &call, i);
        if (bench.nr_spaces > WITHOUT_DEVICE && i % 512 == 511)
            destroy_and_remake(&bench);
        if (i % 64 == 0)
            compare_entries(&bench, i);
    }
    print_answers(&bench);
    for (unsigned i = 0; i < bench.nr_spaces; i++)
        bench.sim[i].ops->close(&bench.sim[i]);
    munmap((void *)WINDOW, WINDOW_PAGES * PAGE);
    if (scenario->vfio_type) {
        close(bench.group);
        close(bench.container);
    } else {
        if (bench.other >= 0)
            close(bench.other);
        vfio_device_close(&bench.dev);
    }
    set_memlock(0);
    if (scenario->max_entries)
        set_entry_limit(UINT16_MAX);
}

int main(int argc, char **argv)
{
    const char *group = getenv("EDU_GROUP");
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t nr_calls = argc > 2 ? strtoull(argv[2], NULL, 0) : 5000;
    const char *backend = getenv("BACKEND");
    bool is_iommufd = backend && strcmp(backend, "iommufd") == 0;
    uint64_t nr_made = 0;
    if (!group) {
        printf("EDU_GROUP isn't set: no device to open a container for\n");
        return SKIPPED;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (backend && strcmp(backend, "compat") == 0) {
        printf("iommufd's emulation of a container has no simulation to compare\n");
        return SKIPPED;
    }
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (!scenarios[i].vfio_type != is_iommufd)
            continue;
        printf("seed %" PRIu64 ", %s\n", seed, scenarios[i].name);
        run(&scenarios[i], group, seed, nr_calls);
        nr_made += nr_calls;
    }
    printf("%" PRIu64 " calls, 0 differences\n", nr_made);
    return 0;
}
