/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers and the shim's locks. This program is the device behind the simulated IOMMU, which is told of each
 * registration while the locks are held: a signal that comes then is handled, as it was sent, once they are not, and
 * its handler may use every door. What the program reads back of its handlers is what it installed.
 */
#include "expect.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096, MOST_SEEN = 16 };

/* --- the device --------------------------------------------------------------------------------------------------- */

struct sim_device {
    int (*mapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void (*unmapped)(void *arg, uint64_t iova, uint64_t va, uint64_t len);
    void *arg;
};

static void (*under_lock)(void); /* what to do at the next registration */
static volatile bool is_locked;

static int mapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
    void (*act)(void) = under_lock;
    under_lock = NULL;
    if (act) {
        is_locked = true;
        act();
        is_locked = false;
    }
    return 0;
}

static void unmapped(void *arg, uint64_t iova, uint64_t va, uint64_t len)
{
}

extern const struct sim_device anydma_sim_device;
const struct sim_device anydma_sim_device __attribute__((visibility("default"))) = {mapped, unmapped, NULL};

/* Registers fresh memory; `act` is called meanwhile. */
static void with_locks_held(void (*act)(void))
{
    char *memory = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    under_lock = act;
    EXPECT(anydma_iova(memory) != ANYDMA_BAD_IOVA);
    EXPECT(under_lock == NULL);
    EXPECT(munmap(memory, 4 * MIB) == 0);
}

/* --- handlers ------------------------------------------------------------------------------------------------------ */

static struct seen {
    int number, code, value;
    bool was_locked;
} seen[MOST_SEEN];
static volatile int nr_seen;

/* By every door. */
static void use_doors(void)
{
    char *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(anydma_iova(memory) != ANYDMA_BAD_IOVA);
    EXPECT(madvise(memory, MIB, MADV_DONTNEED) == 0);
    EXPECT(mprotect(memory, PAGE, PROT_READ) == 0);
    EXPECT(munmap(memory, MIB) == 0);
}

static void see(int number, int code, int value)
{
    if (nr_seen < MOST_SEEN)
        seen[nr_seen] = (struct seen){number, code, value, is_locked};
    nr_seen++;
    if (!is_locked)
        use_doors();
}

static void on_signal(int number)
{
    see(number, 0, 0);
}

static void on_signal_informed(int number, siginfo_t *info, void *context)
{
    see(number, info->si_code, info->si_value.sival_int);
}

static void other(int number)
{
}

static void install(int number, int flags)
{
    struct sigaction action = {.sa_flags = flags};
    if (flags & SA_SIGINFO)
        action.sa_sigaction = on_signal_informed;
    else
        action.sa_handler = on_signal;
    EXPECT(sigaction(number, &action, NULL) == 0);
    nr_seen = 0;
}

static void send(int number, int value)
{
    sigqueue(getpid(), number, (union sigval){.sival_int = value});
}

/* --- put off ------------------------------------------------------------------------------------------------------ */

static void raise_one(void)
{
    raise(SIGUSR1);
    EXPECT(nr_seen == 0);
}

static void install_and_raise(void)
{
    install(SIGUSR1, SA_RESTART);
    raise_one();
}

/* Nobody has installed any before: the thread that holds the lock did not know that there would be one. */
static void even_the_first_is_put_off(void)
{
    with_locks_held(install_and_raise);
    EXPECT(nr_seen == 1 && !seen[0].was_locked);
}

static void is_put_off(void)
{
    sigset_t before, after;
    install(SIGUSR1, SA_RESTART);
    sigprocmask(SIG_SETMASK, NULL, &before);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1 && seen[0].number == SIGUSR1 && !seen[0].was_locked);
    sigprocmask(SIG_SETMASK, NULL, &after);
    EXPECT(memcmp(&before, &after, 8) == 0); /* the kernel's signals */
    raise(SIGUSR1);
    EXPECT(nr_seen == 2);
}

static void send_several(void)
{
    send(SIGRTMIN + 1, 11);
    send(SIGRTMIN + 1, 12);
    send(SIGRTMIN + 1, 13);
    send(SIGUSR2, 14);
    EXPECT(nr_seen == 0);
}

static void is_told_the_same(void)
{
    install(SIGUSR2, SA_SIGINFO);
    install(SIGRTMIN + 1, SA_SIGINFO);
    with_locks_held(send_several);
    EXPECT(nr_seen == 4);
    int next = 11;
    for (int i = 0; i < 4; i++) {
        EXPECT(seen[i].code == SI_QUEUE && !seen[i].was_locked);
        if (seen[i].number == SIGRTMIN + 1)
            EXPECT(seen[i].value == next++);
        else
            EXPECT(seen[i].value == 14);
    }
    EXPECT(next == 14);
}

static void is_told_once(void)
{
    struct sigaction now;
    install(SIGUSR1, (int)SA_RESETHAND);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    nr_seen = 0;
    sysv_signal(SIGUSR1, on_signal);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    EXPECT(signal(SIGUSR1, SIG_IGN) == SIG_DFL);
}

static void *mask_and_register(void *unused)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    EXPECT(sigismember(&set, SIGUSR2) && !sigismember(&set, SIGUSR1));
    return NULL;
}

static void a_threads_mask_is_kept(void)
{
    pthread_t thread;
    install(SIGUSR1, 0);
    pthread_create(&thread, NULL, mask_and_register, NULL);
    pthread_join(thread, NULL);
}

static sigjmp_buf back;

static void leave(int number)
{
    siglongjmp(back, 1);
}

static void raise_alarm(void)
{
    raise(SIGALRM);
}

static void a_handler_may_leave(void)
{
    signal(SIGALRM, leave);
    for (int i = 0; i < 3; i++) {
        if (!sigsetjmp(back, 1))
            with_locks_held(raise_alarm);
        use_doors();
    }
}

/* --- at once -------------------------------------------------------------------------------------------------------- */

static char *forbidden;

static void allow(int number)
{
    see(number, 0, 0);
    __asm__ volatile("syscall" /* not by a door: the locks are held */
                     :
                     : "a"(SYS_mprotect), "D"(forbidden), "S"(PAGE), "d"(PROT_READ | PROT_WRITE)
                     : "rcx", "r11", "memory");
}

static void touch_forbidden(void)
{
    *(volatile char *)forbidden = 1;
    EXPECT(nr_seen == 1);
}

static void a_fault_does_not_wait(void)
{
    forbidden = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    nr_seen = 0;
    signal(SIGSEGV, allow);
    with_locks_held(touch_forbidden);
    EXPECT(nr_seen == 1 && seen[0].was_locked);
    signal(SIGSEGV, SIG_DFL);
}

/* --- what is read back ------------------------------------------------------------------------------------------------ */

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* sigset */
sighandler_t bsd_signal(int number, sighandler_t handler);
sighandler_t ssignal(int number, sighandler_t handler);
struct sigvec {
    sighandler_t handler;
    int mask, flags;
};
int old_sigvec(int number, const struct sigvec *vector, struct sigvec *old);
__asm__(".symver old_sigvec, sigvec@GLIBC_2.2.5");

static void every_door_gives_back_what_was_installed(void)
{
    struct sigaction action = {.sa_sigaction = on_signal_informed, .sa_flags = SA_SIGINFO | SA_NODEFER}, now;
    struct sigvec vector = {on_signal, 0, 0}, old;
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_sigaction == on_signal_informed);
    EXPECT((now.sa_flags & (SA_SIGINFO | SA_NODEFER)) == (SA_SIGINFO | SA_NODEFER));
    EXPECT(signal(SIGUSR1, on_signal) == (sighandler_t)(uintptr_t)on_signal_informed);
    EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == on_signal &&
           !(now.sa_flags & SA_SIGINFO));
    EXPECT(bsd_signal(SIGUSR1, other) == on_signal);
    EXPECT(ssignal(SIGUSR1, on_signal) == other);
    EXPECT(sigset(SIGUSR1, other) == on_signal);
    EXPECT(sysv_signal(SIGUSR1, on_signal) == other);
    EXPECT(old_sigvec(SIGUSR1, &vector, &old) == 0 && old.handler == on_signal);
    EXPECT(old_sigvec(SIGUSR1, NULL, &old) == 0 && old.handler == on_signal);
    EXPECT(sigset(SIGUSR1, SIG_HOLD) == on_signal);
    EXPECT(sigset(SIGUSR1, SIG_IGN) == SIG_HOLD);
    EXPECT(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    errno = 0;
    EXPECT(signal(SIGKILL, on_signal) == SIG_ERR && errno == EINVAL);
    errno = 0;
    EXPECT(sigaction(1000, &action, NULL) == -1 && errno == EINVAL);
}

static void every_door_puts_off(void)
{
    struct sigvec vector = {on_signal, 0, 0};
    nr_seen = 0;
    signal(SIGUSR1, on_signal);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    nr_seen = 0;
    sigset(SIGUSR1, on_signal);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    nr_seen = 0;
    ssignal(SIGUSR1, on_signal);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    nr_seen = 0;
    EXPECT(old_sigvec(SIGUSR1, &vector, NULL) == 0);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
}

struct kernel_action {
    sighandler_t handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static void the_system_call_too(void)
{
    struct kernel_action action, old;
    struct sigaction now;
    nr_seen = 0;
    signal(SIGUSR1, other);
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &action, 8) == 0); /* for its restorer */
    EXPECT(action.handler == other);
    action.handler = on_signal;
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, &action, &old, 8) == 0 && old.handler == other);
    EXPECT(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == on_signal);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
    action.handler = other;
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, &action, &action, 8) == 0 && action.handler == on_signal);
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8) == 0 && old.handler == other);
    errno = 0;
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8) == -1 && errno == EFAULT);
    errno = 0;
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, NULL, (void *)8, 8) == -1 && errno == EFAULT);
    errno = 0;
    EXPECT(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 16) == -1 && errno == EINVAL);
}

/* --- more handlers than anybody has ------------------------------------------------------------------------------------ */

static void however_many_there_are(void)
{
    enum { NR = 700, BYTES = 16 };
    static const unsigned char code[] = {0xf3, 0x0f, 0x1e, 0xfa, 0xc3}; /* endbr64; ret */
    char *handlers = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < NR; i++)
        memcpy(handlers + i * BYTES, code, sizeof(code));
    EXPECT(mprotect(handlers, 4 * PAGE, PROT_READ | PROT_EXEC) == 0);
    for (int i = 0; i < NR; i++) {
        struct sigaction now;
        EXPECT(signal(SIGUSR2, (sighandler_t)(handlers + i * BYTES)) != SIG_ERR);
        EXPECT(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == (sighandler_t)(handlers + i * BYTES));
        raise(SIGUSR2);
    }
    nr_seen = 0;
    signal(SIGUSR1, on_signal); /* has had its stub for long */
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1);
}

static void late(int number)
{
    on_signal(number);
}

static void also_without_a_stub(void)
{
    nr_seen = 0;
    signal(SIGUSR1, late);
    with_locks_held(raise_one);
    EXPECT(nr_seen == 1 && !seen[0].was_locked);
}

int main(void)
{
    shim_must_be_there();
    alarm(50);
    behaviour("even the first handler is put off", even_the_first_is_put_off);
    behaviour("a handler is put off while locks are held", is_put_off);
    behaviour("it is told the same", is_told_the_same);
    behaviour("it is told once, if it wanted that", is_told_once);
    behaviour("a thread's mask is kept", a_threads_mask_is_kept);
    behaviour("a handler may leave by siglongjmp", a_handler_may_leave);
    alarm(50);
    behaviour("a fault does not wait", a_fault_does_not_wait);
    behaviour("every door gives back what was installed", every_door_gives_back_what_was_installed);
    behaviour("every door puts off", every_door_puts_off);
    behaviour("the system call too", the_system_call_too);
    behaviour("however many handlers there are", however_many_there_are);
    behaviour("also without a stub", also_without_a_stub);
    return behaviours_end();
}
