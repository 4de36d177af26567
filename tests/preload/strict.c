/* SPDX-License-Identifier: MIT */
/*
 * ANYDMA_STRICT: what the program does to the arena's memory by instructions of its own is seen, in every thread and child that
 * can be reached, and its signals, stacks, forks and jumps are as without it. This program starts itself anew for what ends it.
 * @env ANYDMA_IOMMU=sim ANYDMA_STRICT=1
 */
#include "expect.h"
#include "worlds.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <ucontext.h>

extern char **environ;

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

enum { NOT_SEEN = 9 };

/* A page that was looked up is unmapped by an instruction: a lookup that answers then is stale. */
static bool is_seen(void)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool is_known = page != MAP_FAILED && anydma_iova(page) != ANYDMA_BAD_IOVA;
    bool is_unmapped = raw_call(SYS_munmap, (long)page, PAGE, 0, 0, 0, 0) == 0;
    return is_known && is_unmapped && anydma_iova(page) == ANYDMA_BAD_IOVA;
}

static long raw(long number, long a, long b, long c, long d)
{
    return raw_call(number, a, b, c, d, 0, 0);
}

/* --- results -------------------------------------------------------------------------------------------------------- */

static void calls(void)
{
    char text[4] = "";
    int ends[2];
    EXPECT(is_seen());
    EXPECT(raw(SYS_getpid, 0, 0, 0, 0) == getpid());
    EXPECT(raw(SYS_pipe2, (long)ends, 0, 0, 0) == 0);
    EXPECT(raw(SYS_write, ends[1], (long)"abc", 4, 0) == 4 && raw(SYS_read, ends[0], (long)text, 4, 0) == 4);
    EXPECT(!strcmp(text, "abc"));
    errno = 77;
    EXPECT(raw(SYS_munmap, 1, 1, 0, 0) == -EINVAL && raw(SYS_write, ends[1], 1, 1, 0) == -EFAULT);
    EXPECT(raw(SYS_close, ends[0], 0, 0, 0) == 0 && raw(SYS_close, ends[0], 0, 0, 0) == -EBADF);
    EXPECT(errno == 77);
    close(ends[1]);
}

/* A call leaves every register but three as it was, the vector registers, and what lies below the stack pointer. */
static void registers(void)
{
    long below = 0, result;
    double kept = 0, one = 1.5;
    __asm__ volatile("movq %[one], %%xmm7\n\t"
                     "movq $4711, -128(%%rsp)\n\t"
                     "syscall\n\t"
                     "movq -128(%%rsp), %[below]\n\t"
                     "movq %%xmm7, %[kept]\n\t"
                     : "=a"(result), [below] "=&r"(below), [kept] "=&x"(kept)
                     : "0"((long)SYS_getppid), [one] "x"(one)
                     : "rcx", "r11", "xmm7", "memory");
    EXPECT(result == getppid() && below == 4711 && kept == one);
}

/* --- signals ---------------------------------------------------------------------------------------------------------- */

static void masks(void)
{
    uint64_t all = UINT64_MAX, before = 0, now = 0;
    sigset_t everything, old;
    EXPECT(raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, 8) == 0);
    EXPECT(raw(SYS_rt_sigprocmask, SIG_SETMASK, 0, (long)&now, 8) == 0);
    EXPECT(!(before & 1u << (SIGUSR1 - 1)) && now & 1u << (SIGUSR1 - 1));
    EXPECT(is_seen());
    EXPECT(raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, 8) == 0);
    sigfillset(&everything);
    EXPECT(sigprocmask(SIG_SETMASK, &everything, &old) == 0 && !sigismember(&old, SIGUSR1) && is_seen());
    EXPECT(pthread_sigmask(SIG_BLOCK, &everything, NULL) == 0 && is_seen());
    EXPECT(sigprocmask(SIG_SETMASK, &old, NULL) == 0 && is_seen());
}

static volatile sig_atomic_t was_seen, nr_signals, last_code;
static sigjmp_buf back;

static void look(int number)
{
    was_seen = is_seen();
    nr_signals++;
}

static void look_and_jump(int number)
{
    look(number);
    siglongjmp(back, 1);
}

/* libc's syscall() blocks it as well as any. */
static void masks_by_number(void)
{
    uint64_t all = UINT64_MAX, before = 0;
    EXPECT(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8) == 0 && is_seen());
    EXPECT(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8) == 0 && is_seen());
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigfillset(&action.sa_mask); /* SIGSYS, too */
    EXPECT(sigaction(number, &action, NULL) == 0);
}

static void handlers(void)
{
    handle(SIGUSR1, look, SA_ONSTACK);
    was_seen = nr_signals = 0;
    EXPECT(raw(SYS_tgkill, getpid(), raw(SYS_gettid, 0, 0, 0, 0), SIGUSR1, 0) == 0);
    EXPECT(nr_signals == 1 && was_seen && is_seen());
}

/* A handler that comes while a call waits has what that blocks, as well. */
static void waits(void)
{
    sigset_t all_others, before;
    struct timespec long_enough = {.tv_sec = 20};
    sigfillset(&all_others);
    sigdelset(&all_others, SIGUSR1);
    handle(SIGUSR1, look, 0);
    for (int i = 0; i < 5; i++) {
        int epoll = epoll_create1(0), result = 0;
        was_seen = 0;
        EXPECT(sigprocmask(SIG_BLOCK, &(sigset_t){{1u << (SIGUSR1 - 1)}}, &before) == 0 &&
               raise(SIGUSR1) == 0 && !was_seen);
        switch (i) {
        case 0:
            result = ppoll(NULL, 0, &long_enough, &all_others);
            break;
        case 1:
            result = pselect(0, NULL, NULL, NULL, &long_enough, &all_others);
            break;
        case 2:
            result = epoll_pwait(epoll, &(struct epoll_event){0}, 1, 20000, &all_others);
            break;
        case 3:
            result = sigsuspend(&all_others);
            break;
        default:
            result = (int)raw_call(SYS_ppoll, 0, 0, (long)&long_enough, (long)&all_others, 8, 0);
            break;
        }
        EXPECT((result == -1 || result == -EINTR) && was_seen);
        EXPECT(sigprocmask(SIG_SETMASK, &before, NULL) == 0 && is_seen());
        close(epoll);
    }
}

/* Out of a call that blocks, made by an instruction, and out of one that is begun anew. */
static void jumps(void)
{
    int ends[2];
    char byte;
    EXPECT(pipe(ends) == 0);
    for (int i = 0; i < 20; i++) {
        struct itimerval soon = {.it_value.tv_usec = 1000};
        handle(SIGALRM, look_and_jump, i % 2 ? SA_RESTART : 0);
        was_seen = 0;
        if (sigsetjmp(back, 1) == 0) {
            setitimer(ITIMER_REAL, &soon, NULL);
            raw(SYS_read, ends[0], (long)&byte, 1, 0);
            EXPECT(!"the read ended");
        }
        EXPECT(was_seen && is_seen());
    }
    handle(SIGALRM, look, 0);
    struct itimerval soon = {.it_value.tv_usec = 1000};
    setitimer(ITIMER_REAL, &soon, NULL);
    EXPECT(raw(SYS_read, ends[0], (long)&byte, 1, 0) == -EINTR);
    close(ends[0]);
    close(ends[1]);
}

static void note_code(int number, siginfo_t *info, void *context)
{
    last_code = info->si_code;
    was_seen = is_seen();
}

/* The program's own handler for SIGSYS hears of what is sent, and of no call; asked, it is the one that is told of. */
static void sigsys(void)
{
    struct sigaction action = {.sa_sigaction = note_code, .sa_flags = SA_SIGINFO}, told;
    EXPECT(sigaction(SIGSYS, NULL, &told) == 0 && told.sa_handler == SIG_DFL);
    EXPECT(sigaction(SIGSYS, &action, NULL) == 0);
    EXPECT(sigaction(SIGSYS, NULL, &told) == 0 && told.sa_sigaction == note_code);
    last_code = 1234;
    EXPECT(is_seen() && last_code == 1234);
    EXPECT(raise(SIGSYS) == 0 && last_code == SI_TKILL && was_seen && is_seen());
    action.sa_handler = SIG_IGN;
    EXPECT(sigaction(SIGSYS, &action, NULL) == 0 && raise(SIGSYS) == 0 && is_seen());
    EXPECT(signal(SIGSYS, SIG_DFL) == SIG_IGN && is_seen());
    EXPECT(sigaction(SIGSYS, NULL, &told) == 0 && told.sa_handler == SIG_DFL && is_seen());
}

static void on_two_stacks(int number)
{
    stack_t other = {.ss_sp = &other, .ss_size = 1 << 16};
    was_seen = is_seen() && raw(SYS_sigaltstack, (long)&other, 0, 0, 0) == -EPERM; /* it stands on it */
}

static void stacks(void)
{
    static char one[1 << 16], two[1 << 16];
    stack_t stack = {.ss_sp = one, .ss_size = sizeof(one)}, old = {.ss_flags = 99},
            none = {.ss_flags = SS_DISABLE};
    stack_t bad = {.ss_sp = two, .ss_size = sizeof(two), .ss_flags = 7},
            small = {.ss_sp = two, .ss_size = 16};
    EXPECT(raw(SYS_sigaltstack, (long)&stack, (long)&old, 0, 0) == 0 && old.ss_flags == SS_DISABLE);
    handle(SIGUSR2, on_two_stacks, SA_ONSTACK);
    was_seen = 0;
    EXPECT(raise(SIGUSR2) == 0 && was_seen);
    stack.ss_sp = two;
    EXPECT(raw(SYS_sigaltstack, (long)&bad, 0, 0, 0) == -EINVAL &&
           raw(SYS_sigaltstack, (long)&small, 0, 0, 0) == -ENOMEM);
    EXPECT(raw(SYS_sigaltstack, 1, 0, 0, 0) == -EFAULT);
    EXPECT(raw(SYS_sigaltstack, (long)&stack, (long)&old, 0, 0) == 0 && old.ss_sp == one && !old.ss_flags);
    EXPECT(sigaltstack(NULL, &old) == 0 && old.ss_sp == two && old.ss_size == sizeof(two));
    EXPECT(raise(SIGUSR2) == 0 && was_seen && is_seen());
    EXPECT(raw(SYS_sigaltstack, (long)&none, 0, 0, 0) == 0 && sigaltstack(NULL, &old) == 0);
    EXPECT(old.ss_flags == SS_DISABLE && is_seen());
}

/* A handler that returns to the kernel by an instruction of the program's. */
void return_by_instruction(void);
__asm__(".text\nreturn_by_instruction:\n\tmov $15, %eax\n\tsyscall\n\thlt\n");

static void returns(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {look, 0x04000000 /* SA_RESTORER */, return_by_instruction, 1u << (SIGUSR2 - 1)};
    uint64_t before = 0, after = 0;
    EXPECT(raw(SYS_rt_sigaction, SIGUSR1, (long)&action, 0, 8) == 0);
    raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&before, 8);
    was_seen = nr_signals = 0;
    EXPECT(raise(SIGUSR1) == 0 && nr_signals == 1 && was_seen);
    raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&after, 8);
    EXPECT(before == after && is_seen());
}

/* --- threads and children ---------------------------------------------------------------------------------------------- */

static void *is_seen_in_thread(void *arg)
{
    return is_seen() && arg == &back ? arg : NULL;
}

static int is_seen_in_c11(void *arg)
{
    return is_seen() && arg == &back;
}

static void threads(void)
{
    pthread_t thread;
    thrd_t other;
    void *result = NULL;
    int value = 0;
    EXPECT(pthread_create(&thread, NULL, is_seen_in_thread, &back) == 0 &&
           pthread_join(thread, &result) == 0);
    EXPECT(result == &back);
    EXPECT(thrd_create(&other, is_seen_in_c11, &back) == thrd_success &&
           thrd_join(other, &value) == thrd_success);
    EXPECT(value == 1);
}

/* A thread may be begun with a mask. */
static void masked_thread(void)
{
    pthread_attr_t attributes;
    sigset_t everything;
    pthread_t thread;
    void *result = NULL;
    sigfillset(&everything);
    EXPECT(pthread_attr_init(&attributes) == 0 && pthread_attr_setsigmask_np(&attributes, &everything) == 0);
    EXPECT(pthread_create(&thread, &attributes, is_seen_in_thread, &back) == 0 &&
           pthread_join(thread, &result) == 0);
    EXPECT(result == &back);
    pthread_attr_destroy(&attributes);
}

static int status_of(pid_t child)
{
    int status = -1;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A child has nothing registered: what is asked here is whether a call by an instruction comes through a door. A mapping anywhere does:
 * it lies in the arena. */
static bool comes_through_a_door(void)
{
    return is_in_arena((void *)raw_call(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void children(void)
{
    EXPECT(comes_through_a_door());
    pid_t child = fork();
    if (child == 0)
        _exit(comes_through_a_door() ? 0 : NOT_SEEN);
    EXPECT(status_of(child) == 0);
    child = (pid_t)raw(SYS_fork, 0, 0, 0, 0);
    if (child == 0)
        _exit(comes_through_a_door() ? 0 : NOT_SEEN);
    EXPECT(status_of(child) == 0);
    child = (pid_t)raw(SYS_clone, SIGCHLD, 0, 0, 0);
    if (child == 0)
        _exit(comes_through_a_door() ? 0 : NOT_SEEN);
    EXPECT(status_of(child) == 0);
    child = vfork();
    if (child == 0)
        _exit(7);
    EXPECT(status_of(child) == 7 && is_seen());
}

static int run_self(const char *argument)
{
    pid_t child = fork();
    if (child == 0) {
        execle("/proc/self/exe", "strict", argument, (char *)NULL, environ);
        _exit(127);
    }
    return status_of(child);
}

static void programs(void)
{
    EXPECT(run_self("seen") == 0);
}

/* --- what ends it, or is not reached: each in a process of its own ---------------------------------------------------------- */

static volatile int vfork_wrote;

/* The C library's vfork keeps its return address in a register; this one has nothing on the stack that a child could spoil. */
static long vfork_by_instruction(void)
{
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movl $42, vfork_wrote(%%rip)\n\t"
                     "mov $7, %%edi\n\t"
                     "mov %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_vfork), [exit] "i"(SYS_exit)
                     : "rcx", "r11", "rdi", "memory");
    return result;
}

static int after_vfork(void)
{
    return status_of((pid_t)vfork_by_instruction()) == 7 && vfork_wrote == 42 ? 0 : 1;
}

static int after_clone(void)
{
    static _Alignas(16) char stack[1 << 16];
    static volatile int tid = 1, wrote;
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_CHILD_CLEARTID;
    register long child_tid __asm__("r10") = (long)&tid;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movl $42, (%%rbx)\n\t"
                     "xor %%edi, %%edi\n\t"
                     "mov %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone), "D"(flags), "S"(stack + sizeof(stack)), "d"(0L), "r"(child_tid),
                       "b"(&wrote), [exit] "i"(SYS_exit)
                     : "rcx", "r11", "memory");
    while (tid)
        sched_yield();
    return result > 0 && wrote == 42 ? 0 : 1;
}

static int after_filter(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    pthread_t thread;
    void *result = &back;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 1;
    bool is_alive = raw(SYS_getpid, 0, 0, 0, 0) == getpid() && !comes_through_a_door();
    return is_alive && !pthread_create(&thread, NULL, is_seen_in_thread, NULL) &&
                   !pthread_join(thread, &result) && !result
               ? 0
               : 1;
}

static volatile char own_selector;
static volatile sig_atomic_t nr_trapped;

static void on_trap(int number, siginfo_t *info, void *context)
{
    own_selector = 0;
    nr_trapped++;
}

static int after_dispatch(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, &own_selector) || sigaction(SIGSYS, &action, NULL))
        return 1;
    own_selector = 1;
    raw(SYS_getpid, 0, 0, 0, 0);
    return nr_trapped == 1 ? 0 : 1;
}

static const struct {
    const char *name;
    int (*run)(void);
} others[] = {
    {"vfork", after_vfork}, {"clone", after_clone}, {"filter", after_filter}, {"dispatch", after_dispatch}};

static int run_other(const char *name)
{
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (!strcmp(name, others[i].name))
            return others[i].run();
    return is_seen() && comes_through_a_door() ? 0 : NOT_SEEN;
}

/* What the process says when it is let go: one line. */
static void ends(void)
{
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        char said[4096];
        int pair[2], saved = dup(2);
        EXPECT(pipe(pair) == 0 && dup2(pair[1], 2) == 2);
        int status = run_self(others[i].name);
        dup2(saved, 2);
        close(saved);
        close(pair[1]);
        ssize_t len = read(pair[0], said, sizeof(said) - 1);
        said[len > 0 ? len : 0] = '\0';
        close(pair[0]);
        if (!EXPECT(status == 0 && strstr(said, "ANYDMA_STRICT") && strchr(said, '\n') == said + len - 1))
            fprintf(stderr, "%s: status %d: %s\n", others[i].name, status, said);
    }
}

/* Asked in a child: it ends what is to be looked at here. */
static bool kernel_dispatches(void)
{
    static char selector;
    pid_t child = fork();
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), 2);
        _exit(prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 1L << 47, &selector) == 0 ? 0 : 1);
    }
    return status_of(child) == 0;
}

int main(int argc, char **argv)
{
    shim_must_be_there();
    if (argc > 1)
        return run_other(argv[1]);
    if (!kernel_dispatches()) {
        puts("this kernel has no Syscall User Dispatch (CONFIG_GENERIC_ENTRY, 5.11)");
        return 77;
    }
    behaviour("calls_by_instructions_are_seen_and_give_the_same", calls);
    behaviour("registers_and_the_red_zone_stay", registers);
    behaviour("a_mask_that_blocks_everything_ends_nothing", masks);
    behaviour("a_mask_set_by_its_number_ends_nothing", masks_by_number);
    behaviour("handlers_are_seen", handlers);
    behaviour("handlers_are_seen_while_a_call_with_a_mask_waits", waits);
    behaviour("jumps_out_of_a_call_that_blocks", jumps);
    behaviour("a_handler_of_its_own_for_sigsys", sigsys);
    behaviour("stacks_for_signals_are_set", stacks);
    behaviour("a_handler_that_returns_by_an_instruction", returns);
    behaviour("threads_are_seen", threads);
    behaviour("a_thread_begun_with_a_mask_is_seen", masked_thread);
    behaviour("children_are_seen", children);
    behaviour("a_program_that_is_executed_is_seen", programs);
    behaviour("what_ends_it_is_told_in_one_line_and_breaks_nothing", ends);
    return behaviours_end();
}
