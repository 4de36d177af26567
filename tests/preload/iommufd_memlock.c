/* SPDX-License-Identifier: MIT */
/*
 * Where the limit on locked memory bites: the program is told once, with the counter that the limit is held against, goes on, and
 * gets what it was refused as soon as the limit is raised. The kernel is played, as in tests/preload/iommufd.c.
 * @env ANYDMA_IOMMU=auto
 */
#include "iommufd_kernel.h"
#include "said.h"

#include <linux/capability.h>
#include <sys/resource.h>

/* A limit counts only without CAP_IPC_LOCK. */
static void limit_memlock(rlim_t bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    struct rlimit limit;
    EXPECT(syscall(SYS_capget, &header, data) == 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    EXPECT(syscall(SYS_capset, &header, data) == 0 && setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
}

static void memlock(void)
{
    int iommufd = open("/dev/iommu", O_RDWR), device = open("/dev/vfio/devices/vfio0", O_RDWR);
    struct iommufd_ioas_alloc space = {.size = sizeof(space)};
    struct iommufd_device_bind bind = {.argsz = sizeof(bind), .iommufd = iommufd};
    struct iommufd_device_attach attach = {.argsz = sizeof(attach)};
    char *block = malloc(1000), *more = malloc(3 << 20);
    EXPECT(ioctl(device, IOMMUFD_DEVICE_BIND, &bind) == 0 && ioctl(iommufd, IOMMUFD_IOAS_ALLOC, &space) == 0);
    attach.pt_id = space.out_ioas_id;
    EXPECT(ioctl(device, IOMMUFD_DEVICE_ATTACH, &attach) == 0 && anydma_iova(block) == (uintptr_t)block);
    limit_memlock(64 << 10);
    kernel.map_error = -ENOMEM;
    said_begin();
    for (int i = 0; i < 3; i++)
        EXPECT(anydma_iova(more) == ANYDMA_BAD_IOVA && errno == ENOMEM);
    said_end();
    EXPECT(said_times("the limit on locked memory is reached (error 12); raise memlock") == 1);
    EXPECT(said_times("is 64 KiB (`ulimit -l`)") == 1 && said_times("the user's, of all processes") == 1);
    EXPECT(anydma_iova(block) == (uintptr_t)block && memset(more, 1, 3 << 20) == more);
    limit_memlock(RLIM_INFINITY);
    kernel.map_error = 0;
    EXPECT(anydma_iova(more) == (uintptr_t)more);
    EXPECT(kernel_leads_to(space.out_ioas_id, (uintptr_t)more) == (uintptr_t)more);
}

int main(void)
{
    shim_must_be_there();
    if (!kernel_start()) {
        puts("no mount namespace, or no notification by seccomp, may be had here");
        return 77;
    }
    behaviour("a_limit_on_locked_memory_is_told_with_its_counter_and_lookups_recover", memlock);
    return behaviours_end();
}
