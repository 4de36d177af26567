/* SPDX-License-Identifier: MIT */
/* The doors of open do what the C library's do: modes, O_TMPFILE, bad pointers, cancellation; and errno stays. With the argument
 * "device" it makes the calls of a program that uses VFIO, which tests/preload/advice.sh has fail. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../shim/iommu/iommufd_abi.h"
#include "expect.h"

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

static char folder[] = "/tmp/open_doors.XXXXXX";

static mode_t mode_after(int fd)
{
    struct stat st = {0};
    EXPECT(fd >= 0 && fstat(fd, &st) == 0);
    close(fd);
    return st.st_mode & 07777;
}

static void modes(void)
{
    char path[64];
    umask(0);
    snprintf(path, sizeof(path), "%s/a", folder);
    EXPECT(mode_after(open(path, O_CREAT | O_RDWR, 0640)) == 0640);
    unlink(path);
    EXPECT(mode_after(open64(path, O_CREAT | O_RDWR | O_EXCL, 0751)) == 0751);
    unlink(path);
    EXPECT(mode_after(openat(AT_FDCWD, path, O_CREAT | O_WRONLY, 0604)) == 0604);
    unlink(path);
    EXPECT(mode_after(openat64(AT_FDCWD, path, O_CREAT | O_WRONLY, 0620)) == 0620);
    unlink(path);
    int fd = open(folder, O_TMPFILE | O_RDWR, 0642);
    EXPECT((fd < 0 && errno == EOPNOTSUPP) || mode_after(fd) == 0642);
}

static void what_does_not_open(void)
{
    static const char *const paths[] = {"/no/such/file", "/dev/vfio/987654", "/dev/vfio/devices/none",
                                        "/dev/vfiox"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int (*const doors[])(const char *, int) = {__open_2, __open64_2};
        errno = 0;
        EXPECT(open(paths[i], O_RDWR) == -1 && (errno == ENOENT || errno == ENOTDIR));
        EXPECT(openat(AT_FDCWD, paths[i], O_RDWR) == -1 && (errno == ENOENT || errno == ENOTDIR));
        EXPECT(open64(paths[i], O_RDWR) == -1 && openat64(AT_FDCWD, paths[i], O_RDWR) == -1);
        for (size_t n = 0; n < 2; n++)
            EXPECT(doors[n](paths[i], O_RDWR) == -1 && (errno == ENOENT || errno == ENOTDIR));
        EXPECT(__openat_2(AT_FDCWD, paths[i], O_RDWR) == -1 &&
               __openat64_2(AT_FDCWD, paths[i], O_RDWR) == -1);
    }
    errno = 0;
    EXPECT(open((const char *)8, O_RDONLY) == -1 && errno == EFAULT);
    errno = 0;
    EXPECT(openat(AT_FDCWD, (const char *)8, O_RDONLY) == -1 && errno == EFAULT);
    EXPECT(openat(-7, "relative", O_RDONLY) == -1 && errno == EBADF);
}

static void *opens_a_fifo(void *path)
{
    open(path, O_RDONLY); /* for ever: nobody writes */
    return path;
}

static void is_a_cancellation_point(void)
{
    char path[64];
    pthread_t thread;
    void *result = NULL;
    snprintf(path, sizeof(path), "%s/fifo", folder);
    EXPECT(mkfifo(path, 0600) == 0);
    EXPECT(pthread_create(&thread, NULL, opens_a_fifo, path) == 0);
    EXPECT(pthread_cancel(thread) == 0);
    EXPECT(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    unlink(path);
}

/* Twice, so that there is something to count. */
static int uses_a_device(void)
{
    int seen = 0, fd = open("/dev/null", O_RDWR);
    for (int i = 0; i < 2; i++) {
        struct vfio_group_status status = {.argsz = sizeof(status)};
        struct iommufd_device_bind bind = {.argsz = sizeof(bind), .iommufd = fd};
        struct iommufd_device_attach attach = {.argsz = sizeof(attach), .pt_id = 77};
        errno = 0;
        seen |= open("/dev/vfio/vfio", O_RDWR) < 0 ? errno : 0;
        seen |= open("/dev/vfio/7", O_RDWR) < 0 ? errno : 0;
        seen |= open("/dev/vfio/devices/vfio3", O_RDWR) < 0 ? errno : 0;
        seen |= open("/dev/iommu", O_RDWR) < 0 ? errno : 0;
        seen |= ioctl(fd, VFIO_GROUP_GET_STATUS, &status) < 0 ? errno : 0;
        seen |= ioctl(fd, VFIO_GROUP_SET_CONTAINER, &fd) < 0 ? errno : 0;
        seen |= ioctl(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0 ? errno : 0;
        seen |= ioctl(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU) < 0 ? errno : 0;
        seen |= ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, "0000:00:03.0") < 0 ? errno : 0;
        seen |= ioctl(fd, IOMMUFD_DEVICE_BIND, &bind) < 0 ? errno : 0;
        seen |= ioctl(fd, IOMMUFD_DEVICE_ATTACH, &attach) < 0 ? errno : 0;
    }
    return seen == 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "device") == 0)
        return uses_a_device();
    shim_must_be_there();
    EXPECT(mkdtemp(folder) != NULL);
    behaviour("modes_are_passed_on", modes);
    behaviour("errors_are_the_kernels", what_does_not_open);
    behaviour("open_is_a_cancellation_point", is_a_cancellation_point);
    rmdir(folder);
    return behaviours_end();
}
