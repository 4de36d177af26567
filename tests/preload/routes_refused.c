/* SPDX-License-Identifier: MIT */
/*
 * Memory that the kernel gives no way to watch is refused, before and after its pages were taken away. With
 * ANYDMA_FOREIGN=trust (this program starts itself again so) it is registered on the program's word, and what
 * leaves through the doors is noticed all the same.
 */
#include "device.h"
#include "expect.h"
#include "hugetlb.h"
#include "judge.h"
#include "ways.h"

#include <sys/stat.h>
#include <sys/wait.h>

enum { BYTES = 16 * 4096, HUGE_PAGES = 4 };

static unsigned char data[2 * BYTES] = {1}; /* .data, not .bss */

/* --- kinds of memory: each maps BYTES, or gives MAP_FAILED where there is none -------------------- */

static int sized_file(int fd)
{
    return fd >= 0 && ftruncate(fd, BYTES) == 0 ? fd : -1;
}

static void *map_fd(int fd, int flags)
{
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, BYTES, WAY_RW, flags, fd, 0);
    if (fd >= 0)
        close(fd);
    return at;
}

static int disk_file(void)
{
    char path[] = "./routes_refused.XXXXXX";
    int fd = mkstemp(path);
    if (fd >= 0)
        unlink(path);
    return sized_file(fd);
}

static int posix_shm(void)
{
    int fd = shm_open("/anydma-routes", O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0)
        shm_unlink("/anydma-routes");
    return sized_file(fd);
}

static void *map_sysv(void)
{
    int id = shmget(IPC_PRIVATE, BYTES, IPC_CREAT | 0600);
    void *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return at == (void *)-1 ? MAP_FAILED : at;
}

static void *map_kind(int kind)
{
    switch (kind) {
    case 0:
        return map_sysv();
    case 1:
        return map_fd(posix_shm(), MAP_SHARED);
    case 2:
        return map_fd(sized_file(memfd_create("m", MFD_CLOEXEC)), MAP_SHARED);
    case 3:
        return map_fd(sized_file(memfd_create("m", MFD_CLOEXEC)), MAP_PRIVATE);
    case 4:
        return map_fd(disk_file(), MAP_SHARED);
    case 5:
        return map_fd(disk_file(), MAP_PRIVATE);
    case 6:
        return mmap(NULL, BYTES, WAY_RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    case 7:
        return mmap(NULL, 2 << 20, WAY_RW, WAY_PLAIN | MAP_HUGETLB, -1, 0);
    default:
        return (void *)(((uintptr_t)data + 4095) & ~(uintptr_t)4095);
    }
}

static const char *const kinds[] = {
    "System V shared memory",  "POSIX shared memory",     "a shared memfd",
    "a private memfd",         "a shared file",           "a private file",
    "shared anonymous memory", "huge pages of hugetlbfs", "the program's .data"};
enum { NR_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* --- refused -------------------------------------------------------------------------------------- */

static void say(bool is_ok, const char *name, const char *text)
{
    printf("%s - %s: %s\n", is_ok ? "ok" : "not ok", name, text);
    behaviours_failed += !is_ok;
    behaviours_told++;
}

static void refuse_kind(int kind)
{
    unsigned char *at = map_kind(kind);
    if (at == MAP_FAILED) {
        say(true, kinds[kind], "skipped, there is none here");
        return;
    }
    at[0] = 1;
    errno = 0;
    bool is_refused = anydma_iova(at) == ANYDMA_BAD_IOVA && errno == EOPNOTSUPP;
    madvise(at, BYTES, MADV_DONTNEED);
    at[0] = 2;
    is_refused &= anydma_iova(at) == ANYDMA_BAD_IOVA && errno == EOPNOTSUPP;
    say(is_refused, kinds[kind], "refused (EOPNOTSUPP)");
}

static void refuse_what_cant_be_written(void)
{
    unsigned char *at = mmap(NULL, BYTES, PROT_READ, WAY_PLAIN, -1, 0);
    say(anydma_iova(at) == ANYDMA_BAD_IOVA && errno == EFAULT, "read-only memory", "refused (EFAULT)");
    say(anydma_iova(NULL) == ANYDMA_BAD_IOVA && errno == EFAULT, "nothing mapped", "refused (EFAULT)");
    say(anydma_iova("text") == ANYDMA_BAD_IOVA && errno == EFAULT, "a string constant", "refused (EFAULT)");
}

static void run_with(const char *policy)
{
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setenv("ANYDMA_FOREIGN", policy, 1);
        execl("/proc/self/exe", "routes_refused", policy, (char *)NULL);
        _exit(1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        behaviours_failed++;
}

/* --- trusted -------------------------------------------------------------------------------------- */

/* Whether the device still reaches what was at `before`. */
static bool is_still_mapped(uint64_t before)
{
    return device_write(before, "12345678", 8) == 0;
}

static void trust_kind(int kind)
{
    unsigned char *at = map_kind(kind), *again;
    bool is_file_on_disk = kind == 4; /* can't be pinned for the long term */
    if (at == MAP_FAILED || is_file_on_disk) {
        say(true, kinds[kind], "skipped");
        return;
    }
    at[0] = 1;
    uint64_t before = anydma_iova(at);
    bool is_good = before != ANYDMA_BAD_IOVA && device_reaches((void *)at, before);
    if (kind == 8) {
        say(is_good, kinds[kind], "trusted");
        return;
    }
    is_good &= kind == 0 ? shmdt(at) == 0 : munmap(at, kind == 7 ? 2 << 20 : BYTES) == 0;
    if (is_still_mapped(before)) {
        is_good = false;
        printf("STALE: %s is still mapped\n", kinds[kind]);
    }
    again = map_kind(kind);
    again[0] = 1;
    struct judged judged = judge(again, ANYDMA_BAD_IOVA);
    if (judged.verdict == STALE)
        printf("STALE: %s, mapped again\n", kinds[kind]);
    say(is_good && judged.verdict == FRESH, kinds[kind], "trusted: unregistered as it is unmapped");
}

/* ANYDMA_FOREIGN=refuse: nothing foreign at all. */
static void refuse_everything(void)
{
    unsigned char on_stack[64];
    void *hidden = by_instruction.map(NULL, BYTES, WAY_RW, WAY_PLAIN, -1);
    say(anydma_iova(hidden) == ANYDMA_BAD_IOVA && errno == EOPNOTSUPP &&
            anydma_iova(on_stack) == ANYDMA_BAD_IOVA && errno == EOPNOTSUPP,
        "ANYDMA_FOREIGN=refuse, a stack and a mapping unseen", "refused (EOPNOTSUPP)");
}

int main(int argc, char **argv)
{
    device_start();
    shim_must_be_there();
    if (argc > 1 && !strcmp(argv[1], "refuse"))
        refuse_everything();
    bool is_lent = hugetlb_lend(HUGE_PAGES);
    for (int kind = 0; kind < NR_KINDS; kind++) {
        if (argc == 1)
            refuse_kind(kind);
        else if (!strcmp(argv[1], "trust"))
            trust_kind(kind);
    }
    if (is_lent)
        hugetlb_lend(-HUGE_PAGES);
    if (argc == 1) {
        refuse_what_cant_be_written();
        run_with("trust");
        run_with("refuse");
    }
    return behaviours_end();
}
