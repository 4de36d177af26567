/* SPDX-License-Identifier: MIT */
/*
 * The promises of <anydma.h>, one by one, for memory of the heap and of mmap. With the argument "tell" it
 * asserts nothing and says in one line how the shim serves it: what the scripts beside it compare.
 */
#include "expect.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20, RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

static const char *place_of(const void *addr)
{
    return addr == NULL || addr == MAP_FAILED ? "none" : is_in_arena(addr) ? "arena" : "elsewhere";
}

/* Works through some memory, so that a heap that is not sound ends here. */
static bool heap_works(void)
{
    char *blocks[300] = {0};
    bool works = true;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 300; i++) {
            size_t bytes = (size_t)(i * 131 % 97) * (i % 50 ? 100 : 20000) + 1;
            works &= !blocks[i] || *blocks[i] == (char)i;
            blocks[i] = realloc(blocks[i], bytes);
            if (!blocks[i])
                return false;
            memset(blocks[i], i, bytes);
        }
    for (int i = 0; i < 300; i++)
        free(blocks[i]);
    return works;
}

static int tell(void)
{
    char *block = malloc(3000), *large = malloc(3 * MIB), *mapping = mmap(NULL, PAGE, RW, ANONYMOUS, -1, 0);
    struct anydma_stats stats;
    bool works = heap_works();
    errno = 0;
    uint64_t iova = block ? anydma_iova(block) : ANYDMA_BAD_IOVA;
    const char *said = iova != ANYDMA_BAD_IOVA ? "ok" : strerrorname_np(errno);
    uint64_t pinned = anydma_stats(&stats, sizeof(stats)) == 0 ? stats.pinned : 0;
    printf("active=%d heap=%s large=%s mmap=%s works=%d iova=%s pinned=%s version=%s\n", anydma_active(),
           place_of(block), place_of(large), place_of(mapping), works, said, pinned ? "some" : "none",
           anydma_version());
    return 0;
}

static void lookups(void)
{
    char *block = malloc(5 * MIB);
    for (size_t at = 0; at < 5 * MIB; at += 12345)
        EXPECT(anydma_iova(block + at) == (uintptr_t)block + at &&
               anydma_addr((uintptr_t)block + at) == block + at);
    free(block);
    errno = 0;
    EXPECT(anydma_iova(NULL) == ANYDMA_BAD_IOVA && errno == EFAULT);
    EXPECT(anydma_iova((void *)(uintptr_t)PAGE) == ANYDMA_BAD_IOVA && errno == EFAULT);
    EXPECT(anydma_addr(UINT64_C(1) << 46) == NULL);
}

static void ranges(void)
{
    struct anydma_segment segments[4];
    char *mapping = mmap(NULL, 5 * MIB, RW, ANONYMOUS, -1, 0);
    uint64_t iova = 0;
    EXPECT(anydma_iova_range(mapping + 5, 4 * MIB, &iova) == 0 && iova == (uintptr_t)mapping + 5);
    EXPECT(anydma_segments(mapping + 1, 5 * MIB - 1, segments, 4) == 1);
    EXPECT(segments[0].iova == (uintptr_t)mapping + 1 && segments[0].len == 5 * MIB - 1);
    EXPECT(anydma_iova_range(mapping, 0, &iova) == -EINVAL);
    EXPECT(anydma_iova_range(mapping, SIZE_MAX, &iova) == -EINVAL);
    EXPECT(anydma_segments(mapping, 0, segments, 4) == -EINVAL);
    EXPECT(mprotect(mapping + 3 * MIB, PAGE, PROT_NONE) == 0);
    EXPECT(munmap(mapping + 4 * MIB, PAGE) == 0);
    EXPECT(anydma_iova_range(mapping, 5 * MIB, &iova) == -EFAULT);
    EXPECT(anydma_iova_range(mapping, 3 * MIB, &iova) == 0);
    munmap(mapping, 5 * MIB);
    EXPECT(anydma_iova_range(mapping, PAGE, &iova) == -EFAULT);
}

static void pins(void)
{
    struct anydma_stats before, after;
    malloc_trim(0);
    char *block = malloc(9 * MIB);
    EXPECT(anydma_pin(block, 9 * MIB) == 0 && anydma_pin(block, 9 * MIB) == 0);
    EXPECT(anydma_stats(&before, sizeof(before)) == 0);
    free(block);
    malloc_trim(0);
    EXPECT(anydma_stats(&after, sizeof(after)) == 0 && after.unmaps == before.unmaps);
    EXPECT(anydma_unpin(block, 9 * MIB) == 0 && anydma_unpin(block, 9 * MIB) == 0);
    EXPECT(anydma_unpin(block, 9 * MIB) == -ENOENT);
}

static void statistics(void)
{
    struct anydma_stats stats = {0};
    struct {
        uint64_t size, containers, canary;
    } small = {0, 0, 42};
    char *block = malloc(MIB);
    EXPECT(anydma_iova(block) != ANYDMA_BAD_IOVA);
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0 && stats.size == sizeof(stats));
    EXPECT(stats.containers == 1 && stats.registrations > 0 && stats.pinned >= MIB && stats.maps > 0);
    EXPECT(stats.registrations_peak >= stats.registrations && stats.pinned_peak >= stats.pinned);
    EXPECT(stats.map_failures == 0 && stats.unmap_failures == 0);
    EXPECT(anydma_stats((struct anydma_stats *)(void *)&small, 16) == 0 && small.size == 16 &&
           small.containers == 1);
    EXPECT(small.canary == 42);
    EXPECT(anydma_stats(&stats, 4) == -EINVAL);
    free(block);
}

static void snapshots(void)
{
    char path[] = "/tmp/anydma-snapshot.XXXXXX", text[4096];
    int fd = mkstemp(path);
    EXPECT(fd >= 0 && anydma_iova(malloc(10)) != ANYDMA_BAD_IOVA);
    EXPECT(anydma_snapshot(path) == 0);
    ssize_t len = read(fd, text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    EXPECT(strncmp(text, "# address length iova state holds\n0x", 36) == 0 && strstr(text, " mapped 0\n"));
    EXPECT(anydma_snapshot("/nowhere/at/all") == -ENOENT);
    EXPECT(anydma_snapshot("/dev/full") == -ENOSPC);
    close(fd);
    unlink(path);
}

static void labels(void)
{
    for (int i = 0; i < 100; i++)
        anydma_label_push("nested");
    EXPECT(anydma_iova(malloc(10)) != ANYDMA_BAD_IOVA);
    for (int i = 0; i < 150; i++)
        anydma_label_pop();
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return tell();
    shim_must_be_there();
    behaviour("lookup_gives_the_address_itself_and_back", lookups);
    behaviour("ranges_are_one_run_or_refused", ranges);
    behaviour("pin_holds_what_is_freed", pins);
    behaviour("statistics_fit_the_callers_structure", statistics);
    behaviour("snapshot_is_written_or_says_why_not", snapshots);
    behaviour("labels_nest_deeper_than_they_are_kept", labels);
    return behaviours_end();
}
