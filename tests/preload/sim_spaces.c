/* SPDX-License-Identifier: MIT */
/*
 * Simulated address spaces: any descriptor stands for an iommufd, any number for an IOAS of it. What is looked up is mapped in
 * each, pinned once for all of one iommufd, and leaves them with their descriptor. This program is the device behind them all.
 */
#include "expect.h"

#include <sys/mman.h>
#include <unistd.h>

#include "../../shim/iommu/iommu.h"

static struct {
    const char *at; /* the page that is looked for */
    int nr;         /* how many have it, at its own address */
} seen;

static int mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    seen.nr += iova == va && va <= (uintptr_t)seen.at && (uintptr_t)seen.at < va + len;
    return 0;
}

static void unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    (void)arg;
    seen.nr -= iova == va && va <= (uintptr_t)seen.at && (uintptr_t)seen.at < va + len;
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device __attribute__((visibility("default"))) = {mapped, unmapped, NULL};

static struct anydma_stats stats(void)
{
    struct anydma_stats now = {0};
    EXPECT(anydma_stats(&now, sizeof(now)) == 0);
    return now;
}

static void spaces(void)
{
    int fd = memfd_create("iommufd", 0), other = memfd_create("another", 0);
    seen.at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(anydma_iova(seen.at) == (uintptr_t)seen.at && seen.nr == 1);
    uint64_t once = stats().pinned;
    EXPECT(once > 0 && anydma_attach(-1, 1) == -EBADF && anydma_attach(fd, 1) == 0 && seen.nr == 2);
    EXPECT(stats().pinned == 2 * once && anydma_attach(fd, 1) == -EBUSY);
    EXPECT(anydma_attach(fd, 2) == 0 && seen.nr == 3 && stats().pinned == 2 * once);
    EXPECT(anydma_attach(other, 2) == 0 && seen.nr == 4 && stats().pinned == 3 * once);
    EXPECT(stats().containers == 4 && anydma_iova(seen.at) == (uintptr_t)seen.at);
    EXPECT(anydma_detach(fd) == 0 && seen.nr == 2 && stats().pinned == 2 * once);
    close(other);
    EXPECT(seen.nr == 1 && stats().pinned == once && stats().containers == 1);
    EXPECT(anydma_iova(seen.at) == (uintptr_t)seen.at && anydma_detach(fd) == -ENOENT);
    close(fd);
}

int main(void)
{
    shim_must_be_there();
    behaviour("simulated_address_spaces_share_what_one_of_them_has", spaces);
    return behaviours_end();
}
