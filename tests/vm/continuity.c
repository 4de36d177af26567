/* SPDX-License-Identifier: MIT */
/*
 * Devices keep writing to two live allocations while another thread frees, trims, purges and unmaps their
 * neighbours in the same 2 MiB: each write must be seen by the CPU, none may fault. edu writes ten times a
 * second; with a drive as well, that writes a thousand times a second. Runs in the VM: continuity BDF-of-edu
 * [BDF-of-nvme [seconds]]
 * @vm anydma run -- continuity $EDU_BDF $NVME_BDF
 *
 * One thread drives the devices and counts, one disturbs; they share `stop` and the count of rounds only.
 */
#include "check.h"
#include "edu.h"
#include "nvme.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum {
    PAGE = 4096,
    BLOCK = 2 << 20,
    NR_HEAP = 1500,
    NR_MAPS = 256,
    WORD = 8,
    NR_WORDS = EDU_MAX_BYTES / WORD,
    BLOCK_BYTES = 512, /* of the drive */
    READS_IN_A_ROW = 100,
};

static struct vfio_device dev;
static struct nvme nvme;
static unsigned char *blocks; /* what the drive's first NR_WORDS blocks hold; NULL: no drive */
static atomic_bool stop;
static atomic_ulong disturbances;

static void *heap[NR_HEAP]; /* of 1 to 24 KiB; heap[NR_HEAP / 2] stays alive */
static char *maps[NR_MAPS]; /* of 1 to 4 pages; maps[NR_MAPS / 2] stays alive */

static size_t heap_bytes(size_t i)
{
    return 1024 * (1 + i % 24);
}

static size_t map_bytes(size_t i)
{
    return PAGE * (1 + i % 4);
}

static char *map_anonymous(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void free_neighbours(unsigned step)
{
    for (size_t i = step % 3; i < NR_HEAP; i += 3) {
        if (i != NR_HEAP / 2) {
            free(heap[i]);
            heap[i] = NULL;
        }
    }
    malloc_trim(0);
    for (size_t i = step % 3; i < NR_HEAP; i += 3) {
        if (i != NR_HEAP / 2) {
            heap[i] = malloc(heap_bytes(i));
            memset(heap[i], (int)step, heap_bytes(i));
        }
    }
}

static void unmap_neighbours(unsigned step)
{
    for (size_t i = step % 2; i < NR_MAPS; i += 2) {
        if (i == NR_MAPS / 2)
            continue;
        if (step % 4 < 2) {
            madvise(maps[i], map_bytes(i), step % 2 ? MADV_DONTNEED : MADV_FREE);
            maps[i][0] = (char)step;
        } else {
            munmap(maps[i], map_bytes(i));
            maps[i] = map_anonymous(map_bytes(i));
            if (maps[i])
                memset(maps[i], (int)step, map_bytes(i));
            else
                maps[i] = maps[NR_MAPS / 2]; /* never seen; keeps the loop simple */
        }
    }
}

static void *disturb(void *arg)
{
    for (unsigned step = 0; !atomic_load(&stop); step++) {
        free_neighbours(step);
        unmap_neighbours(step);
        free(malloc(3 * BLOCK));
        atomic_fetch_add(&disturbances, 1);
    }
    return arg;
}

static size_t count_in_block(const char *target)
{
    uintptr_t block = (uintptr_t)target / BLOCK;
    size_t nr = 0;
    for (size_t i = 0; i < NR_HEAP; i++)
        nr += heap[i] != target && (uintptr_t)heap[i] / BLOCK == block;
    for (size_t i = 0; i < NR_MAPS; i++)
        nr += maps[i] != target && (uintptr_t)maps[i] / BLOCK == block;
    return nr;
}

/* The device writes a word that it has not written there before; the CPU must then find it. */
static bool write_is_seen(uint64_t *target, uint64_t iova, unsigned nr, const uint64_t *words)
{
    size_t word = nr % NR_WORDS;
    if (edu_store(&dev, iova, word * WORD, WORD) < 0)
        return false;
    return *(volatile uint64_t *)target == words[word];
}

static bool read_is_seen(void *target, unsigned nr)
{
    size_t block = nr % NR_WORDS;
    return nvme_read(&nvme, block, target, BLOCK_BYTES) == 0 &&
           memcmp(target, blocks + block * BLOCK_BYTES, BLOCK_BYTES) == 0;
}

static void open_drive(const char *bdf)
{
    if (!check(nvme_open(&nvme, bdf) == 0 && nvme.block_bytes == BLOCK_BYTES,
               "the drive is there, in a container of its own"))
        return;
    blocks = malloc(NR_WORDS * BLOCK_BYTES);
    fill_pattern(blocks, NR_WORDS * BLOCK_BYTES, 1);
    for (size_t i = 0; i < NR_WORDS; i++)
        memcpy(blocks + i * BLOCK_BYTES, &i, sizeof(i)); /* no block is like another */
    check(nvme_write(&nvme, 0, blocks, NR_WORDS * BLOCK_BYTES) == 0, "it has the blocks to write to memory");
}

static uint64_t *load_words(void)
{
    uint64_t *words = malloc(NR_WORDS * WORD), iova;
    for (size_t i = 0; i < NR_WORDS; i++)
        words[i] = 0x9e3779b97f4a7c15u * (i + 1);
    int rc = anydma_iova_range(words, NR_WORDS * WORD, &iova);
    check(rc == 0 && edu_load(&dev, iova, 0, NR_WORDS * WORD) == 0, "edu has the words to write");
    return words;
}

static void write_all_the_while(double seconds, uint64_t *targets[2])
{
    uint64_t iovas[2] = {anydma_iova(targets[0]), anydma_iova(targets[1])};
    unsigned writes = 0, seen = 0, reads = 0, reads_seen = 0;
    const uint64_t *words = load_words();
    time_t end = time(NULL) + (time_t)seconds;

    for (; time(NULL) < end; writes++) {
        seen += write_is_seen(targets[writes % 2], iovas[writes % 2], writes, words);
        for (unsigned i = 0; blocks && i < READS_IN_A_ROW; i++, reads++)
            reads_seen += read_is_seen(targets[reads % 2], reads);
    }
    unsigned long rounds = atomic_load(&disturbances);
    check(writes > 0 && seen == writes,
          "%u writes by edu, %u seen by the CPU, beside %lu rounds of frees and unmaps", writes, seen,
          rounds);
    if (blocks)
        check(reads > 0 && reads_seen == reads, "%u writes by the drive, %u seen by the CPU", reads,
              reads_seen);
    check(anydma_iova(targets[0]) == iovas[0] && anydma_iova(targets[1]) == iovas[1],
          "the IOVAs are still the same");
}

int main(int argc, char **argv)
{
    double seconds = argc > 3 ? atof(argv[3]) : 10;
    unsigned faults = dmar_faults();
    pthread_t thread;

    if (argc < 2 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 1;
    check_shim_is_there();
    if (argc > 2)
        open_drive(argv[2]);
    for (size_t i = 0; i < NR_HEAP; i++)
        memset(heap[i] = malloc(heap_bytes(i)), 1, heap_bytes(i));
    for (size_t i = 0; i < NR_MAPS; i++)
        memset(maps[i] = map_anonymous(map_bytes(i)), 1, map_bytes(i));

    uint64_t *targets[2] = {heap[NR_HEAP / 2], (uint64_t *)(void *)maps[NR_MAPS / 2]};
    check(anydma_iova(targets[0]) == (uintptr_t)targets[0], "the heap's target at %p is identity",
          (void *)targets[0]);
    check(anydma_iova(targets[1]) == (uintptr_t)targets[1], "the mapping at %p is identity",
          (void *)targets[1]);
    check(count_in_block((char *)targets[0]) > 20 && count_in_block((char *)targets[1]) > 20,
          "they have %zu and %zu neighbours in their 2 MiB", count_in_block((char *)targets[0]),
          count_in_block((char *)targets[1]));
    pthread_create(&thread, NULL, disturb, NULL);
    write_all_the_while(seconds, targets);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    check(atomic_load(&disturbances) > 0, "%lu rounds of disturbance in all", atomic_load(&disturbances));
    check(dmar_faults() == faults, "no DMA fault");
    if (blocks)
        nvme_close(&nvme);
    vfio_device_close(&dev);
    return check_end("continuity");
}
