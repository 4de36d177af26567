/* SPDX-License-Identifier: MIT */
/*
 * The random program as a command: fuzz [--trace] [--vfio [--aperture=BITS]] [--no-device] [FIRST-SEED [SEEDS [STEPS]]]; SEEDS
 * 0: without end. With the doors preloaded (ANYDMA_IOMMU=sim), or with the shim's modules linked in. --vfio:
 * with a real container, of the group that EDU_GROUP names, or an address space of iommufd's; --trace prints what each step gave: the same seed
 * must give the same with sim and VFIO.
 */
#include "program.h"

#include "anydma.h"
#include "examples/iommufd.h"
#include "examples/vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static uint64_t running_seed;

/* With the simulated IOMMU any descriptor may stand for a container. */
static int open_simulated(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int error = fd < 0 ? -errno : anydma_attach(fd, 0);
    if (!error)
        return fd;
    errno = -error;
    return -1;
}

static int open_vfio(void)
{
    char path[64];
    const char *number = getenv("EDU_GROUP");
    snprintf(path, sizeof(path), "/dev/vfio/%s", number ? number : "");
    int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    static int group = -1; /* stays: a run attaches once */
    if (group >= 0)
        close(group);
    group = open(path, O_RDWR | O_CLOEXEC);
    if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) != 0 ||
        ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0)
        return -1;
    return container;
}

/* The same of BACKEND=iommufd or compat; the device that EDU_BDF names stays open. */
static struct vfio_device device = {.container_fd = -1, .group_fd = -1, .device_fd = -1};

static int open_ioas(void)
{
    const char *bdf = getenv("EDU_BDF");
    vfio_device_close(&device);
    int error = bdf ? vfio_device_open(&device, bdf) : -ENODEV;
    int iommufd = device.container_fd;
    device.container_fd = -1; /* the program's to close */
    errno = -error;
    return error ? -1 : iommufd;
}

static int ioas_map(uint64_t iova, uint64_t va, uint64_t len)
{
    return iommufd_map(program.container, device.ioas_id, iova, va, len);
}

static int ioas_unmap(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped)
{
    return iommufd_unmap(program.container, device.ioas_id, iova, all ? UINT64_MAX : len, unmapped);
}

static void use_vfio(void)
{
    const char *backend = getenv("BACKEND");
    program.is_played = backend && strcmp(backend, "compat") == 0;
    program.is_ioas = program.is_played || (backend && strcmp(backend, "iommufd") == 0);
    program_open_container = program.is_ioas ? open_ioas : open_vfio;
    if (program.is_ioas && !program.is_played) {
        program_own_map = ioas_map;
        program_own_unmap = ioas_unmap;
    }
}

/* abort() must say which seed it was. */
static void tell_seed(int signal_number)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "FAILED with seed %" PRIu64 "\n", running_seed);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        _exit(3);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    bool is_vfio = false, has_device = true;
    for (; argc > 1 && strncmp(argv[1], "--", 2) == 0; argc--, argv++) {
        is_vfio |= strcmp(argv[1], "--vfio") == 0;
        has_device &= strcmp(argv[1], "--no-device") != 0;
        program.is_traced |= strcmp(argv[1], "--trace") == 0;
        if (strncmp(argv[1], "--aperture=", 11) == 0)
            model.aperture_end = UINT64_C(1) << strtoul(argv[1] + 11, NULL, 0);
    }
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1,
             nr = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, done = 0;
    program.nr_steps = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 2000;
    program.has_device = has_device && !is_vfio;
    program_open_container = open_simulated;
    if (is_vfio)
        use_vfio();
    else
        dma_start_device();
    program_start();
    signal(SIGABRT, tell_seed);
    for (; !nr || done < nr; done++) {
        program.seed = running_seed = first + done;
        program.stays_attached = program.is_traced || running_seed % 2;
        program_run();
        if (!nr && done % 16 == 15)
            fprintf(stderr, "%" PRIu64 " seeds\n", done + 1);
    }
    if (!program.is_traced)
        printf("%" PRIu64 " seeds from %" PRIu64 ", %u steps each: all as the model says\n", done, first,
               program.nr_steps);
    return 0;
}
