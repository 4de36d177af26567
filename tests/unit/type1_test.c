/* SPDX-License-Identifier: MIT */
/* The container backend where there is no container: errors come back as they are, and nothing counts as
 * unmapped. What it says to a real one is tested in the VM (sim_vs_kernel). */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>

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

/* An answer with a chain of two capabilities: `nr` ranges said to be there, room for `room`, and how many entries are left. */
struct answer {
    struct vfio_iommu_type1_info head;
    struct vfio_iommu_type1_info_cap_iova_range ranges;
    struct vfio_iova_range range[40];
    struct vfio_iommu_type1_info_dma_avail avail;
};

static struct answer answer_of(uint32_t nr)
{
    struct answer answer = {
        .head = {.argsz = sizeof(answer), .flags = VFIO_IOMMU_INFO_CAPS | VFIO_IOMMU_INFO_PGSIZES}};
    answer.head.iova_pgsizes = 0x40201000;
    answer.head.cap_offset = offsetof(struct answer, ranges);
    answer.ranges.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
    answer.ranges.header.next = offsetof(struct answer, avail);
    answer.ranges.nr_iovas = nr;
    for (uint32_t i = 0; i < 40; i++)
        answer.range[i] = (struct vfio_iova_range){i << 20, (i << 20) + 0xfffff};
    answer.avail.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
    answer.avail.avail = 77;
    return answer;
}

static struct iommu_info read_back(const struct answer *answer, size_t len)
{
    struct iommu_info info;
    type1_read_info((const char *)answer, len, &info);
    return info;
}

Test(type1, an_answer_is_read_as_it_is)
{
    struct answer answer = answer_of(3);
    struct iommu_info info = read_back(&answer, sizeof(answer));
    cr_expect_eq(info.nr_ranges, 3);
    cr_expect_eq(info.ranges[2].start, 2 << 20);
    cr_expect_eq(info.page_sizes, 0x40201000);
    cr_expect_eq(info.nr_entries, 77);
}

Test(type1, an_answer_that_says_too_much_is_cut)
{
    struct answer answer = answer_of(UINT32_MAX);
    cr_expect_eq(read_back(&answer, sizeof(answer)).nr_ranges, IOMMU_MAX_RANGES);
    answer.head.argsz = offsetof(struct answer, range[2]); /* cut short: two ranges, nothing behind them */
    cr_expect_eq(read_back(&answer, sizeof(answer)).nr_ranges, 2);
    cr_expect_eq(read_back(&answer, sizeof(answer)).nr_entries, UINT64_MAX);
    answer = answer_of(3);
    answer.ranges.header.next = offsetof(struct answer, ranges); /* a circle */
    cr_expect_eq(read_back(&answer, sizeof(answer)).nr_entries, UINT64_MAX);
}

Test(type1, a_kernel_that_tells_nothing_is_taken_for_the_narrowest)
{
    struct answer answer = answer_of(3);
    answer.head.flags = 0;
    struct iommu_info info = read_back(&answer, sizeof(answer));
    cr_expect_eq(info.nr_ranges, 2);
    cr_expect_eq(info.ranges[1].last, (UINT64_C(1) << 39) - 1);
    cr_expect_eq(info.page_sizes, 4096);
}
