/* SPDX-License-Identifier: MIT */
/*
 * A program in a sandbox makes the system calls that its filter allows, and the shim adds none: not when it allocates, maps,
 * or ends. The filters allow what the C library itself needs for that.
 */
#include "expect.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { NO_FILTER = 3, MIB = 1 << 20 };

/* glibc's malloc, stdio's last flush, the calls below, and the handler's return. */
static const int allowed[] = {SYS_brk,      SYS_mmap,       SYS_munmap,      SYS_mremap,
                              SYS_mprotect, SYS_madvise,    SYS_futex,       SYS_exit_group,
                              SYS_write,    SYS_newfstatat, SYS_rt_sigreturn};

/* Everything else has the consequence. */
static void enter_sandbox(unsigned consequence)
{
    enum { NR = sizeof(allowed) / sizeof(allowed[0]) };
    struct sock_filter filter[NR + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        [NR + 1] = BPF_STMT(BPF_RET | BPF_K, consequence),
        [NR + 2] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    for (int i = 0; i < NR; i++)
        filter[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i],
                                                     (unsigned char)(NR - i), 0);
    struct sock_fprog program = {NR + 3, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(NO_FILTER);
}

/* Of madvise, too, only what the program itself asks for, and the simulated IOMMU instead of the kernel; and no mincore. */
static void forbid_other_advice(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mincore, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_POPULATE_WRITE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(NO_FILTER);
}

static void on_forbidden_call(int number, siginfo_t *info, void *context)
{
    char text[] = "system call 000\n";
    for (int i = 0, rest = info->si_syscall; i < 3; i++, rest /= 10)
        text[14 - i] = (char)('0' + rest % 10);
    (void)!write(2, text, sizeof(text) - 1);
    _exit(1);
}

static void work(void)
{
    for (size_t i = 0; i < 3000; i++) {
        void *one = malloc(i * 100), *other = realloc(malloc(i), i * 7 + 1);
        free(one);
        free(other);
    }
    for (size_t size = MIB; size <= 64 * MIB; size *= 2)
        free(malloc(size));
    char *mapping = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mapping = mremap(mapping, MIB, 2 * MIB, MREMAP_MAYMOVE);
    mapping[MIB] = 1;
    mapping[0] = mapping[4096] = 1;
    mprotect(mapping, 4096, PROT_READ);
    madvise(mapping, 8192, MADV_DONTNEED);
    if (mapping[0] || mapping[4096])
        _exit(4);
    munmap(mapping, 2 * MIB);
}

static void purge_what_is_registered(void)
{
    char *mapping = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t iova = anydma_iova(mapping);
    mapping[0] = mapping[4096] = 1;
    forbid_other_advice();
    if (iova == ANYDMA_BAD_IOVA || madvise(mapping, 8192, MADV_DONTNEED) != 0)
        _exit(5);
    if (mapping[0] || mapping[4096] || anydma_iova(mapping) != iova)
        _exit(6);
}

/* Whole blocks, which are made huge pages elsewhere. */
static void look_up_mapping(void)
{
    const size_t len = 4 * MIB;
    anydma_iova(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    char *mapping = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t iova;
    forbid_other_advice();
    if (anydma_iova_range(mapping, len, &iova) != 0)
        _exit(7);
}

/* This program anew, as `self` with the argument. Returns its status as a shell has it. */
static int run_self(const char *argument)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        execle("/proc/self/exe", "seccomp", argument, (char *)NULL, environ);
        _exit(127);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void it_allocates_and_ends(void)
{
    EXPECT(run_self("ends") == 0);
    setenv("ANYDMA_MODE", "eager", 1);
    EXPECT(run_self("ends") == 0);
    unsetenv("ANYDMA_MODE");
}

static void it_purges_what_is_registered(void)
{
    EXPECT(run_self("purges") == 0);
}

static void it_looks_up_a_mapping(void)
{
    EXPECT(run_self("looks") == 0);
    setenv("ANYDMA_THP", "always", 1);
    EXPECT(run_self("looks") == 0);
    unsetenv("ANYDMA_THP");
}

static void it_has_signal_handlers(void)
{
    EXPECT(run_self("handles") == 0);
    setenv("ANYDMA_MODE", "eager", 1);
    EXPECT(run_self("handles") == 0);
    unsetenv("ANYDMA_MODE");
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "purges")) {
        purge_what_is_registered();
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "looks")) {
        look_up_mapping();
        return 0;
    }
    if (argc > 1) {
        bool handles = strcmp(argv[1], "handles") == 0;
        struct sigaction action = {.sa_sigaction = on_forbidden_call, .sa_flags = SA_SIGINFO};
        if (handles)
            sigaction(SIGSYS, &action, NULL);
        free(malloc(1)); /* glibc's first asks for random bytes */
        enter_sandbox(handles ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS);
        work();
        return 0;
    }
    shim_must_be_there();
    if (run_self("ends") == NO_FILTER) {
        puts("this kernel takes no seccomp filter");
        return 77;
    }
    behaviour("it allocates and ends", it_allocates_and_ends);
    behaviour("it has signal handlers", it_has_signal_handlers);
    behaviour("it purges what is registered", it_purges_what_is_registered);
    behaviour("it looks up a mapping", it_looks_up_a_mapping);
    return behaviours_end();
}
