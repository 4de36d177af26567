/* SPDX-License-Identifier: MIT */
/* From the moment that a program opens /dev/iommu, or a VFIO device's own file, which nothing serves, lookups say ENODEV: an
 * IOVA would lead that device nowhere. The files here are empty ones in a /dev of the test's own. */
#include "expect.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *block; /* looked up before */

static void make_file(const char *path)
{
    int fd = (int)syscall(SYS_open, path, O_CREAT | O_WRONLY, 0600);
    EXPECT(fd >= 0 && close(fd) == 0);
}

static bool has_own_dev(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev", "tmpfs", 0, NULL) != 0)
        return false;
    make_file("/dev/iommu");
    make_file("/dev/null");
    mkdir("/dev/vfio", 0700);
    mkdir("/dev/vfio/devices", 0700);
    make_file("/dev/vfio/devices/vfio0");
    make_file("/dev/vfio/vfio");
    make_file("/dev/vfio/7");
    return true;
}

static bool answers(void)
{
    errno = 0;
    return anydma_iova(block) == (uintptr_t)block && anydma_iova(block + 8000) == (uintptr_t)block + 8000;
}

static bool is_refused(void)
{
    errno = 0;
    return anydma_iova(block) == ANYDMA_BAD_IOVA && errno == ENODEV;
}

static void refuses_while_open(const char *path)
{
    int opened[] = {open(path, O_RDWR), open64(path, O_RDWR), openat(-1, path, O_RDWR),
                    openat64(-1, path, O_RDWR)};
    for (size_t i = 0; i < sizeof(opened) / sizeof(opened[0]); i++) {
        EXPECT(opened[i] >= 0 && is_refused());
        int copy = dup(opened[i]);
        close(opened[i]);
        EXPECT(is_refused());
        close(copy);
    }
    EXPECT(answers());
}

static void iommufd(void)
{
    refuses_while_open("/dev/iommu");
}

static void own_file(void)
{
    refuses_while_open("/dev/vfio/devices/vfio0");
}

static void others(void)
{
    const char *const paths[] = {"/dev/null", "/dev/vfio/vfio", "/dev/vfio/7"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int fd = open(paths[i], O_RDWR);
        EXPECT(fd >= 0 && answers());
        close(fd);
    }
}

int main(void)
{
    shim_must_be_there();
    if (!has_own_dev()) {
        puts("no mount namespace may be made here");
        return 77;
    }
    block = malloc(10000);
    EXPECT(answers());
    behaviour("lookups_are_refused_while_iommufd_is_open", iommufd);
    behaviour("lookups_are_refused_while_a_device_of_its_own_is_open", own_file);
    behaviour("containers_groups_and_other_files_refuse_nothing", others);
    return behaviours_end();
}
