/* SPDX-License-Identifier: MIT */
/* An address that the program can't read is refused by the kernel, with EFAULT and before anything has happened, also where
 * a door looks at what is there. */
#include "expect.h"

#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };
#define NOWHERE ((void *)8)

/* A bad one must not end the test: a child makes the call. Returns its errno, 0 for success, or -1 for a fault. */
static int error_of(long (*call)(void))
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(call() == -1 ? errno : 0);
    EXPECT(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int self(void)
{
    return (int)syscall(SYS_pidfd_open, getpid(), 0);
}

static long advise_nowhere(void)
{
    return syscall(SYS_process_madvise, self(), NOWHERE, 1, MADV_DONTNEED, 0);
}

static void process_madvise_nowhere(void)
{
    EXPECT(error_of(advise_nowhere) == EFAULT);
}

/* The first of two ranges is good; the second lies on a page that can't be read. */
static void process_madvise_half(void)
{
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *precious = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec *ranges = (struct iovec *)(pages + PAGE) - 1;
    *precious = 7;
    ranges[0] = (struct iovec){precious, PAGE};
    EXPECT(mprotect(pages + PAGE, PAGE, PROT_NONE) == 0);
    EXPECT(syscall(SYS_process_madvise, self(), ranges, 2, MADV_DONTNEED, 0) == -1 && errno == EFAULT);
    EXPECT(*precious == 7);
    /* A length that is none. */
    EXPECT(mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    ranges[1] = (struct iovec){precious, (size_t)-PAGE};
    EXPECT(syscall(SYS_process_madvise, self(), ranges, 2, MADV_DONTNEED, 0) == -1 && errno == EINVAL);
    EXPECT(*precious == 7);
}

static long register_nowhere(void)
{
    return ioctl(0, UFFDIO_REGISTER, NOWHERE);
}
static long map_nowhere(void)
{
    return ioctl(0, VFIO_IOMMU_MAP_DMA, NOWHERE);
}
static long unmap_nowhere(void)
{
    return ioctl(0, VFIO_IOMMU_UNMAP_DMA, NOWHERE);
}
static long set_nowhere(void)
{
    return ioctl(0, VFIO_GROUP_SET_CONTAINER, NOWHERE);
}

/* No device is needed for a door to look: any descriptor will do. */
static void ioctls(void)
{
    EXPECT(error_of(register_nowhere) == ENOTTY);
    EXPECT(error_of(map_nowhere) == ENOTTY);
    EXPECT(error_of(unmap_nowhere) == ENOTTY);
    EXPECT(error_of(set_nowhere) == ENOTTY);
}

int main(void)
{
    shim_must_be_there();
    behaviour("process_madvise_of_unreadable_ranges_fails_with_efault", process_madvise_nowhere);
    behaviour("process_madvise_does_nothing_when_one_range_is_bad", process_madvise_half);
    behaviour("an_ioctl_with_an_unreadable_argument_is_the_kernels", ioctls);
    return behaviours_end();
}
