/* SPDX-License-Identifier: MIT */
/* The container backend where there is no container: errors come back as they are, and nothing counts as
 * unmapped. What it says to a real one is tested in the VM (sim_vs_kernel). */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>

#include "iommu/iommu.h"

static void expect_error_everywhere(int fd, int error)
{
    struct iommu type1;
    struct iommu_info info;
    uint64_t unmapped = 1;
    type1_init(&type1, fd);
    cr_expect_eq(type1.ops->query(&type1, &info), error);
    cr_expect_eq(type1.ops->map(&type1, 0x100000, 0x100000, 4096), error);
    cr_expect_eq(type1.ops->unmap(&type1, 0x100000, 4096, &unmapped), error);
    cr_expect_eq(unmapped, 0);
}

Test(type1, closed_descriptor_gives_ebadf)
{
    expect_error_everywhere(-1, -EBADF);
}

Test(type1, descriptor_of_something_else_gives_enotty)
{
    expect_error_everywhere(open("/dev/null", O_RDWR), -ENOTTY);
}

Test(type1, errno_is_not_touched)
{
    struct iommu type1;
    struct iommu_info info;
    type1_init(&type1, -1);
    errno = EXDEV;
    type1.ops->query(&type1, &info);
    cr_expect_eq(errno, EXDEV);
}
