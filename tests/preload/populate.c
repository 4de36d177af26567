/* SPDX-License-Identifier: MIT */
/*
 * Untouched memory is populated by several threads before it is registered, which the program does not notice. The program is run
 * again under a tracer (this one), which sees each thread as it begins.
 */
#include "expect.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define LEN (256 * MIB)

/* The number after `name` in a file like /proc/self/status. */
static unsigned long status_of(const char *path, const char *name, int base)
{
    char line[256];
    unsigned long value = 0;
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoul(line + strlen(name), NULL, base);
    if (file)
        fclose(file);
    return value;
}

/* --- the traced program ----------------------------------------------------------------------------------------------- */

/* A filter of which the shim does not know, for it was there before: no thread may begin. */
static void forbid_threads(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
        _exit(77);
}

/* Through the library's function, which is a door: from here on the shim knows of it. */
static void allow_everything(void)
{
    struct sock_filter filter[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
}

/* Status 0: everything of it is registered and as it was, and nobody else is there afterwards. */
static int be_the_program(const char *how)
{
    bool touches = strstr(how, "touched"), is_mapping = strstr(how, "mapping");
    if (strstr(how, "sandboxed"))
        allow_everything();
    char *memory = is_mapping ? mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                              : aligned_alloc(2 * MIB, LEN);
    for (size_t at = 0; touches && at < LEN; at += 4096)
        memory[at] = 1;
    memory[5] = 7;
    uint64_t iova;
    bool is_there = EXPECT(anydma_iova_range(memory, strstr(how, "small") ? 4 * MIB : LEN, &iova) == 0);
    EXPECT(unshare(CLONE_NEWUSER) == 0 || errno != EINVAL); /* a second thread forbids it */
    EXPECT(status_of("/proc/self/status", "Threads:", 10) == 1);
    EXPECT(memory[5] == 7 && memory[LEN / 2] == touches && memory[LEN - 4096] == touches);
    memory[LEN - 1] = 3;
    return !is_there || expect_failed;
}

/* --- the tracer ------------------------------------------------------------------------------------------------------- */

static unsigned nr_begun;
static bool all_deaf; /* every signal that can be blocked was, in each */

static void look_at_thread(pid_t tid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", tid);
    unsigned long blocked = status_of(path, "SigBlk:", 16);
    unsigned long can_be = ~(1ul << (SIGKILL - 1) | 1ul << (SIGSTOP - 1) | 1ul << (SIGSYS - 1));
    all_deaf &= (blocked & can_be) == can_be;
}

/* Runs until it ends, with each thread that begins counted. Returns its status as a shell has it. */
static int follow(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child)
        return -1;
    ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, child, 0, 0);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return -1;
        if (pid == child && (WIFEXITED(status) || WIFSIGNALED(status)))
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (!WIFSTOPPED(status))
            continue;
        int signal = WSTOPSIG(status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_CLONE << 8)) {
            unsigned long tid = 0;
            nr_begun++;
            if (ptrace(PTRACE_GETEVENTMSG, pid, 0, &tid) == 0)
                look_at_thread((pid_t)tid);
            signal = 0;
        } else if (signal == SIGSTOP || signal == SIGTRAP) {
            signal = 0;
        }
        ptrace(PTRACE_CONT, pid, 0, signal);
    }
}

static int run(const char *how, const char *threads)
{
    nr_begun = 0;
    all_deaf = true;
    pid_t child = fork();
    if (child == 0) {
        setenv("ANYDMA_THREADS", threads, 1);
        if (strstr(how, "one-core")) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(sched_getcpu(), &one);
            sched_setaffinity(0, sizeof(one), &one);
        }
        if (strstr(how, "forbidden"))
            forbid_threads();
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execl("/proc/self/exe", "populate", how, (char *)NULL);
        _exit(127);
    }
    int status = follow(child);
    if (status == 77)
        behaviour_shows_nothing = "no seccomp filter can be installed";
    return status == 77 ? 0 : status;
}

/* --- what it sees ------------------------------------------------------------------------------------------------------- */

static void untouched(void)
{
    EXPECT(run("heap", "3") == 0);
    EXPECT(nr_begun >= 2 && all_deaf);
}

static void by_one(void)
{
    EXPECT(run("heap", "1") == 0);
    EXPECT(nr_begun == 0);
    EXPECT(run("heap one-core", "auto") == 0);
    EXPECT(nr_begun == 0);
}

static void touched(void)
{
    EXPECT(run("heap touched", "3") == 0);
    EXPECT(nr_begun == 0);
}

static void small(void)
{
    EXPECT(run("heap small", "3") == 0);
    EXPECT(nr_begun == 0);
}

static void of_a_mapping(void)
{
    setenv("ANYDMA_THP", "never", 1);
    EXPECT(run("mapping", "2") == 0);
    EXPECT(nr_begun >= 1 && all_deaf);
    unsetenv("ANYDMA_THP");
}

static void forbidden(void)
{
    EXPECT(run("heap forbidden", "3") == 0);
    EXPECT(nr_begun == 0);
}

static void sandboxed(void)
{
    EXPECT(run("heap sandboxed", "3") == 0);
    EXPECT(behaviour_shows_nothing || nr_begun == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return be_the_program(argv[1]);
    shim_must_be_there();
    behaviour("untouched_memory_is_populated_by_several_threads_that_hear_no_signal_and_are_gone", untouched);
    behaviour("one_thread_does_it_where_one_is_asked_for_or_one_core_is_there", by_one);
    behaviour("touched_memory_needs_none", touched);
    behaviour("small_memory_needs_none", small);
    behaviour("an_untouched_mapping_is_populated_so_too", of_a_mapping);
    behaviour("where_no_thread_may_begin_one_does_it", forbidden);
    behaviour("a_program_that_filters_its_calls_gets_no_thread", sandboxed);
    return behaviours_end();
}
