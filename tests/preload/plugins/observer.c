/* SPDX-License-Identifier: MIT */
/* Preloaded, it is the device behind the simulated IOMMU: leaves a mark among the program's system calls for each range
 * that is registered (mlock2 with flags 0x100) or no longer so (0x200). tests/programs/strace.sh reads them. */
#include <stdint.h>
#include <sys/syscall.h>

struct sim_device {
    int (*mapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void (*unmapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void *arg;
};
extern const struct sim_device anydma_sim_device;

/* Refused by the kernel (EINVAL), seen by a tracer. */
static void mark(uint64_t va, uint64_t len, long flags)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_mlock2), "D"(va), "S"(len), "d"(flags)
                     : "rcx", "r11", "memory");
}

static int mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    mark(va, len, 0x100);
    return 0;
}

static void unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    mark(va, len, 0x200);
}

const struct sim_device anydma_sim_device = {mapped, unmapped, 0};
