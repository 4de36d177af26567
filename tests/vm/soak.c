/* SPDX-License-Identifier: MIT */
/*
 * A long run: an NVMe drive and an e1000e move malloc'ed memory, every byte compared, while other threads
 * allocate, free, trim, map, unmap, purge, fork and execute. Runs in the guest: soak BDF-of-nvme BDF-of-e1000e
 * SECONDS lookup|identity (tests/vm/soak.sh); with "identity" the devices are given addresses, never asked
 * for, as a program does that relies on IOVA == address, in eager mode. The counts are its last lines.
 *
 * Two threads drive a device each, the others disturb; they share counters and `stop` only.
 * @host tests/vm/soak.sh, in check-all: not among what each boot runs
 */
#include "check.h"
#include "e1000e.h"
#include "nvme.h"

#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { KIB = 1 << 10, MIB = 1 << 20, PAGE = 4096, NR_SLOTS = 300, NR_MAPS = 60, MAX_IO = 600 * KIB };

extern char **environ;

static atomic_bool stop;
static bool is_identity;
static struct nvme nvme;
static struct e1000e nic;

/* What was done, and what was wrong. */
static atomic_ulong nr_blocks_moved, nr_bytes_moved, nr_frames, nr_wrong;
static atomic_ulong nr_allocations, nr_trims, nr_maps, nr_purges, nr_forks, nr_execs, nr_disturbed;

static uint64_t random_of(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = (*state ^ (*state >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t random_bytes(uint64_t *state, size_t max)
{
    static const size_t scales[] = {64, 512, 5000, 70000, MAX_IO};
    size_t scale = scales[random_of(state) % 5];
    return 1 + random_of(state) % (scale < max ? scale : max);
}

static void say_wrong(const char *what, const void *at, size_t bytes, const char *why)
{
    if (atomic_fetch_add(&nr_wrong, 1) < 20)
        check(false, "%s at %p, %zu bytes: %s", what, at, bytes, why);
}

/* Memory of the device's own choice, as a program that relies on identity sees it. */
static int segments_by_identity(const void *addr, size_t len, struct anydma_segment *segs, size_t max)
{
    if (max > 0)
        segs[0] = (struct anydma_segment){.iova = (uintptr_t)addr, .len = len};
    return 1;
}

static uint64_t iova_of(const void *at, size_t bytes)
{
    uint64_t iova;
    if (is_identity)
        return (uintptr_t)at;
    int rc = anydma_iova_range(at, bytes, &iova);
    if (rc < 0) {
        say_wrong("a lookup", at, bytes, strerror(-rc));
        return ANYDMA_BAD_IOVA;
    }
    return iova;
}

static void move_through_drive(uint64_t *random, unsigned seed)
{
    size_t bytes = random_bytes(random, MAX_IO), offset = random_of(random) % 3 * 4;
    unsigned char *out = malloc(bytes + offset), *in = malloc(bytes + offset);
    uint64_t lba = random_of(random) % (nvme.nr_blocks - MAX_IO / nvme.block_bytes - 1);
    if (!out || !in)
        return say_wrong("malloc", NULL, bytes, "no memory");
    fill_pattern(out + offset, bytes, seed);
    memset(in, 0, bytes + offset);
    int rc = nvme_write(&nvme, lba, out + offset, bytes);
    if (rc == 0)
        rc = nvme_read(&nvme, lba, in + offset, bytes);
    if (rc < 0)
        say_wrong("the drive", out, bytes, strerror(-rc));
    else if (count_different(out + offset, in + offset, bytes))
        say_wrong("what came back from the drive", in, bytes, "other bytes");
    free(out);
    free(in);
    atomic_fetch_add(&nr_blocks_moved, 1);
    atomic_fetch_add(&nr_bytes_moved, 2 * bytes);
}

static void *drive(void *arg)
{
    uint64_t random = 1;
    for (unsigned i = 0; !atomic_load(&stop); i++)
        move_through_drive(&random, i);
    return arg;
}

static void send_frame(uint64_t *random, unsigned seed)
{
    size_t bytes = E1000E_MIN_FRAME + random_of(random) % (E1000E_MAX_FRAME - E1000E_MIN_FRAME);
    unsigned char *out = malloc(bytes), *in = malloc(E1000E_BUFFER_BYTES);
    if (!out || !in)
        return say_wrong("malloc", NULL, bytes, "no memory");
    fill_pattern(out, bytes, seed);
    out[0] &= 0xfe; /* to one station */
    memset(in, 0, E1000E_BUFFER_BYTES);
    uint64_t from = iova_of(out, bytes), to = iova_of(in, E1000E_BUFFER_BYTES);
    if (from != ANYDMA_BAD_IOVA && to != ANYDMA_BAD_IOVA) {
        int got = e1000e_exchange(&nic, from, bytes, to);
        if (got < 0)
            say_wrong("the card", out, bytes, strerror(-got));
        else if ((size_t)got < bytes || count_different(out, in, bytes))
            say_wrong("what came back from the card", in, bytes, "other bytes");
    }
    free(out);
    free(in);
    atomic_fetch_add(&nr_frames, 1);
}

static void *exchange_frames(void *arg)
{
    uint64_t random = 2;
    for (unsigned i = 0; !atomic_load(&stop); i++)
        send_frame(&random, i);
    return arg;
}

/* Its own memory must stay what it wrote. */
struct slot {
    unsigned char *at;
    size_t bytes;
    unsigned seed;
};

static bool slot_is_right(const struct slot *slot)
{
    return slot->at[0] == (unsigned char)slot->seed &&
           slot->at[slot->bytes - 1] == (unsigned char)(slot->seed + 1 - (slot->bytes == 1));
}

static void fill_slot(struct slot *slot, uint64_t *random)
{
    slot->bytes = random_bytes(random, MAX_IO);
    slot->seed = (unsigned)random_of(random);
    slot->at = random_of(random) % 4 ? malloc(slot->bytes) : calloc(1, slot->bytes);
    if (slot->at) {
        slot->at[slot->bytes - 1] = (unsigned char)(slot->seed + 1);
        slot->at[0] = (unsigned char)slot->seed;
    }
}

static void *allocate(void *arg)
{
    static struct slot slots[NR_SLOTS];
    uint64_t random = 3;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        struct slot *slot = &slots[random_of(&random) % NR_SLOTS];
        if (slot->at && !slot_is_right(slot))
            say_wrong("an allocation", slot->at, slot->bytes, "not as it was written");
        free(slot->at);
        fill_slot(slot, &random);
        atomic_fetch_add(&nr_allocations, 1);
        if (i % 500 == 499) {
            for (size_t k = 0; k < NR_SLOTS; k += 1 + i % 3) {
                free(slots[k].at);
                slots[k].at = NULL;
            }
            malloc_trim(0);
            atomic_fetch_add(&nr_trims, 1);
        }
    }
    return arg;
}

static void disturb_map(struct slot *slot, uint64_t *random)
{
    if (!slot->at) {
        slot->bytes = (1 + random_of(random) % 40) * PAGE;
        void *at = mmap(NULL, slot->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        slot->at = at == MAP_FAILED ? NULL : at;
        if (slot->at)
            slot->at[0] = 7;
        atomic_fetch_add(&nr_maps, 1);
    } else if (random_of(random) % 3 == 0) {
        madvise(slot->at, slot->bytes, MADV_DONTNEED);
        if (slot->at[0] != 0)
            say_wrong("a purged page", slot->at, slot->bytes, "is not zero");
        slot->at[0] = 7;
        atomic_fetch_add(&nr_purges, 1);
    } else {
        if (slot->at[0] != 7)
            say_wrong("a mapping", slot->at, slot->bytes, "not as it was written");
        munmap(slot->at, slot->bytes);
        slot->at = NULL;
    }
}

static void *map_and_unmap(void *arg)
{
    static struct slot maps[NR_MAPS];
    uint64_t random = 4;
    while (!atomic_load(&stop)) {
        disturb_map(&maps[random_of(&random) % NR_MAPS], &random);
        if (!is_identity && random_of(&random) % 50 == 0) {
            void *at = malloc(random_bytes(&random, MAX_IO));
            anydma_iova(at);
            free(at);
        }
        atomic_fetch_add(&nr_disturbed, 1);
    }
    return arg;
}

/* The child uses its heap, gives back what it inherited, and ends. */
static _Noreturn void be_a_child(void)
{
    alarm(60);
    for (int i = 1; i < 50; i++) {
        char *at = malloc((size_t)i * 3000);
        if (!at)
            _exit(1);
        at[0] = 1;
        if (i % 2)
            free(at);
    }
    malloc_trim(0);
    _exit(0);
}

static void *fork_and_execute(void *arg)
{
    const struct timespec pause = {.tv_nsec = 200000000};
    char name[] = "true", *args[] = {name, NULL};
    while (!atomic_load(&stop)) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            be_a_child();
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            say_wrong("a forked child", NULL, (size_t)status, "it did not end well");
        atomic_fetch_add(&nr_forks, 1);
        if (posix_spawn(&pid, "/bin/true", NULL, NULL, args, environ) == 0) {
            if (waitpid(pid, &status, 0) != pid || status != 0)
                say_wrong("/bin/true", NULL, (size_t)status, "it did not end well");
            atomic_fetch_add(&nr_execs, 1);
        }
        nanosleep(&pause, NULL);
    }
    return arg;
}

static void run_for(unsigned seconds)
{
    static void *(*const work[])(void *) = {drive, exchange_frames, allocate, map_and_unmap,
                                            fork_and_execute};
    enum { NR = sizeof(work) / sizeof(work[0]) };
    pthread_t threads[NR];
    for (int i = 0; i < NR; i++)
        pthread_create(&threads[i], NULL, work[i], NULL);
    for (unsigned i = 0; i < seconds && !atomic_load(&nr_wrong); i++)
        sleep(1);
    atomic_store(&stop, true);
    for (int i = 0; i < NR; i++)
        pthread_join(threads[i], NULL);
}

static void print_counts(void)
{
    printf("%lu buffers through the drive and back, %lu MiB; %lu frames through the card\n",
           atomic_load(&nr_blocks_moved), atomic_load(&nr_bytes_moved) / MIB, atomic_load(&nr_frames));
    printf("%lu allocations, %lu trims, %lu mappings, %lu purges, %lu forks, %lu programs executed\n",
           atomic_load(&nr_allocations), atomic_load(&nr_trims), atomic_load(&nr_maps),
           atomic_load(&nr_purges), atomic_load(&nr_forks), atomic_load(&nr_execs));
}

int main(int argc, char **argv)
{
    unsigned faults = dmar_faults();
    if (argc < 5)
        return 2;
    check_shim_is_there();
    is_identity = strcmp(argv[4], "identity") == 0;
    if (nvme_open(&nvme, argv[1]) < 0 || e1000e_open(&nic, argv[2]) < 0)
        return 1;
    if (is_identity)
        nvme.memory.find_segments = segments_by_identity;
    run_for((unsigned)atoi(argv[3]));
    uint64_t locked = vm_locked_bytes();
    struct anydma_stats stats = {0};
    anydma_stats(&stats, sizeof(stats));
    check(locked == stats.pinned + stats.app_pinned && locked > 0,
          "the kernel counts %lu KiB pinned, the shim %lu KiB", (unsigned long)locked >> 10,
          (unsigned long)(stats.pinned + stats.app_pinned) >> 10);
    check(atomic_load(&nr_wrong) == 0, "%lu wrong", atomic_load(&nr_wrong));
    check(atomic_load(&nr_blocks_moved) > 0 && atomic_load(&nr_frames) > 0 && atomic_load(&nr_trims) > 0 &&
              atomic_load(&nr_purges) > 0 && atomic_load(&nr_forks) > 0,
          "all of it happened");
    check(dmar_faults() == faults, "no DMA fault");
    e1000e_close(&nic);
    nvme_close(&nvme);
    print_counts();
    return check_end("soak");
}
