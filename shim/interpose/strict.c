/* SPDX-License-Identifier: MIT */
/*
 * The handler of trapped calls, and the doors of threads and masks, which are needed for it alone. Owns no lock.
 *
 * A trapped call is made in the handler, with the arguments of the interrupted code, which then gets the result. Some can't be
 * made there, because they are about the frame itself:
 *   rt_sigreturn                  made by the C library's own, once our frame is gone: its stack pointer is the program's
 *   rt_sigprocmask, sigaltstack   what they set is written to our frame, from which the kernel restores it
 *   vfork, clone with CLONE_VM or a stack, clone3, calls of 32-bit form: made once more by the same instruction, with the thread
 *                                 let go: its further instructions are not seen
 */
#include "interpose/strict.h"

#include <errno.h>
#include <linux/audit.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <threads.h>
#include <ucontext.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "base/procmaps.h"
#include "interpose/bridges/bind.h"
#include "interpose/doors.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/ranges.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH /* 5.11 */
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif
#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2
#endif
enum {
    PASS = 0,
    TRAP = 1
}; /* what the kernel reads in `selector`, at every call from outside the C library */

_Atomic bool strict_on __attribute__((visibility("hidden")));
static volatile char selector = TRAP;
static uintptr_t libc_start, libc_end; /* its code */
static long (*libc_syscall)(long number, ...);
static uintptr_t libc_sigreturn;
static struct sigaction programs; /* the program's for SIGSYS */

bool strict_is_on(void)
{
    return atomic_load_explicit(&strict_on, memory_order_relaxed);
}

/* --- a thread --------------------------------------------------------------------------------------------------------- */

static int dispatch(long whether)
{
    bool is_wanted = whether == PR_SYS_DISPATCH_ON;
    return (int)os_call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, whether, is_wanted ? (long)libc_start : 0,
                        is_wanted ? (long)(libc_end - libc_start) : 0, is_wanted ? (long)&selector : 0, 0);
}

void strict_unblock(void)
{
    uint64_t sigsys = UINT64_C(1) << (SIGSYS - 1);
    os_call(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&sigsys, 0, sizeof(sigsys), 0, 0);
}

long door_rt_sigprocmask(int how, const void *mask, void *old, size_t mask_bytes)
{
    long result = to_libc(os_call(SYS_rt_sigprocmask, how, (long)mask, (long)old, (long)mask_bytes, 0, 0));
    if (mask && strict_is_on())
        strict_unblock();
    return result;
}

static int enter_thread(void)
{
    int error = dispatch(PR_SYS_DISPATCH_ON);
    if (!error) {
        os_call_by(libc_syscall);
        strict_unblock();
    }
    return error;
}

void strict_enter_thread(void)
{
    if (strict_is_on() && enter_thread() != 0)
        log_write(LOG_WARNING, "ANYDMA_STRICT: a thread or child is left out");
}

static void let_go_of_thread(void)
{
    static _Atomic bool is_told;
    dispatch(PR_SYS_DISPATCH_OFF);
    os_call_by(NULL);
    if (!atomic_exchange(&is_told, true))
        log_write(
            LOG_WARNING,
            "ANYDMA_STRICT: the program makes a thread or a child that shares its memory by an instruction "
            "of its "
            "own: of that one, and of the thread that made it, such system calls are not seen from here on");
}

/* --- a trapped call --------------------------------------------------------------------------------------------------- */

static bool has_clone_of_its_own(long number, const greg_t *registers)
{
    return number == SYS_vfork || number == SYS_clone3 ||
           (number == SYS_clone && (registers[REG_RDI] & CLONE_VM || registers[REG_RSI]));
}

/* The instruction is two bytes long, as is that of the 32-bit form. */
static void make_once_more(ucontext_t *interrupted)
{
    let_go_of_thread();
    interrupted->uc_mcontext.gregs[REG_RIP] -= 2;
}

/* The kernel replaces no stack that the caller stands on, and the handler may: the call is made from below the program's own. */
static long call_from(uintptr_t stack, long number, long a, long b)
{
    long result;
    __asm__ volatile("mov %%rsp, %%rbx\n\t"
                     "mov %[stack], %%rsp\n\t"
                     "call *%[syscall]\n\t"
                     "mov %%rbx, %%rsp"
                     : "=a"(result), "+D"(number), "+S"(a), "+d"(b)
                     : [stack] "r"(stack), [syscall] "r"(libc_syscall)
                     : "rbx", "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
    return result == -1 ? -errno : result;
}

static long set_altstack(ucontext_t *interrupted, long wanted, long old)
{
    enum { RED_ZONE = 128 };
    uintptr_t stack = ((uintptr_t)interrupted->uc_mcontext.gregs[REG_RSP] - RED_ZONE - 64) & ~(uintptr_t)15;
    long result = call_from(stack, SYS_sigaltstack, wanted, old);
    if (!result)
        os_call(SYS_sigaltstack, 0, (long)&interrupted->uc_stack, 0, 0, 0, 0);
    return result;
}

static long make(ucontext_t *interrupted, long number)
{
    const greg_t *registers = interrupted->uc_mcontext.gregs;
    long a = registers[REG_RDI], b = registers[REG_RSI], c = registers[REG_RDX], d = registers[REG_R10];
    if (number == SYS_sigaltstack)
        return set_altstack(interrupted, a, b);
    errno = 0;
    long result = routes_syscall(number, a, b, c, d, registers[REG_R8], registers[REG_R9]);
    result = result == -1 ? -errno : result;
    if (number == SYS_rt_sigprocmask)
        os_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&interrupted->uc_sigmask, sizeof(uint64_t), 0, 0);
    if (!result && (number == SYS_fork || number == SYS_clone))
        lifecycle_enter(); /* the child, which no handler of fork's has told */
    return result;
}

static void handle_call(ucontext_t *interrupted, long number, unsigned form)
{
    greg_t *registers = interrupted->uc_mcontext.gregs;
    if (form != AUDIT_ARCH_X86_64 || has_clone_of_its_own(number, registers)) {
        make_once_more(interrupted);
    } else if (number == SYS_rt_sigreturn) {
        registers[REG_RIP] = (greg_t)libc_sigreturn;
    } else {
        registers[REG_RAX] = make(interrupted, number);
        registers[REG_RCX] = registers[REG_RIP]; /* as the instruction leaves them */
        registers[REG_R11] = registers[REG_EFL];
    }
}

/* What did not come from the dispatch: a filter's trap, or sent. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    struct sigaction action = programs;
    if (action.sa_handler == SIG_DFL) {
        next_libc()->sigaction(number, &action, NULL);
        os_call(SYS_tgkill, os_getpid(), os_gettid(), number, 0, 0, 0);
    } else if (action.sa_handler != SIG_IGN) {
        action.sa_sigaction(number, info, context);
    }
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (info->si_code == SYS_USER_DISPATCH)
        handle_call(context, info->si_syscall, (unsigned)info->si_arch);
    else
        pass_on(number, info, context);
    errno = saved;
}

/* --- beginning and end -------------------------------------------------------------------------------------------------- */

/* Nothing is blocked meanwhile: other handlers may interrupt a call, as they may without this. On the stack for signals, if there is
 * one: programs with small stacks of their own have one. */
static const struct sigaction ours = {.sa_sigaction = on_signal,
                                      .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESTART};

static bool find_libc(void)
{
    extern void *__libc_malloc(size_t size);
    struct procmaps_entry code;
    libc_syscall = (__typeof__(libc_syscall))bind_find_beside((const void *)__libc_malloc, "syscall");
    if (!libc_syscall || procmaps_find((uintptr_t)libc_syscall, &code) != 0 || !(code.prot & PROT_EXEC))
        return false;
    libc_start = code.start;
    libc_end = code.end;
    return true;
}

/* The C library says where its rt_sigreturn is when it installs a handler. */
static bool install_handler(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } installed = {0};
    if (next_libc()->sigaction(SIGSYS, &ours, &programs) != 0 ||
        os_call(SYS_rt_sigaction, SIGSYS, 0, (long)&installed, sizeof(installed.mask), 0, 0) != 0)
        return false;
    libc_sigreturn = (uintptr_t)installed.restorer;
    return libc_sigreturn - libc_start < libc_end - libc_start;
}

void strict_start(void)
{
    if (!config.strict)
        return;
    int error = find_libc() && install_handler() ? enter_thread() : -ENOSYS;
    if (error) {
        if (libc_sigreturn)
            next_libc()->sigaction(SIGSYS, &programs, NULL);
        log_write(LOG_WARNING,
                  "ANYDMA_STRICT: the kernel does not dispatch system calls (error %d; Linux does from 5.11 "
                  "on): those that "
                  "the program makes by instructions of its own are not seen",
                  -error);
        return;
    }
    atomic_store_explicit(&strict_on, true, memory_order_relaxed);
}

void strict_end(const char *because)
{
    if (!atomic_exchange(&strict_on, false))
        return;
    log_write(LOG_WARNING, "ANYDMA_STRICT ends: %s", because);
    selector = PASS;
    next_libc()->sigaction(SIGSYS, &programs, NULL);
}

void strict_keep_action(const struct sigaction *action, struct sigaction *old)
{
    struct sigaction before = programs;
    if (action)
        programs = *action;
    if (old)
        *old = before;
}

/* --- doors -------------------------------------------------------------------------------------------------------------- */

static const sigset_t *opened(const sigset_t *mask, sigset_t *copy)
{
    if (!mask || !strict_is_on())
        return mask;
    *copy = *mask;
    sigdelset(copy, SIGSYS);
    return copy;
}

/* (Of SIG_UNBLOCK, SIGSYS needs none.) */
int sigprocmask(int how, const sigset_t *mask, sigset_t *old)
{
    sigset_t copy;
    return next_libc()->sigprocmask(how, opened(mask, &copy), old);
}

int pthread_sigmask(int how, const sigset_t *mask, sigset_t *old)
{
    sigset_t copy;
    return next_libc()->pthread_sigmask(how, opened(mask, &copy), old);
}

struct beginning {
    union {
        void *(*posix)(void *);
        int (*c11)(void *);
    } start;
    void *arg;
};

static struct beginning take_beginning(void *arg)
{
    struct beginning beginning;
    memcpy(&beginning, arg, sizeof(beginning));
    free(arg);
    strict_enter_thread();
    return beginning;
}

static struct beginning *new_beginning(void *arg)
{
    struct beginning *beginning = malloc(sizeof(*beginning));
    if (beginning)
        beginning->arg = arg;
    return beginning;
}

static void *begin_posix(void *arg)
{
    struct beginning beginning = take_beginning(arg);
    return beginning.start.posix(beginning.arg);
}

static int begin_c11(void *arg)
{
    struct beginning beginning = take_beginning(arg);
    return beginning.start.c11(beginning.arg);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg)
{
    if (!strict_is_on())
        return next_libc()->pthread_create(thread, attributes, start, arg);
    struct beginning *beginning = new_beginning(arg);
    if (!beginning)
        return EAGAIN;
    beginning->start.posix = start;
    int error = next_libc()->pthread_create(thread, attributes, begin_posix, beginning);
    if (error)
        free(beginning);
    return error;
}

int thrd_create(thrd_t *thread, thrd_start_t start, void *arg)
{
    if (!strict_is_on())
        return next_libc()->thrd_create(thread, start, arg);
    struct beginning *beginning = new_beginning(arg);
    if (!beginning)
        return thrd_nomem;
    beginning->start.c11 = start;
    int result = next_libc()->thrd_create(thread, begin_c11, beginning);
    if (result != thrd_success)
        free(beginning);
    return result;
}
