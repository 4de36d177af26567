/* SPDX-License-Identifier: MIT */
/*
 * The doors by which the program installs signal handlers, and the way by which these are called. The kernel gets the address of a
 * stub, one for each handler: it jumps to the handler, leaving no frame and every register as it found it, unless the
 * thread holds a lock of the shim's (base/handlers.h). What the program reads back is its own address.
 *
 * A stub and its handler belong together for good, so that installing one races with nothing. Handlers for which there is no
 * stub left are installed as they are; the shim then blocks signals while it holds a lock.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "base/handlers.h"
#include "base/os.h"
#include "interpose/doors.h"
#include "interpose/lifecycle.h"
#include "interpose/next.h"
#include "interpose/ranges.h"
#include "interpose/strict.h"

/* Of either form. */
typedef uintptr_t function;

enum {
    NR_INFORMED =
        256, /* stubs of handlers that asked for SA_SIGINFO: to others the kernel gives none to send once more */
    NR_STUBS = 512,
    STUB_BYTES = 16,
};

/* By stub; 0: nobody's yet. */
__attribute__((visibility("hidden"))) _Atomic function signals_handlers[NR_STUBS];
extern const char signals_stubs[] __attribute__((visibility("hidden")));

/* What was installed with SA_RESETHAND, by signal: the kernel has forgotten it by the time that the handler is put off. */
static struct sigaction once[_NSIG];

/* --- stubs -------------------------------------------------------------------------------------------------------- */

// clang-format off
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden signals_stubs\n"
        ".globl signals_stubs\n"
        "signals_stubs:\n"
        ".cfi_startproc\n"
        ".set stub, 0\n"
        ".rept 512\n\t"
        ".p2align 4\n\t"
        "endbr64\n\t"
        "movl $stub, %eax\n\t"
        ".set stub, stub + 1\n\t"
        "jmp 1f\n"
        ".endr\n"
        "1:\tmovq handlers_kept_out@gottpoff(%rip), %r11\n\t"
        "cmpl $0, %fs:(%r11)\n\t"
        "jne 2f\n\t"
        "cmpb $0, strict_on(%rip)\n\t"
        "jne 3f\n"
        "4:\tleaq signals_handlers(%rip), %r11\n\t"
        "jmp *(%r11,%rax,8)\n"
        "2:\tmovl %eax, %ecx\n\t"
        "jmp signals_come_too_early\n"
        "3:\tpushq %rdi\n\t"
        "pushq %rsi\n\t"
        "pushq %rdx\n\t"
        "pushq %rax\n\t"
        "subq $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset 40\n\t"
        "call strict_unblock\n\t"
        "addq $8, %rsp\n\t"
        "popq %rax\n\t"
        "popq %rdx\n\t"
        "popq %rsi\n\t"
        "popq %rdi\n\t"
        ".cfi_adjust_cfa_offset -40\n\t"
        "jmp 4b\n"
        ".cfi_endproc\n");
// clang-format on

static bool is_function(function handler)
{
    return handler > (function)SIG_HOLD && handler != (function)SIG_ERR;
}

/* The stub of a handler, a new one if need be; the handler itself when there is none. */
static function stub_of(function handler, bool is_informed)
{
    if (!is_function(handler) || !lifecycle_enter())
        return handler;
    handlers_note();
    for (size_t i = is_informed ? 0 : NR_INFORMED; i < (is_informed ? NR_INFORMED : NR_STUBS); i++) {
        function seen = 0;
        if (atomic_compare_exchange_strong(&signals_handlers[i], &seen, handler) || seen == handler)
            return (function)signals_stubs + i * STUB_BYTES;
    }
    handlers_note_unseen();
    return handler;
}

static function handler_of(function stub)
{
    size_t offset = stub - (function)signals_stubs;
    return offset < NR_STUBS * STUB_BYTES ? signals_handlers[offset / STUB_BYTES] : stub;
}

/* --- a signal while the thread holds a lock ----------------------------------------------------------------------------- */

/* What the thread's next instruction caused can't wait. */
static bool is_immediate(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL ||
           number == SIGTRAP || number == SIGSYS;
}

static void install_once_more(int number, function stub)
{
    struct sigaction now;
    if ((function)once[number].sa_handler == stub && next_libc()->sigaction(number, NULL, &now) == 0 &&
        now.sa_handler == SIG_DFL)
        next_libc()->sigaction(number, &once[number], NULL);
}

static bool send_once_more(int number, siginfo_t *info, bool is_informed)
{
    int process = os_getpid(), thread = os_gettid();
    return is_informed ? os_call(SYS_rt_tgsigqueueinfo, process, thread, number, (long)info, 0, 0) == 0
                       : os_call(SYS_tgkill, process, thread, number, 0, 0, 0) == 0;
}

/* Called by the stubs. The signal is pending when this returns, and blocked. */
__attribute__((visibility("hidden"), used)) void signals_come_too_early(int number, siginfo_t *info,
                                                                        void *context, unsigned stub);

void signals_come_too_early(int number, siginfo_t *info, void *context, unsigned stub)
{
    void (*handler)(int, siginfo_t *, void *) = (__typeof__(handler))signals_handlers[stub];
    ucontext_t *interrupted = context;
    uint64_t mask;
    if (is_immediate(number)) {
        handler(number, info, context);
        return;
    }
    os_signals_block(&mask);
    install_once_more(number, (function)signals_stubs + stub * STUB_BYTES);
    if (send_once_more(number, info, stub < NR_INFORMED)) {
        handlers_put_off((uint64_t *)&interrupted->uc_sigmask);
        return;
    }
    os_signals_restore(&mask); /* too many are pending: better now than never */
    handler(number, info, context);
}

/* --- doors -------------------------------------------------------------------------------------------------------- */

static void remember_once(int number, const struct sigaction *action)
{
    if (action->sa_flags & (int)SA_RESETHAND && number > 0 && number < _NSIG)
        once[number] = *action;
}

int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    struct sigaction ours;
    if (action) {
        ours = *action;
        ours.sa_handler = (sighandler_t)stub_of((function)action->sa_handler, action->sa_flags & SA_SIGINFO);
        remember_once(number, &ours);
    }
    int result = 0;
    if (number == SIGSYS && strict_is_on())
        strict_keep_action(action ? &ours : NULL, old);
    else
        result = next_libc()->sigaction(number, action ? &ours : NULL, old);
    if (result == 0 && old)
        old->sa_handler = (sighandler_t)handler_of((function)old->sa_handler);
    return result;
}

/* glibc's other names for the same. */
int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
sighandler_t __sysv_signal(int number, sighandler_t handler);
sighandler_t bsd_signal(int number, sighandler_t handler);
sighandler_t ssignal(int number, sighandler_t handler);

int __sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    return sigaction(number, action, old);
}

/* By another way than sigaction and signal. */
static void end_for_sigsys(int number)
{
    if (number == SIGSYS)
        strict_end("the program handles SIGSYS itself");
}

static sighandler_t install(sighandler_t (*next)(int, sighandler_t), int number, sighandler_t handler)
{
    end_for_sigsys(number);
    function old = (function)next(number, (sighandler_t)stub_of((function)handler, false));
    return (sighandler_t)handler_of(old);
}

sighandler_t signal(int number, sighandler_t handler)
{
    if (number == SIGSYS && strict_is_on()) {
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
        return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
    }
    return install(next_libc()->signal, number, handler);
}

sighandler_t bsd_signal(int number, sighandler_t handler)
{
    return signal(number, handler);
}

sighandler_t ssignal(int number, sighandler_t handler)
{
    return signal(number, handler);
}

sighandler_t sigset(int number, sighandler_t handler)
{
    return install(next_libc()->sigset, number, handler);
}

sighandler_t sysv_signal(int number, sighandler_t handler)
{
    struct sigaction action = {.sa_handler = (sighandler_t)stub_of((function)handler, false),
                               .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    remember_once(number, &action);
    return install(next_libc()->sysv_signal, number, handler);
}

sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return sysv_signal(number, handler);
}

/* Of 4.2BSD: only old programs have it, with its version. */
struct sigvec {
    sighandler_t handler;
    int mask, flags;
};
int sigvec(int number, const struct sigvec *vector, struct sigvec *old);

int sigvec(int number, const struct sigvec *vector, struct sigvec *old)
{
    struct sigvec ours;
    int (*next)(int, const struct sigvec *, struct sigvec *) =
        (__typeof__(next))dlvsym(RTLD_NEXT, "sigvec", "GLIBC_2.2.5");
    if (!next) {
        errno = ENOSYS;
        return -1;
    }
    if (vector) {
        end_for_sigsys(number);
        ours = *vector;
        ours.handler = (sighandler_t)stub_of((function)vector->handler, false);
    }
    int result = next(number, vector ? &ours : NULL, old);
    if (result == 0 && old)
        old->handler = (sighandler_t)handler_of((function)old->handler);
    return result;
}

/* The kernel's struct sigaction. */
struct kernel_action {
    function handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

/* The kernel reads `action` first: it says whether that can be read. */
int door_rt_sigaction(int number, const void *action, void *old, size_t mask_bytes)
{
    struct kernel_action before, ours;
    bool is_same = action && action == old;
    if (action)
        end_for_sigsys(number);
    intptr_t result =
        is_same ? os_call(SYS_rt_sigaction, number, 0, (long)&before, (long)mask_bytes, 0, 0) : 0;
    if (!result)
        result =
            os_call(SYS_rt_sigaction, number, (long)action, is_same ? 0 : (long)old, (long)mask_bytes, 0, 0);
    if (result)
        return to_libc(result);
    if (action) {
        memcpy(&ours, action, sizeof(ours));
        function stub = stub_of(ours.handler, ours.flags & SA_SIGINFO);
        bool is_other = stub != ours.handler;
        ours.handler = stub;
        ours.mask &= os_signals_all();
        if (is_other)
            os_call(SYS_rt_sigaction, number, (long)&ours, 0, (long)mask_bytes, 0, 0);
    }
    if (is_same)
        memcpy(old, &before, sizeof(before));
    struct kernel_action *told = old;
    if (told)
        told->handler = handler_of(told->handler);
    return 0;
}
