/* SPDX-License-Identifier: MIT */
/*
 * The ways in which pages leave (tests/preload/ways.h), judged by edu writing through the real IOMMU: beside
 * a neighbour in the same unit that it writes all the while, no write is lost, no page is stale, no DMA
 * faults. Runs in the VM: routes_edu BDF-of-edu [part of a result's name]
 * @vm-routes anydma run -- routes_edu $EDU_BDF
 * @vm-routes anydma run --strict -- routes_edu $EDU_BDF instruction
 */
#include "check.h"
#include "edu.h"

#include "../preload/run_ways.h"

static struct vfio_device dev;
static pthread_mutex_t dev_lock = PTHREAD_MUTEX_INITIALIZER;

/* edu holds every token from the start: a write is one command. */
int device_write(uint64_t iova, const void *bytes, size_t len)
{
    uint64_t token;
    unsigned long nr = 0;
    memcpy(&token, bytes, sizeof(token));
    while (nr < JUDGE_NR_TOKENS && judge_token(nr) != token)
        nr++;
    if (len != sizeof(token) || nr == JUDGE_NR_TOKENS)
        return -EINVAL;
    pthread_mutex_lock(&dev_lock);
    int error = edu_store(&dev, iova, nr * sizeof(token), len);
    pthread_mutex_unlock(&dev_lock);
    return error;
}

static int load_tokens(void)
{
    uint64_t iova, *tokens = malloc(JUDGE_NR_TOKENS * sizeof(*tokens));
    for (unsigned long i = 0; i < JUDGE_NR_TOKENS; i++)
        tokens[i] = judge_token(i);
    int error = anydma_iova_range(tokens, JUDGE_NR_TOKENS * sizeof(*tokens), &iova);
    if (!error)
        error = edu_load(&dev, iova, 0, JUDGE_NR_TOKENS * sizeof(*tokens));
    free(tokens);
    return error;
}

static unsigned char *take_mapping(bool has_neighbour)
{
    unsigned char *at = mmap(NULL, (LOT_PAGES + HOLE_PAGES + 1) * WAY_PAGE, WAY_RW, WAY_PLAIN, -1, 0);
    munmap(at + LOT_PAGES * WAY_PAGE, HOLE_PAGES * WAY_PAGE);
    return at;
}

static unsigned char *take_heap(bool has_neighbour)
{
    return aligned_alloc(WAY_PAGE, LOT_PAGES * WAY_PAGE);
}

static unsigned char *take_hidden(bool has_neighbour)
{
    unsigned char *at =
        by_instruction.map(NULL, (LOT_PAGES + HOLE_PAGES + 1) * WAY_PAGE, WAY_RW, WAY_PLAIN, -1);
    by_instruction.unmap(at + LOT_PAGES * WAY_PAGE, HOLE_PAGES * WAY_PAGE);
    return at;
}

static const struct memory memories[] = {
    {"own mapping", take_mapping}, {"heap", take_heap}, {"mapped unseen", take_hidden}};
enum { NR_MEMORIES = sizeof(memories) / sizeof(memories[0]), NR_SEEN = 2 };

/* As routes_own.c and routes_foreign.c have them. */
static const struct row seen[] = {
    {"munmap, whole", "-S---S"},          {"munmap, part", "-S---S"},
    {"mremap, shrink", "-S---S"},         {"mremap, grow in place", "-K---K"},
    {"mremap, move", "-S---S"},           {"mremap, the moved pages", "-F---F"},
    {"mremap, onto it", "-S-S-S"},        {"mremap, DONTUNMAP", "-S-S-S"},
    {"mmap, over it", "-K-K-S"},          {"mmap, a shared file over it", "-S-S-S"},
    {"shmat, over it", "-S-S-S"},         {"madvise, DONTNEED", "-K-K-K"},
    {"madvise, FREE", "-K---K"},          {"madvise, DONTNEED_LOCKED", "-K---K"},
    {"madvise, GUARD_INSTALL", "-S---S"}, {"mprotect, none and back", "-K---K"},
    {"mlockall, munlockall", "-K----"},
};

static const struct row unseen[] = {
    {"munmap, whole", "-----S"},     {"munmap, part", "-----S"},
    {"mremap, onto it", "-----S"},   {"mremap, move", "-----S"},
    {"mmap, over it", "-----S"},     {"shmat, over it", "-----S"},
    {"madvise, DONTNEED", "-----S"}, {"madvise, DONTNEED_LOCKED", "-----S"},
};

int main(int argc, char **argv)
{
    unsigned faults = dmar_faults();
    if (argc < 2 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 1;
    check_shim_is_there();
    run_only = argc > 2 ? argv[2] : NULL;
    int error = load_tokens();
    if (!check(error == 0, "the device has the words to write (error %d)", error))
        return 1;
    for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
        run_row(&seen[i], memories, NR_MEMORIES, &by_libc);
    bool is_strict = getenv("ANYDMA_STRICT"); /* nothing is unseen then */
    for (size_t i = 0; is_strict && i < sizeof(seen) / sizeof(seen[0]); i++)
        run_row(&seen[i], memories, NR_SEEN, &by_instruction);
    for (size_t i = 0; !is_strict && i < sizeof(unseen) / sizeof(unseen[0]); i++)
        run_row(&unseen[i], memories, NR_MEMORIES, &by_instruction);
    check(!is_strict || run_told > 0, "%d ways were gone by instructions", run_told);
    check(run_failures == 0, "%d of the routes failed", run_failures);
    check(dmar_faults() == faults, "no DMA fault");
    vfio_device_close(&dev);
    return check_end("routes_edu");
}
