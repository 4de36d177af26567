/* SPDX-License-Identifier: MIT */
/*
 * A container, or an iommufd with its address space, that this process did not set up: it came from another one by a socket, was
 * taken from it by pidfd_getfd, or was left open over an exec. It is adopted at its first mapping: from then on what is looked
 * up leads the device to the page that the CPU sees, in this process; and the one that it came from is served as before, also
 * when this one has ended. Runs in the guest:
 * handed_edu BDF-of-edu
 * @vm anydma run -- handed_edu $EDU_BDF
 */
#include "../rights.h"
#include "check.h"
#include "edu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGE = 4096, HALF = 2000, MIB = 1 << 20 };

static struct vfio_device dev;
static char *block;

/* By the device from one half of the block to the other, by the IOVAs that lookups give. */
static bool reaches(void)
{
    static char byte;
    uint64_t from = anydma_iova(block), to = anydma_iova(block + HALF);
    memset(block, ++byte, HALF);
    memset(block + HALF, 0, HALF);
    return from != ANYDMA_BAD_IOVA && to != ANYDMA_BAD_IOVA && edu_load(&dev, from, 0, HALF) == 0 &&
           edu_store(&dev, to, 0, HALF) == 0 && memcmp(block, block + HALF, HALF) == 0;
}

/* --- the other process ----------------------------------------------------------------------------------------------- */

static bool map_registers(void)
{
    struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX};
    if (ioctl(dev.device_fd, VFIO_DEVICE_GET_REGION_INFO, &info) != 0)
        return false;
    dev.bar0_bytes = info.size;
    dev.bar0 = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev.device_fd, (off_t)info.offset);
    return dev.bar0 != MAP_FAILED;
}

/* With the descriptors that it has got, it does as any program does. */
static int use_what_came(const char *way, uint64_t iova)
{
    uint64_t undone;
    char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    block = malloc(PAGE);
    check(map_registers(), "%s: the device's registers are mapped", way);
    errno = 0;
    uint64_t before = anydma_iova(block);
    check(before == ANYDMA_BAD_IOVA && errno == ENODEV,
          "%s: what is looked up before is promised nothing: %s", way, strerror(errno));
    check(vfio_device_map(&dev, iova, own, PAGE) == 0, "%s: its own mapping", way);
    check(stats_now().containers == 1, "%s: it is adopted", way);
    check(reaches(), "%s: the device reaches what is looked up, 0x%lx", way,
          (unsigned long)anydma_iova(block));
    check_accounts(way);
    memset(own, 7, PAGE);
    check(edu_load(&dev, iova, 0, HALF) == 0 && edu_store(&dev, anydma_iova(block), 0, HALF) == 0 &&
              block[HALF - 1] == 7,
          "%s: and its own mapping", way);
    check(vfio_device_unmap(&dev, iova, PAGE, &undone) == 0 && undone == PAGE, "%s: which it unmaps", way);
    return check_failures ? 1 : 0;
}

static void describe_device(const char *ioas_id)
{
    const char *backend = getenv("BACKEND");
    dev.backend = backend && strcmp(backend, "iommufd") == 0 ? VFIO_BACKEND_IOMMUFD : VFIO_BACKEND_TYPE1;
    dev.ioas_id = (uint32_t)atoi(ioas_id);
}

/* handed_edu socket FD IOAS / pidfd PID CONTAINER DEVICE IOAS / exec CONTAINER DEVICE IOAS */
static int be_another(char **argv)
{
    describe_device(argv[strcmp(argv[1], "socket") == 0 ? 3 : strcmp(argv[1], "pidfd") == 0 ? 5 : 4]);
    if (strcmp(argv[1], "socket") == 0) {
        dev.container_fd = rights_receive(atoi(argv[2]));
        dev.device_fd = rights_receive(atoi(argv[2]));
    } else if (strcmp(argv[1], "pidfd") == 0) {
        int pidfd = (int)syscall(SYS_pidfd_open, atoi(argv[2]), 0);
        dev.container_fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(argv[3]), 0);
        dev.device_fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(argv[4]), 0);
    } else {
        dev.container_fd = atoi(argv[2]);
        dev.device_fd = atoi(argv[3]);
    }
    return use_what_came(argv[1], 0x20000000);
}

/* --- the one that has it --------------------------------------------------------------------------------------------- */

static void send_to(int by, int fd)
{
    check(rights_send(by, fd), "descriptor %d is sent", fd);
}

static void execute(const char *way, int a, int b, int c, int d)
{
    char words[4][16];
    const int numbers[] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        snprintf(words[i], sizeof(words[i]), "%d", numbers[i]);
    execl("/proc/self/exe", "handed_edu", way, words[0], words[1], words[2], words[3], (char *)NULL);
    _exit(127);
}

static void check_end_of(pid_t pid, const char *way)
{
    int status = -1;
    waitpid(pid, &status, 0);
    check(status == 0, "%s: the other process is content (status %#x)", way, status);
    check(reaches(), "%s: the device reaches this one's memory afterwards", way);
    check_accounts(way);
}

static void hand_over_by_a_socket(void)
{
    int pair[2], none = 0;
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "a socket");
    pid_t pid = fork();
    if (pid == 0)
        execute("socket", pair[1], (int)dev.ioas_id, none, none);
    send_to(pair[0], dev.container_fd);
    send_to(pair[0], dev.device_fd);
    check_end_of(pid, "socket");
}

static void let_it_be_taken(void)
{
    int self = getpid();
    pid_t pid = fork();
    if (pid == 0)
        execute("pidfd", self, dev.container_fd, dev.device_fd, (int)dev.ioas_id);
    check_end_of(pid, "pidfd");
}

/* Another program takes this one's place, with the descriptors; its memory is another. */
static void leave_open_over_exec(void)
{
    char *large = malloc(8 * MIB);
    uint64_t iova;
    check(anydma_iova_range(large, 8 * MIB, &iova) == 0, "exec: 8 MiB are looked up before");
    fcntl(dev.container_fd, F_SETFD, 0);
    fcntl(dev.device_fd, F_SETFD, 0);
    if (dev.group_fd >= 0)
        fcntl(dev.group_fd, F_SETFD, 0);
    execute("exec", dev.container_fd, dev.device_fd, (int)dev.ioas_id, 0);
}

int main(int argc, char **argv)
{
    check_shim_is_there();
    if (argc > 3)
        return be_another(argv);
    if (argc < 2 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 2;
    block = malloc(PAGE);
    check(reaches(), "the device reaches this one's memory");
    hand_over_by_a_socket();
    let_it_be_taken();
    if (check_failures == 0)
        leave_open_over_exec();
    return check_end("handed_edu");
}
