/* SPDX-License-Identifier: MIT */
/*
 * A program that fills missing pages itself (userfaultfd), in memory that eager mode has registered: each page that it has not
 * written is missing, and missing again after a purge; what it has written stays. What was looked up before stays what it is.
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 */
#include "expect.h"
#include "mapped.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, LEN = 4 * PAGE, RW = PROT_READ | PROT_WRITE, USER_MODE_ONLY = 1 };

static int fd;
static atomic_int nr_filled;

static void *fill(void *arg)
{
    static char nines[PAGE] __attribute__((aligned(PAGE)));
    struct uffd_msg message;
    memset(nines, 9, PAGE);
    while (read(fd, &message, sizeof(message)) == sizeof(message)) {
        struct uffdio_copy copy = {message.arg.pagefault.address & ~(uint64_t)(PAGE - 1), (uintptr_t)nines,
                                   PAGE, 0, 0};
        atomic_fetch_add(&nr_filled, 1);
        if (ioctl(fd, UFFDIO_COPY, &copy) != 0)
            perror("UFFDIO_COPY");
    }
    return arg;
}

static int open_watch(void)
{
    int got = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    return got < 0 ? (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY) : got;
}

static int watch(char *at, size_t len)
{
    struct uffdio_register missing = {{(uintptr_t)at, len}, UFFDIO_REGISTER_MODE_MISSING, 0};
    return ioctl(fd, UFFDIO_REGISTER, &missing);
}

static char *map(void)
{
    char *at = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(!mapped_hole(at, LEN));
    return at;
}

static void pages_never_written_are_missing(void)
{
    char *at = map();
    at[PAGE] = 7;
    int before = nr_filled;
    EXPECT(watch(at, LEN) == 0);
    EXPECT(*(volatile char *)at == 9 && at[PAGE] == 7 && at[3 * PAGE] == 9 && nr_filled == before + 2);
    munmap(at, LEN);
}

static void purged_pages_are_missing(void)
{
    char *at = map();
    memset(at, 7, LEN);
    int before = nr_filled;
    EXPECT(watch(at, LEN) == 0 && at[PAGE] == 7 && nr_filled == before);
    EXPECT(madvise(at, 2 * PAGE, MADV_DONTNEED) == 0);
    EXPECT(*(volatile char *)at == 9 && at[PAGE] == 9 && at[2 * PAGE] == 7 && nr_filled == before + 2);
    errno = 0;
    EXPECT(anydma_iova(at) == ANYDMA_BAD_IOVA && errno == EOPNOTSUPP);
    munmap(at, LEN);
}

static void a_watch_that_is_refused_gives_up_nothing(void)
{
    char *at = map();
    memset(at, 7, LEN);
    EXPECT(munmap(at + 3 * PAGE, PAGE) == 0);
    EXPECT(watch(at + 3 * PAGE, PAGE) == -1 && watch(at, 100) == -1);
    EXPECT(!mapped_hole(at, 3 * PAGE) && *at == 7 && anydma_iova(at) == (uintptr_t)at);
    munmap(at, LEN);
}

static void what_was_looked_up_stays(void)
{
    char *at = map();
    memset(at, 7, LEN);
    EXPECT(anydma_iova(at) == (uintptr_t)at && watch(at, LEN) == 0);
    EXPECT(madvise(at, LEN, MADV_DONTNEED) == 0 && *at == 0);
    EXPECT(anydma_iova(at) == (uintptr_t)at && !mapped_hole(at, LEN));
    munmap(at, LEN);
}

/* Nobody reads what the kernel tells yet. */
static void a_program_that_is_told_of_purges_does_not_wait(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
    int told = open_watch(), pages = fd;
    if (ioctl(told, UFFDIO_API, &api) != 0) {
        close(told);
        return; /* for the privileged */
    }
    fd = told;
    char *at = map();
    *at = 7;
    EXPECT(watch(at, LEN) == 0 && *at == 7);
    struct uffdio_zeropage zero = {{(uintptr_t)at + PAGE, PAGE}, 0, 0};
    EXPECT(ioctl(told, UFFDIO_ZEROPAGE, &zero) == 0);
    close(told);
    fd = pages;
    munmap(at, LEN);
}

int main(void)
{
    pthread_t thread;
    struct uffdio_api api = {.api = UFFD_API};
    shim_must_be_there();
    fd = open_watch();
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0) {
        puts("skip - userfaultfd is not permitted here");
        return 77;
    }
    pthread_create(&thread, NULL, fill, NULL);
    behaviour("pages_never_written_are_missing", pages_never_written_are_missing);
    behaviour("purged_pages_are_missing", purged_pages_are_missing);
    behaviour("a_watch_that_is_refused_gives_up_nothing", a_watch_that_is_refused_gives_up_nothing);
    behaviour("what_was_looked_up_stays", what_was_looked_up_stays);
    behaviour("a_program_that_is_told_of_purges_does_not_wait",
              a_program_that_is_told_of_purges_does_not_wait);
    return behaviours_end();
}
