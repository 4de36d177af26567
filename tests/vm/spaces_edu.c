/* SPDX-License-Identifier: MIT */
/*
 * Address spaces of one iommufd, by raw calls: one that no device is attached to, several devices on one, one device after the
 * other on several, attached through a page table of theirs, and beside the program's own mappings, files and copies. The
 * device reaches what was looked up all the time, what a second address space needs is pinned once, and the kernel's count is
 * the shim's own after every step. Runs in the guest: spaces_edu BDF-of-edu, character device of another
 * @vm iommufd/48/iommufd,iommufd/39/iommufd,iommufd/48/iommufd-newest,iommufd/39/iommufd-newest: anydma run -- spaces_edu $EDU_BDF $NVME_CDEV
 */
#include "check.h"
#include "edu.h"
#include "iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum { PAGE = 4096, MIB = 1 << 20, HALF = 2000, LARGE = 16 * MIB };

#define APP_IOVA UINT64_C(0x10000000)

static struct vfio_device dev;
static int other; /* the other device's descriptor */
static char *block, *large;

/* From one half of the block to the other, by the IOVAs that lookups give. */
static void reach(const char *step)
{
    static char byte;
    uint64_t from = anydma_iova(block), to = anydma_iova(block + HALF);
    memset(block, ++byte, HALF);
    memset(block + HALF, 0, HALF);
    bool is_done = from != ANYDMA_BAD_IOVA && to != ANYDMA_BAD_IOVA && edu_load(&dev, from, 0, HALF) == 0 &&
                   edu_store(&dev, to, 0, HALF) == 0;
    check(is_done && memcmp(block, block + HALF, HALF) == 0, "%s: the device reaches 0x%lx", step,
          (unsigned long)from);
    check_accounts(step);
}

static void expect(int rc, int wanted, const char *step)
{
    check(rc == wanted, "%s: %d (%s)", step, rc, rc < 0 ? strerror(-rc) : "");
}

static uint32_t make_space(void)
{
    uint32_t id = 0;
    expect(iommufd_alloc_ioas(dev.container_fd, &id), 0, "IOAS_ALLOC");
    return id;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What nobody's device is attached to is the program's own affair. */
static void leave_unattached(void)
{
    uint32_t spare = make_space();
    uint64_t undone;
    expect(iommufd_map(dev.container_fd, spare, (uintptr_t)large, (uintptr_t)large, PAGE), 0,
           "its own mapping in one without a device");
    expect(iommufd_map(dev.container_fd, spare, APP_IOVA, (uintptr_t)large, PAGE), 0, "and another");
    reach("one without a device");
    expect(iommufd_unmap(dev.container_fd, spare, APP_IOVA, PAGE, &undone), 0, "IOAS_UNMAP there");
    expect(iommufd_destroy(dev.container_fd, spare), 0, "IOMMU_DESTROY of it");
    expect(iommufd_map(dev.container_fd, spare, APP_IOVA, (uintptr_t)large, PAGE), -ENOENT,
           "a mapping in what was destroyed");
    expect(iommufd_destroy(dev.container_fd, dev.ioas_id), -EBUSY, "IOMMU_DESTROY of one with a device");
    reach("one without a device, destroyed");
}

static void share_one(void)
{
    uint32_t id;
    expect(iommufd_bind(dev.container_fd, other, &id), 0, "BIND_IOMMUFD of the other device");
    expect(iommufd_attach(other, dev.ioas_id), 0, "two devices on one");
    reach("two devices on one");
    expect(iommufd_detach(other), 0, "DETACH of one of them");
    reach("one of them left");
}

/* Looks up LARGE bytes in base pages; a second address space is given all of it with its first device. */
static void pin_once(uint32_t second)
{
    uint64_t iova;
    double began = seconds();
    int rc = anydma_iova_range(large, LARGE, &iova);
    double first = seconds() - began;
    struct anydma_stats before = stats_now();
    uint64_t locked = vm_locked_bytes();
    expect(rc, 0, "16 MiB are looked up");
    check_accounts("16 MiB looked up");
    began = seconds();
    expect(iommufd_attach(other, second), 0, "the other device on a second one");
    double again = seconds() - began;
    struct anydma_stats after = stats_now();
    check(after.containers == 2 && after.maps >= before.maps + before.registrations,
          "everything is mapped in the second, too: %lu maps for %lu registrations",
          (unsigned long)(after.maps - before.maps), (unsigned long)before.registrations);
    check(after.pinned == before.pinned && vm_locked_bytes() == locked,
          "and pinned once: VmPin %lu KiB before, %lu KiB after", (unsigned long)(locked >> 10),
          (unsigned long)(vm_locked_bytes() >> 10));
    printf("     the first took %.1f ms, the second %.1f ms\n", first * 1e3, again * 1e3);
    reach("a second one");
}

static void change_over(uint32_t second)
{
    uint32_t id, table = 0;
    expect(iommufd_attach(dev.device_fd, second), 0, "edu changes over to the second");
    check(stats_now().containers == 1, "which is the only one with a device");
    reach("on the second");
    expect(iommufd_detach(other), 0, "DETACH of the other");
    expect(iommufd_detach(dev.device_fd), 0, "DETACH of edu");
    check(vm_locked_bytes() == 0 && stats_now().pinned == 0, "nothing is pinned without a device");
    expect(iommufd_bind(dev.container_fd, dev.device_fd, &id), -EINVAL, "BIND_IOMMUFD once more");
    expect(iommufd_alloc_page_table(dev.container_fd, dev.device_id, second, &table), 0, "HWPT_ALLOC");
    check_accounts("a page table without a device");
    expect(iommufd_attach(dev.device_fd, table), 0, "edu on the page table");
    reach("on a page table");
    expect(iommufd_attach(dev.device_fd, dev.ioas_id), 0, "edu back on the first");
    expect(iommufd_destroy(dev.container_fd, table), 0, "IOMMU_DESTROY of the page table");
    check(stats_now().containers == 1, "the first is the only one with a device");
    reach("back on the first");
    expect(iommufd_attach(dev.device_fd, 12345), -ENOENT, "an attach to what is none");
    reach("after a refused attach");
    expect(anydma_attach(dev.container_fd, 12345), -ENOENT, "anydma_attach of what is none");
    expect(anydma_attach(dev.device_fd, 12345), -ENOTTY, "of what is no iommufd");
    expect(anydma_attach(-1, 12345), -EBADF, "of what is no descriptor");
    reach("after refused calls of anydma_attach");
}

/* A file's pages, without an address; kernels before 6.13 have no such call. Nothing else of the program's own is mapped: the
 * iommufd may then change over to another process, whatever is registered. */
static void map_a_file(void)
{
    enum { LEN = 4 * PAGE, FROM = 2 * PAGE };
    int fd = dev.container_fd, file = memfd_create("file", 0);
    uint64_t undone = 0;
    char *seen = ftruncate(file, LEN + FROM) == 0
                     ? mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, FROM)
                     : MAP_FAILED;
    int rc = iommufd_map_file(fd, dev.ioas_id, APP_IOVA, file, FROM, LEN);
    bool is_there = rc != -ENOTTY && rc != -EOPNOTSUPP;
    if (!check((rc == 0 || !is_there) && seen != MAP_FAILED, "MAP_FILE: %d", rc) || !is_there) {
        printf("     (this kernel has none)\n");
        return;
    }
    check_accounts("a file's mapping");
    check(stats_now().app_pinned == LEN, "is the application's own");
    memset(seen, 0x5a, HALF);
    check(edu_load(&dev, APP_IOVA, 0, HALF) == 0 && edu_store(&dev, APP_IOVA + LEN - HALF, 0, HALF) == 0 &&
              memcmp(seen, seen + LEN - HALF, HALF) == 0,
          "the device reaches the file's pages");
    check(anydma_iova(seen) == ANYDMA_BAD_IOVA, "the file's address is refused to a lookup");
    expect(iommufd_map_file(fd, dev.ioas_id, (uintptr_t)block & -PAGE, file, 0, PAGE), -EEXIST,
           "a file's mapping over what was looked up");
    reach("a file's mapping");
    rc = iommufd_change_process(fd);
    check(rc == 0 || rc == -ENOTTY, "CHANGE_PROCESS: %d", rc);
    reach("another process");
    close(file);
    munmap(seen, LEN);
    check_accounts("the file closed, and unmapped by the CPU");
    expect(iommufd_unmap(fd, dev.ioas_id, APP_IOVA, PAGE, &undone), -ENOENT, "an unmapping of a part of it");
    expect(iommufd_unmap(fd, dev.ioas_id, 0, UINT64_MAX, &undone), 0, "an unmapping of everything");
    check(undone == LEN, "of the file: %lu bytes", (unsigned long)undone);
    reach("the file's mapping undone");
}

static void map_by_itself(uint32_t second)
{
    int fd = dev.container_fd;
    uint64_t undone = 0;
    uint32_t first = dev.ioas_id;
    char *own = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(iommufd_map(fd, first, APP_IOVA, (uintptr_t)own, 8 * PAGE), 0, "its own mapping");
    check_accounts("its own mapping");
    expect(iommufd_copy(fd, second, APP_IOVA, first, APP_IOVA, 4 * PAGE), 0, "a copy in another");
    check_accounts("a copy in another");
    expect(iommufd_copy(fd, first, 2 * APP_IOVA, first, APP_IOVA, 4 * PAGE), 0, "a copy in the same");
    check_accounts("a copy in the same");
    expect(iommufd_unmap(fd, first, APP_IOVA, 4 * PAGE, &undone), -ENOENT, "an unmapping of a part");
    expect(iommufd_map(fd, first, APP_IOVA, (uintptr_t)own, PAGE), -EEXIST, "a mapping over it");
    expect(iommufd_map(fd, first, (uintptr_t)block & -PAGE, (uintptr_t)own, PAGE), -EEXIST,
           "a mapping over what was looked up");
    reach("its own mappings");
    uint64_t all = (uint64_t)(8 + 4) * PAGE;
    expect(iommufd_unmap(fd, first, 0, UINT64_MAX, &undone), 0, "an unmapping of everything");
    check(undone == all, "of its own: %lu bytes", (unsigned long)undone);
    reach("everything unmapped");
    expect(iommufd_unmap(fd, second, 0, UINT64_MAX, &undone), 0, "and in the other");
    check(undone == 4 * PAGE, "of its own: %lu bytes", (unsigned long)undone);
}

/* What the program allows is about what the kernel chooses, and about devices to come: fixed IOVAs, as ours, may lie elsewhere. */
static void allow(uint32_t second)
{
    int fd = dev.container_fd;
    uint32_t first = dev.ioas_id, third = make_space(), id;
    uint64_t iova = 0, ours = (uintptr_t)block & -(uint64_t)PAGE, undone;
    struct iommufd_range far = {APP_IOVA, 2 * APP_IOVA - 1}, taken = {ours, ours + PAGE - 1};
    struct iommufd_range reserved = {0xfee00000, 0xfeefffff};
    char *own = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(iommufd_allow(fd, first, &far, 1), 0, "ALLOW_IOVAS, without where ours lies");
    reach("ours lies outside");
    expect(iommufd_map_anywhere(fd, first, &iova, (uintptr_t)own, PAGE), 0, "the kernel chooses");
    check(iova >= far.start && iova <= far.last, "of what is allowed: 0x%lx", (unsigned long)iova);
    char *more = malloc(3 * MIB);
    check(anydma_iova(more) == (uintptr_t)more, "further memory is registered outside, at its address");
    reach("ours and the program's");
    expect(iommufd_unmap(fd, first, iova, PAGE, &undone), 0, "the program's is undone");
    expect(iommufd_allow(fd, first, &taken, 1), 0, "ALLOW_IOVAS of what was looked up, and no more");
    expect(iommufd_map_anywhere(fd, first, &iova, (uintptr_t)own, PAGE), -ENOSPC,
           "nothing is left to choose");
    reach("nothing left to choose");
    expect(iommufd_allow(fd, first, &reserved, 1), -EADDRINUSE,
           "ALLOW_IOVAS of what the device does not reach");
    expect(iommufd_allow(fd, first, NULL, 0), 0, "ALLOW_IOVAS of nothing: of everything");
    expect(iommufd_map_anywhere(fd, first, &iova, (uintptr_t)own, PAGE), 0, "the kernel chooses again");
    expect(iommufd_unmap(fd, first, iova, PAGE, &undone), 0, "and it is undone");
    expect(iommufd_allow(fd, third, &reserved, 1), 0, "the same where no device is attached");
    expect(iommufd_attach(other, third), -EADDRINUSE, "to which no device comes, then");
    reach("an attach refused for what is allowed");
    expect(iommufd_allow(fd, third, &taken, 1), 0, "ALLOW_IOVAS where ours will lie");
    expect(iommufd_attach(other, third), 0, "the other device on that");
    reach("ours lies in what is allowed, too");
    expect(iommufd_attach(other, second), 0, "back on the second");
    expect(iommufd_destroy(fd, third), 0, "IOMMU_DESTROY of the third");
    expect(iommufd_bind(fd, dev.device_fd, &id), -EINVAL, "BIND_IOMMUFD of what is bound");
    reach("everything allowed");
    free(more);
    munmap(own, 16 * PAGE);
}

int main(int argc, char **argv)
{
    unsigned faults = dmar_faults();
    if (argc < 3 || vfio_device_open(&dev, argv[1]) < 0 || edu_check(&dev) < 0)
        return 2;
    check_shim_is_there();
    block = malloc(PAGE);
    large = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    other = open(argv[2], O_RDWR | O_CLOEXEC);
    if (!check(dev.backend == VFIO_BACKEND_IOMMUFD && other >= 0, "both devices open by iommufd"))
        return check_end("spaces_edu");
    madvise(large, LARGE, MADV_NOHUGEPAGE);
    reach("one with a device");
    leave_unattached();
    share_one();
    uint32_t second = make_space();
    pin_once(second);
    change_over(second);
    map_a_file();
    map_by_itself(second);
    allow(second);
    close(other);
    vfio_device_close(&dev);
    check_accounts("closed");
    check(vm_locked_bytes() == 0, "nothing is pinned any more");
    check(dmar_faults() == faults, "no DMA fault");
    return check_end("spaces_edu");
}
