/* SPDX-License-Identifier: MIT */
/*
 * Shared memory of a program that uses addresses as IOVAs and looks nothing up: on the word of ANYDMA_FOREIGN=trust eager mode
 * registers it as it is mapped, whatever it is of, and keeps up with what becomes of it. The device writes to the address
 * itself. routes_shared told: without that word, for the line that tells of it.
 * @env ANYDMA_IOMMU=sim ANYDMA_FOREIGN=trust
 */
#include "device.h"
#include "expect.h"
#include "hugetlb.h"
#include "judge.h"

#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PAGE = 4096, PAGES = 16, BYTES = PAGES * PAGE, HUGE = 2 << 20, RW = PROT_READ | PROT_WRITE };

/* Whether the device reaches each page of it by its address. */
static bool reaches(unsigned char *at, size_t len)
{
    bool all = at != MAP_FAILED;
    for (size_t i = 0; all && i < len; i += PAGE)
        all = device_reaches((volatile uint64_t *)(at + i), (uintptr_t)(at + i));
    return all;
}

static bool reaches_any(unsigned char *at, size_t len)
{
    uint64_t token = judge_next_token();
    bool any = false;
    for (size_t i = 0; i < len; i += PAGE)
        any |= device_write((uintptr_t)at + i, &token, sizeof(token)) == 0;
    return any;
}

static unsigned char *map(void *hint, size_t len, int prot, int flags, int fd)
{
    return mmap(hint, len, prot, MAP_SHARED | flags, fd, 0);
}

static unsigned char *map_anonymous(size_t len)
{
    return map(NULL, len, RW, MAP_ANONYMOUS, -1);
}

static int sized(int fd, off_t len)
{
    EXPECT(fd >= 0 && ftruncate(fd, len) == 0);
    return fd;
}

static int memfd(off_t len)
{
    return sized(memfd_create("shared", MFD_CLOEXEC), len);
}

/* --- before eager mode begins, which it does with the first MAP of the program's own at IOVA == address ----------------- */

static unsigned char *before;
static int container;

static int map_by_itself(void *at, size_t len)
{
    struct vfio_iommu_type1_dma_map map_it = {
        .argsz = sizeof(map_it), .flags = 3, .vaddr = (uintptr_t)at, .iova = (uintptr_t)at, .size = len};
    return ioctl(container, VFIO_IOMMU_MAP_DMA, &map_it);
}

static int unmap_by_itself(void *at, size_t len)
{
    struct vfio_iommu_type1_dma_unmap unmap_it = {
        .argsz = sizeof(unmap_it), .iova = (uintptr_t)at, .size = len};
    return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap_it);
}

static void mapped_before(void)
{
    before = map_anonymous(BYTES);
    unsigned char *own = map_anonymous(BYTES), *left = map_anonymous(BYTES);
    EXPECT(munmap(left, BYTES) == 0);
    container = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(container >= 0 && anydma_attach(container, 0) == 0);
    EXPECT(!reaches_any(before, BYTES));
    EXPECT(map_by_itself(own, BYTES) == 0);
    EXPECT(reaches(before, BYTES) && !reaches_any(left, BYTES));
    EXPECT(unmap_by_itself(own, BYTES) == 0);
    EXPECT(reaches(own, BYTES)); /* it is the program's memory like any other from here on */
    EXPECT(munmap(own, BYTES) == 0);
}

/* --- as it is mapped ---------------------------------------------------------------------------------------------------- */

static void of_each_kind(void)
{
    int fd = memfd(BYTES), named = shm_open("/anydma-routes-shared", O_RDWR | O_CREAT | O_EXCL, 0600);
    unsigned char *anonymous = map_anonymous(BYTES), *of_memfd = map(NULL, BYTES, RW, 0, fd);
    shm_unlink("/anydma-routes-shared");
    unsigned char *of_file = map(NULL, BYTES, RW, 0, sized(named, BYTES));
    EXPECT(reaches(anonymous, BYTES) && reaches(of_memfd, BYTES) && reaches(of_file, BYTES));
    unsigned char *again = map(NULL, BYTES, RW, 0, fd); /* the same pages at another address */
    EXPECT(reaches(again, BYTES) && again[8] == of_memfd[8]);
    EXPECT(munmap(anonymous, BYTES) == 0 && munmap(of_memfd, BYTES) == 0 && munmap(of_file, BYTES) == 0);
    EXPECT(reaches(again, BYTES) && !reaches_any(anonymous, BYTES) && !reaches_any(of_memfd, BYTES));
    EXPECT(munmap(again, BYTES) == 0 && close(fd) == 0 && close(named) == 0);
}

static void of_huge_pages(void)
{
    bool is_lent = hugetlb_lend(2);
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    unsigned char *at =
        fd >= 0 && ftruncate(fd, HUGE) == 0 ? map(NULL, HUGE, RW, MAP_POPULATE, fd) : MAP_FAILED;
    if (at == MAP_FAILED || fallocate(fd, 0, 0, HUGE) != 0)
        behaviour_shows_nothing = "there are none here";
    else
        EXPECT(reaches(at, HUGE));
    if (at != MAP_FAILED)
        EXPECT(munmap(at, HUGE) == 0 && !reaches_any(at, HUGE));
    close(fd);
    if (is_lent)
        hugetlb_lend(-2);
}

static void not_what_can_not_be_written(void)
{
    unsigned char *at = map(NULL, BYTES, PROT_READ, MAP_ANONYMOUS, -1);
    EXPECT(!reaches_any(at, BYTES));
    EXPECT(mprotect(at, BYTES / 2, RW) == 0);
    EXPECT(reaches(at, BYTES / 2) && !reaches_any(at + BYTES / 2, BYTES / 2));
    EXPECT(mprotect(at + BYTES / 2, BYTES / 2, RW) == 0 && reaches(at, BYTES));
    EXPECT(munmap(at, BYTES) == 0 && !reaches_any(at, BYTES));
}

static void moved_and_grown(void)
{
    unsigned char *at = map_anonymous(2 * BYTES), *other = map_anonymous(BYTES);
    EXPECT(mremap(at, 2 * BYTES, BYTES, 0) == at && reaches(at, BYTES));
    unsigned char *to = mremap(at, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, other);
    EXPECT(to == other && reaches(to, BYTES));
    EXPECT(munmap(to, BYTES) == 0 && !reaches_any(to, BYTES));
    int fd = memfd(4 * BYTES);
    at = map(NULL, BYTES, RW, 0, fd);
    to = mremap(at, BYTES, 4 * BYTES, MREMAP_MAYMOVE);
    EXPECT(reaches(to, 4 * BYTES));
    other = mremap(to, 0, 2 * BYTES, MREMAP_MAYMOVE); /* mapped once more */
    EXPECT(reaches(other, 2 * BYTES) && reaches(to, 4 * BYTES));
    EXPECT(munmap(to, 4 * BYTES) == 0 && munmap(other, 2 * BYTES) == 0 && close(fd) == 0);
}

static void mapped_over(void)
{
    int fd = memfd(BYTES);
    unsigned char *at = map_anonymous(BYTES);
    at[0] = 1;
    EXPECT(map(at, BYTES, RW, MAP_FIXED, fd) == at && at[0] == 0 && reaches(at, BYTES));
    EXPECT(mmap(at, BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at &&
           !reaches_any(at, BYTES));
    EXPECT(munmap(at, BYTES) == 0 && close(fd) == 0);
}

/* A part is unmapped, which stays registered, as its neighbours live: what is mapped next lies elsewhere. */
static void beside_a_hole(void)
{
    enum { NEXT = 64 }; /* there may be other gaps, which are filled first */
    unsigned char *at = map_anonymous(3 * BYTES), *next[NEXT];
    EXPECT(munmap(at + BYTES, BYTES) == 0);
    for (int i = 0; i < NEXT; i++)
        EXPECT(reaches(next[i] = map_anonymous(BYTES / 2), BYTES / 2));
    EXPECT(reaches(at, BYTES) && reaches(at + 2 * BYTES, BYTES));
    for (int i = 0; i < NEXT; i++)
        munmap(next[i], BYTES / 2);
    EXPECT(munmap(at, BYTES) == 0 && munmap(at + 2 * BYTES, BYTES) == 0 && !reaches_any(at, 3 * BYTES));
}

/* --- what becomes of its pages ------------------------------------------------------------------------------------------ */

static void kept_over_advice(void)
{
    unsigned char *at = map_anonymous(BYTES);
    memset(at, 7, BYTES);
    EXPECT(reaches(at, BYTES));
    memset(at, 7, BYTES);
    EXPECT(madvise(at, BYTES, MADV_DONTNEED) == 0);
    for (size_t i = 0; i < BYTES; i += PAGE)
        EXPECT(at[i] == 7); /* shared memory stays what it is */
    EXPECT(reaches(at, BYTES));
    EXPECT(munmap(at, BYTES) == 0);
}

static void taken_whole_and_given_back(void)
{
    int fd = memfd(BYTES);
    unsigned char *at = map(NULL, BYTES, RW, 0, fd);
    EXPECT(reaches(at, BYTES) && ftruncate(fd, 0) == 0 && !reaches_any(at, BYTES));
    EXPECT(ftruncate(fd, BYTES / 2) == 0);
    EXPECT(reaches(at, BYTES / 2) && !reaches_any(at + BYTES / 2, BYTES / 2));
    EXPECT(fallocate(fd, 0, 0, BYTES) == 0 && reaches(at, BYTES));
    EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BYTES) == 0 && reaches(at, BYTES));
    EXPECT(madvise(at, BYTES, MADV_REMOVE) == 0 && reaches(at, BYTES));
    EXPECT(munmap(at, BYTES) == 0 && close(fd) == 0);
}

/* A file that is shorter than its mapping. */
static void longer_than_its_file(void)
{
    int fd = memfd(0);
    unsigned char *at = map(NULL, BYTES, RW, 0, fd);
    EXPECT(at != MAP_FAILED && !reaches_any(at, BYTES));
    for (size_t pages = 1; pages <= PAGES; pages += 3)
        EXPECT(ftruncate(fd, (off_t)(pages * PAGE - 100)) == 0 && reaches(at, pages * PAGE));
    EXPECT(munmap(at, BYTES) == 0 && close(fd) == 0);
}

/* The program that maps the same itself gets what it asks for, and has it for as long as it wants. */
static void beside_mappings_of_its_own(void)
{
    unsigned char *at = map_anonymous(2 * BYTES);
    EXPECT(map_by_itself(at, BYTES) == 0 && reaches(at, 2 * BYTES));
    EXPECT(unmap_by_itself(at, BYTES) == 0 && reaches(at, 2 * BYTES));
    EXPECT(munmap(at, 2 * BYTES) == 0 && !reaches_any(at, 2 * BYTES));
}

static void with_another_container(void)
{
    unsigned char *at = map_anonymous(BYTES);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(anydma_attach(fd, 0) == 0);
    device.nth = 1;
    EXPECT(reaches(at, BYTES) && reaches(before, BYTES));
    device.nth = 0;
    EXPECT(close(fd) == 0 && reaches(at, BYTES));
    EXPECT(munmap(at, BYTES) == 0);
}

/* Threads that map and unmap what the kernel puts at the same addresses again and again. */
enum { THREADS = 3, ROUNDS = 300 };
static _Atomic unsigned nr_missed;

static void *map_and_unmap(void *arg)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t len = (1 + i % 4) * PAGE;
        unsigned char *at = map_anonymous(len);
        nr_missed += !reaches(at, len);
        nr_missed += munmap(at, len) != 0;
    }
    return arg;
}

static void beside_other_threads(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, map_and_unmap, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(nr_missed == 0);
}

/* --- for eager_limits.sh: only what is told ------------------------------------------------------------------------------- */

static int told(const char *what)
{
    unsigned char *place = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = memfd(BYTES), nr = 0;
    if (!strcmp(what, "own"))
        mapped_before();
    else if (!strcmp(what, "memfd"))
        nr += reaches(map(NULL, BYTES, RW, 0, fd), BYTES);
    else if (!strcmp(what, "place"))
        nr += reaches(map(place, BYTES, RW, MAP_FIXED, fd), BYTES);
    else if (!strcmp(what, "file"))
        nr += reaches(map(NULL, BYTES, RW, 0, sized(shm_open("/anydma-told", O_RDWR | O_CREAT, 0600), BYTES)),
                      BYTES);
    else
        for (int i = 0; i < 40; i++) {
            unsigned char *at = map_anonymous(1 << 20);
            nr += at != MAP_FAILED;
            EXPECT(at == MAP_FAILED ? errno == ENOMEM : reaches(at, 1 << 20) || !getenv("ANYDMA_ON_LIMIT"));
        }
    if (!strcmp(what, "part")) {
        unsigned char *at = map(NULL, BYTES, RW, 0, fd);
        nr = reaches(at, BYTES) && ftruncate(fd, BYTES / 2) == 0 && ftruncate(fd, BYTES) == 0 &&
             !reaches(at, BYTES);
    }
    shm_unlink("/anydma-told");
    printf("shared=%d\n", nr);
    return expect_failed;
}

int main(int argc, char **argv)
{
    device_start();
    if (argc > 1)
        return told(argv[1]);
    behaviour("what was mapped before eager mode began is registered when it does", mapped_before);
    behaviour("shared memory of each kind is registered as it is mapped, at each of its addresses",
              of_each_kind);
    behaviour("so are huge pages", of_huge_pages);
    behaviour("what can't be written is not, and is when it can", not_what_can_not_be_written);
    behaviour("it is where it has moved to, and grown", moved_and_grown);
    behaviour("what is mapped over other memory is the registered one", mapped_over);
    behaviour("the kernel's choice is never a hole of a live registration", beside_a_hole);
    behaviour("advice leaves its contents alone", kept_over_advice);
    behaviour("pages that were taken from all of it are registered anew", taken_whole_and_given_back);
    behaviour("what lies behind the end of its file is registered when it is there", longer_than_its_file);
    behaviour("the program may map it itself, and unmap it", beside_mappings_of_its_own);
    behaviour("another container has it, too", with_another_container);
    behaviour("threads get no address that another is leaving", beside_other_threads);
    shim_must_be_there();
    return behaviours_end();
}
