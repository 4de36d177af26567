/* SPDX-License-Identifier: MIT */
/*
 * A container whose IOMMU ended is known to have ended, in whatever order its device, its group and the mapping of the
 * device's registers went, and in whichever thread: nothing stays registered, nothing is reported, and the same
 * container, given an IOMMU again, starts afresh: what is looked up then leads the device to the page that the CPU sees.
 * Runs in the VM: ends_edu BDF-of-edu GROUP
 * @vm anydma run -- ends_edu $EDU_BDF $EDU_GROUP
 * @vm anydma run --mode=eager -- ends_edu $EDU_BDF $EDU_GROUP
 */
#include "check.h"
#include "edu.h"

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { HALF = 2048, PAGE = 4096, MIB = 1 << 20 };

static struct vfio_device dev; /* what edu.h takes */
static char *blocks[3];

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    perror(what);
    exit(2);
}

static void open_in_container(const char *bdf, const char *group)
{
    char path[64];
    struct vfio_region_info region = {.argsz = sizeof(region), .index = VFIO_PCI_BAR0_REGION_INDEX};
    struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
    uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    snprintf(path, sizeof(path), "/dev/vfio/%s", group);
    dev.group_fd = open(path, O_RDWR | O_CLOEXEC);
    must(dev.group_fd >= 0, path);
    must(ioctl(dev.group_fd, VFIO_GROUP_SET_CONTAINER, &dev.container_fd) == 0, "SET_CONTAINER");
    must(ioctl(dev.container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0, "SET_IOMMU");
    dev.device_fd = ioctl(dev.group_fd, VFIO_GROUP_GET_DEVICE_FD, bdf);
    must(dev.device_fd >= 0 && ioctl(dev.device_fd, VFIO_DEVICE_GET_REGION_INFO, &region) == 0 &&
             ioctl(dev.device_fd, VFIO_DEVICE_GET_REGION_INFO, &config) == 0 &&
             pwrite(dev.device_fd, &command, sizeof(command), (off_t)config.offset + PCI_COMMAND) ==
                 sizeof(command),
         "the device");
    dev.bar0_bytes = region.size;
    dev.bar0 =
        mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev.device_fd, (off_t)region.offset);
    must(dev.bar0 != MAP_FAILED, "its registers");
}

/* By the device from one place to another. */
static void copy(char *from, char *to, char byte)
{
    uint64_t source = anydma_iova(from), target = anydma_iova(to);
    memset(from, byte, HALF);
    memset(to, 0, HALF);
    bool is_done = source != ANYDMA_BAD_IOVA && target != ANYDMA_BAD_IOVA &&
                   edu_load(&dev, source, 0, HALF) == 0 && edu_store(&dev, target, 0, HALF) == 0;
    check(is_done && memcmp(from, to, HALF) == 0, "the device copies from %p, IOVA 0x%lx", (void *)from,
          (unsigned long)source);
}

static void use(char byte)
{
    for (int i = 0; i < 3; i++)
        copy(blocks[i], blocks[i] + HALF, (char)(byte + i));
    free(blocks[2]);
    blocks[2] = malloc(MIB);
    copy(blocks[2], blocks[2] + HALF, (char)(byte + 3));
}

/* --- ways to end ------------------------------------------------------------------------------------------------- */

static void close_device(void)
{
    close(dev.device_fd);
}

static void close_group(void)
{
    close(dev.group_fd);
}

static void unmap_registers(void)
{
    munmap((void *)dev.bar0, dev.bar0_bytes);
}

static pthread_barrier_t barrier;
static int holder;

/* Keeps all descriptors open for as long as it lives: they are then closed by nobody's call. */
static void *hold(void *arg)
{
    (void)arg;
    must(unshare(CLONE_FILES) == 0, "unshare");
    holder = gettid();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* A thread's descriptors are closed after it can be joined, and before it is gone from here. */
static void wait_for_the_end_of(int thread)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d", thread);
    while (access(path, F_OK) == 0)
        sched_yield();
}

static void close_and_let_a_thread_end(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, hold, NULL) == 0, "a thread");
    pthread_barrier_wait(&barrier);
    close_device();
    close_group();
    unmap_registers();
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    wait_for_the_end_of(holder);
    /* Nobody could notice before this; what was looked up before is not answered without asking, then. */
    anydma_iova(blocks[0]);
}

static const struct {
    const char *name;
    void (*steps[3])(void);
} ends[] = {
    {"registers, device, group", {unmap_registers, close_device, close_group}},
    {"device, group, registers", {close_device, close_group, unmap_registers}},
    {"group, device, registers", {close_group, close_device, unmap_registers}},
    {"group, registers, device", {close_group, unmap_registers, close_device}},
    {"with a thread that holds them", {close_and_let_a_thread_end}},
};

int main(int argc, char **argv)
{
    const char *backend = getenv("BACKEND");
    if (argc < 3)
        return 2;
    if (backend && strcmp(backend, "type1") != 0)
        return puts("it is containers and groups that end so"), 77;
    check_shim_is_there();
    dev.container_fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    must(dev.container_fd >= 0, "/dev/vfio/vfio");
    blocks[0] = malloc(PAGE);
    blocks[1] = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    blocks[2] = malloc(MIB);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct anydma_stats stats = {0};
        open_in_container(argv[1], argv[2]);
        use((char)(17 * i + 1));
        for (int step = 0; step < 3 && ends[i].steps[step]; step++)
            ends[i].steps[step]();
        anydma_stats(&stats, sizeof(stats));
        check(stats.containers == 0 && stats.pinned == 0 && stats.unmap_failures == 0,
              "%s: %lu containers, %lu bytes pinned, %lu failed unmaps", ends[i].name,
              (unsigned long)stats.containers, (unsigned long)stats.pinned,
              (unsigned long)stats.unmap_failures);
        check(vm_locked_bytes() == 0, "%s: the kernel counts none", ends[i].name);
    }
    return check_end("ends_edu");
}
