/* SPDX-License-Identifier: MIT */
/*
 * A heap of 4 TiB, far above what a 39-bit IOMMU reaches: how many mappings it takes, its lookups, its end.
 * Nothing of it is touched: the device takes every mapping and pins nothing.
 * @env ANYDMA_IOMMU=sim ANYDMA_THP=never
 */
#include "expect.h"

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iommu/iommu.h"

#define GIB ((size_t)1 << 30)
#define BLOCK ((size_t)2 << 20)
enum { NR_CHUNKS = 4096, NR_KEPT = 2, MOST_ENTRIES = 65535 / 4 };

static char *chunks[NR_CHUNKS];
static uint64_t mappings_now; /* in the device */

static int mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg, (void)len;
    mappings_now++;
    return iova == va ? 0 : -EINVAL;
}

static void unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg, (void)iova, (void)va, (void)len;
    mappings_now--;
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device = {mapped, unmapped, NULL};
extern const char anydma_sim_device_pins;
const char anydma_sim_device_pins = 1;

static struct anydma_stats stats_now(void)
{
    struct anydma_stats stats = {0};
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0);
    return stats;
}

static bool look_up_all(void)
{
    bool all = true;
    for (unsigned i = 0; i < NR_CHUNKS; i++)
        for (size_t at = 0; at < GIB; at += BLOCK)
            all &= anydma_iova(chunks[i] + at) == (uint64_t)(chunks[i] + at);
    return all;
}

static void a_heap_of_4_tib_takes_less_than_a_quarter_of_the_mappings(void)
{
    EXPECT(look_up_all());
    EXPECT(stats_now().entries_used == mappings_now);
    EXPECT(mappings_now <= MOST_ENTRIES);
}

static void looked_up_again_nothing_is_asked(void)
{
    uint64_t before = stats_now().lookups_cold;
    EXPECT(look_up_all());
    EXPECT(stats_now().lookups_cold == before);
}

static void what_is_freed_is_unregistered(void)
{
    for (unsigned i = 0; i < NR_CHUNKS - NR_KEPT; i++)
        free(chunks[i]);
    malloc_trim(0);
    EXPECT(mappings_now < 64);
    EXPECT(stats_now().entries_used == mappings_now);
    for (unsigned i = NR_CHUNKS - NR_KEPT; i < NR_CHUNKS; i++)
        EXPECT(anydma_iova(chunks[i]) == (uint64_t)chunks[i]);
}

/* Of the little that is left: the kernel forks no process with more memory than the machine has. */
static void a_child_sees_nothing_of_it(void)
{
    char *kept = chunks[NR_CHUNKS - 1];
    int status = -1;
    EXPECT((uint64_t)kept >> 40 >= 1);
    pid_t pid = fork();
    if (pid == 0)
        _exit(anydma_iova(kept) != ANYDMA_BAD_IOVA || errno != ENODEV);
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    EXPECT(anydma_iova(kept) == (uint64_t)kept);
}

int main(void)
{
    shim_must_be_there();
    for (unsigned i = 0; i < NR_CHUNKS; i++)
        if (!(chunks[i] = malloc(GIB))) {
            printf("no 4 TiB of address space here (memory that is not overcommitted, or little of it)\n");
            return 77;
        }
    behaviour("a_heap_of_4_tib_takes_less_than_a_quarter_of_the_mappings",
              a_heap_of_4_tib_takes_less_than_a_quarter_of_the_mappings);
    behaviour("looked_up_again_it_needs_no_call", looked_up_again_nothing_is_asked);
    behaviour("what_is_freed_of_it_is_unregistered", what_is_freed_is_unregistered);
    behaviour("a_child_sees_nothing_of_it", a_child_sees_nothing_of_it);
    return behaviours_end();
}
