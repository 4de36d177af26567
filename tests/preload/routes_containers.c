/* SPDX-License-Identifier: MIT */
/*
 * Containers come and go over what is registered: attached late, over memory of which a part was unmapped or replaced
 * meanwhile; detached, closed, closed by a duplicate. The device writes through each container that has an IOVA.
 */
#include "../rights.h"
#include "device.h"
#include "expect.h"
#include "judge.h"
#include "ways.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

enum { PAGES = 64 };

static int new_container(void)
{
    int fd = memfd_create("container", MFD_CLOEXEC); /* any descriptor stands for a simulated one */
    return fd >= 0 && anydma_attach(fd, 0) == 0 ? fd : -1;
}

/* How many containers have the page, each leading to what the CPU sees there; -1: one of them leads elsewhere. */
static int nr_reaching(unsigned char *at, uint64_t iova)
{
    int nr = 0;
    for (device.nth = 0; nr >= 0; device.nth++) {
        uint64_t token = judge_next_token();
        *(volatile uint64_t *)at = 0;
        if (device_write(iova, &token, sizeof(token)) != 0)
            break;
        nr = *(volatile uint64_t *)at == token ? nr + 1 : -1;
    }
    device.nth = 0;
    return nr;
}

static unsigned char *map_pages(uint64_t *iova)
{
    unsigned char *at = mmap(NULL, PAGES * WAY_PAGE, WAY_RW, WAY_PLAIN, -1, 0);
    EXPECT(at != MAP_FAILED && anydma_iova_range(at, PAGES * WAY_PAGE, iova) == 0);
    EXPECT(nr_reaching(at, *iova) == 1);
    return at;
}

static void attached_late(void)
{
    uint64_t iova;
    unsigned char *at = map_pages(&iova);
    int fd = new_container();
    EXPECT(fd >= 0 && nr_reaching(at, iova) == 2 && nr_reaching(at + 9 * WAY_PAGE, iova + 9 * WAY_PAGE) == 2);
    EXPECT(anydma_detach(fd) == 0 && nr_reaching(at, iova) == 1);
    EXPECT(anydma_detach(fd) == -ENOENT || errno == ENOENT);
    close(fd);
    munmap(at, PAGES * WAY_PAGE);
    EXPECT(nr_reaching(at = map_pages(&iova), iova) == 1);
    munmap(at, PAGES * WAY_PAGE);
}

/* The hole's address is held back by the first container's registration, and inaccessible. */
static void attached_over_a_hole(void)
{
    uint64_t iova;
    unsigned char *at = map_pages(&iova), *hole = at + 8 * WAY_PAGE;
    EXPECT(munmap(hole, 4 * WAY_PAGE) == 0);
    int fd = new_container();
    EXPECT(fd >= 0 && nr_reaching(at, iova) == 2);
    EXPECT(nr_reaching(at + (PAGES - 1) * WAY_PAGE, iova + (PAGES - 1) * WAY_PAGE) == 2);
    EXPECT(anydma_iova(at) == iova && anydma_iova(hole) == ANYDMA_BAD_IOVA);
    EXPECT(msync(hole, WAY_PAGE, MS_ASYNC) != 0 ||
           mprotect(hole, WAY_PAGE, PROT_READ) != 0); /* free, to the program */
    EXPECT(mmap(hole, 4 * WAY_PAGE, WAY_RW, WAY_PLAIN | MAP_FIXED, -1, 0) == hole);
    struct judged judged = judge(hole, ANYDMA_BAD_IOVA);
    EXPECT(judged.verdict == FRESH || judged.verdict == NO);
    EXPECT(nr_reaching(at, iova) == 2);
    EXPECT(munmap(at, PAGES * WAY_PAGE) == 0 && close(fd) == 0);
    EXPECT(device_write(iova, "12345678", 8) == -EFAULT);
}

/* The late one has all but what is protected, and that once it is looked up. */
static void attached_beside_what_is_protected(void)
{
    enum { FIRST = 20, NR = 8, LATER = FIRST + NR / 2 };
    uint64_t iova, again;
    unsigned char *at = map_pages(&iova), *hole = at + FIRST * WAY_PAGE, *later = at + LATER * WAY_PAGE;
    EXPECT(mprotect(hole, NR * WAY_PAGE, PROT_NONE) == 0);
    int fd = new_container();
    EXPECT(fd >= 0 && anydma_iova(at) == iova && nr_reaching(at, iova) == 2);
    for (unsigned i = 0; i < PAGES; i++)
        if (i < FIRST || i >= FIRST + NR)
            EXPECT(anydma_iova(at + i * WAY_PAGE) == iova + i * WAY_PAGE &&
                   nr_reaching(at + i * WAY_PAGE, iova + i * WAY_PAGE) == 2);
    EXPECT(anydma_iova(hole) == ANYDMA_BAD_IOVA && anydma_iova_range(at, PAGES * WAY_PAGE, &again) != 0);
    EXPECT(mprotect(later, NR / 2 * WAY_PAGE, WAY_RW) == 0 && anydma_iova(hole) == ANYDMA_BAD_IOVA);
    EXPECT(anydma_iova(later) == iova + LATER * WAY_PAGE && nr_reaching(later, iova + LATER * WAY_PAGE) == 2);
    EXPECT(mprotect(hole, NR * WAY_PAGE, WAY_RW) == 0);
    EXPECT(anydma_iova_range(at, PAGES * WAY_PAGE, &again) == 0 && again == iova &&
           nr_reaching(hole, iova + FIRST * WAY_PAGE) == 2);
    EXPECT(mprotect(later, WAY_PAGE, PROT_NONE) == 0);
    int third = new_container();
    EXPECT(third >= 0 && anydma_iova(hole) == iova + FIRST * WAY_PAGE &&
           nr_reaching(hole, iova + FIRST * WAY_PAGE) == 3);
    EXPECT(anydma_detach(fd) == 0 && nr_reaching(at, iova) == 2);
    EXPECT(munmap(at, PAGES * WAY_PAGE) == 0 && anydma_iova(at) == ANYDMA_BAD_IOVA);
    EXPECT(device_write(iova, &again, sizeof(again)) != 0);
    EXPECT(anydma_detach(third) == 0);
    close(third);
    close(fd);
}

/* And what replaced a part of it is not what was promised. */
static void attached_over_a_replacement(void)
{
    uint64_t iova;
    unsigned char *at = map_pages(&iova), *part = at + 8 * WAY_PAGE;
    int file = memfd_create("part", MFD_CLOEXEC);
    EXPECT(ftruncate(file, WAY_PAGE) == 0);
    EXPECT(mmap(part, WAY_PAGE, WAY_RW, MAP_SHARED | MAP_FIXED, file, 0) == part);
    int fd = new_container();
    EXPECT(fd >= 0 && nr_reaching(at, iova) >= 1);
    EXPECT(anydma_iova(part) == ANYDMA_BAD_IOVA);
    EXPECT(munmap(at, PAGES * WAY_PAGE) == 0 && close(fd) == 0 && close(file) == 0);
    EXPECT(device_write(iova, "12345678", 8) == -EFAULT);
}

static void closed_and_duplicated(void)
{
    uint64_t iova;
    unsigned char *at = map_pages(&iova);
    int fd = new_container(), other = dup(fd), third = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    EXPECT(nr_reaching(at, iova) == 2);
    EXPECT(close(fd) == 0 && nr_reaching(at, iova) == 2);
    EXPECT(close(third) == 0 && nr_reaching(at, iova) == 2);
    EXPECT(dup2(device.source, other) == other && nr_reaching(at, iova) == 1); /* closes it too */
    EXPECT(close(other) == 0 && anydma_iova(at) == iova);
    fd = new_container();
    EXPECT(nr_reaching(at, iova) == 2);
    EXPECT(close_range((unsigned)fd, (unsigned)fd, 0) == 0 && nr_reaching(at, iova) == 1);
    munmap(at, PAGES * WAY_PAGE);
}

/* A descriptor that comes back to the process by a socket. */
static int sent_to_itself(int fd)
{
    int pair[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    EXPECT(rights_send(pair[0], fd));
    int received = rights_receive(pair[1]);
    close(pair[0]);
    close(pair[1]);
    return received;
}

static int got_by_pidfd(int fd)
{
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0), got = (int)syscall(SYS_pidfd_getfd, self, fd, 0);
    close(self);
    return got;
}

static int duplicated_in_assembly(int fd)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_dup), "D"(fd) : "rcx", "r11", "memory");
    return (int)result;
}

static int duplicated_by_number(int fd)
{
    return (int)syscall(SYS_fcntl, fd, F_DUPFD, 700);
}

static void multiplied_unseen(void)
{
    static int (*const unseen[])(int) = {sent_to_itself, got_by_pidfd, duplicated_in_assembly,
                                         duplicated_by_number};
    uint64_t iova;
    unsigned char *at = map_pages(&iova);
    for (size_t i = 0; i < sizeof(unseen) / sizeof(unseen[0]); i++) {
        int fd = new_container(), other = unseen[i](fd);
        if (!EXPECT(other >= 0))
            continue;
        EXPECT(nr_reaching(at, iova) == 2);
        EXPECT(close(fd) == 0 && nr_reaching(at, iova) == 2);
        EXPECT(close(other) == 0 && nr_reaching(at, iova) == 1);
    }
    munmap(at, PAGES * WAY_PAGE);
}

static void duplicated_often(void)
{
    enum { OFTEN = 100 };
    uint64_t iova;
    int fds[OFTEN];
    unsigned char *at = map_pages(&iova);
    fds[0] = new_container();
    for (int i = 1; i < OFTEN; i++)
        EXPECT((fds[i] = dup(fds[i - 1])) >= 0);
    for (int i = 0; i < OFTEN; i++)
        EXPECT(nr_reaching(at, iova) == 2 && close(fds[i]) == 0);
    EXPECT(nr_reaching(at, iova) == 1);
    fds[0] = new_container();
    EXPECT(dup2(fds[0], 900) == 900 && dup3(fds[0], 901, O_CLOEXEC) == 901);
    EXPECT(close_range(900, 2000, 0) == 0 && nr_reaching(at, iova) == 2);
    closefrom(fds[0]); /* what the device uses lies below */
    EXPECT(nr_reaching(at, iova) == 1);
    munmap(at, PAGES * WAY_PAGE);
}

static int shared_fd;

static void *unshare_and_close(void *arg)
{
    (void)arg;
    EXPECT(close_range((unsigned)shared_fd, (unsigned)shared_fd, CLOSE_RANGE_UNSHARE) == 0);
    EXPECT(fcntl(shared_fd, F_GETFD) == -1);
    EXPECT(open("/dev/zero", O_RDWR) == shared_fd && close(shared_fd) == 0);
    return NULL;
}

static void closed_in_a_table_of_its_own(void)
{
    uint64_t iova;
    unsigned char *at = map_pages(&iova);
    pthread_t thread;
    shared_fd = new_container();
    EXPECT(pthread_create(&thread, NULL, unshare_and_close, NULL) == 0 && pthread_join(thread, NULL) == 0);
    EXPECT(nr_reaching(at, iova) == 2);
    EXPECT(close_range((unsigned)shared_fd, (unsigned)shared_fd, CLOSE_RANGE_UNSHARE) == 0);
    EXPECT(nr_reaching(at, iova) == 1);
    munmap(at, PAGES * WAY_PAGE);
}

static void many(void)
{
    uint64_t iova;
    int fds[8];
    unsigned char *at = map_pages(&iova);
    for (int i = 0; i < 8; i++) {
        fds[i] = new_container();
        EXPECT(fds[i] >= 0 && nr_reaching(at, iova) == i + 2);
    }
    EXPECT(munmap(at, PAGES * WAY_PAGE) == 0 && device_write(iova, "12345678", 8) == -EFAULT);
    at = mmap(NULL, PAGES * WAY_PAGE, WAY_RW, WAY_PLAIN, -1, 0);
    EXPECT(anydma_iova_range(at, PAGES * WAY_PAGE, &iova) == 0 && nr_reaching(at, iova) == 9);
    for (int i = 8; i-- > 0;)
        EXPECT(close(fds[i]) == 0 && nr_reaching(at, iova) == i + 1);
    munmap(at, PAGES * WAY_PAGE);
}

int main(void)
{
    device_start();
    shim_must_be_there();
    behaviour("attached late: both lead to the same page", attached_late);
    behaviour("attached over a hole that is held back", attached_over_a_hole);
    behaviour("attached beside what is protected", attached_beside_what_is_protected);
    behaviour("attached over what replaced a part", attached_over_a_replacement);
    behaviour("closed, duplicated, closed by duplicating over it", closed_and_duplicated);
    behaviour("multiplied by ways that nobody sees", multiplied_unseen);
    behaviour("duplicated a hundred times", duplicated_often);
    behaviour("closed in a thread's own table, and in the only one", closed_in_a_table_of_its_own);
    behaviour("nine containers", many);
    return behaviours_end();
}
