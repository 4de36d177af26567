/* SPDX-License-Identifier: MIT */
/*
 * Syscall User Dispatch as it is meant to be used: every system call that is not made by the C library's code is handed to the
 * program (an emulator of another system does so). The shim's calls in the program's stead are the C library's.
 */
#include "expect.h"

#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
enum { OFF, ON, MIB = 1 << 20 };

static volatile char selector;
static volatile sig_atomic_t nr_handed, number;

static void handed(int signal, siginfo_t *info, void *context)
{
    nr_handed++;
    number = info->si_syscall;
}

struct text {
    uintptr_t start, len;
};

/* The code of the library that has `write`, which nobody interposes. */
static int find_text(struct dl_phdr_info *info, size_t size, void *data)
{
    struct text *text = data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && part->p_flags & PF_X && (uintptr_t)write - start < part->p_memsz) {
            *text = (struct text){start, part->p_memsz};
            return 1;
        }
    }
    return 0;
}

static bool dispatch(void)
{
    struct sigaction action = {.sa_sigaction = handed, .sa_flags = SA_SIGINFO};
    struct text text = {0, 0};
    dl_iterate_phdr(find_text, &text);
    if (!EXPECT(sigaction(SIGSYS, &action, NULL) == 0 && text.len))
        return false;
    nr_handed = 0;
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, ON, text.start, text.len, &selector) != 0)
        return false;
    selector = 1; /* block */
    return true;
}

static void end_dispatch(void)
{
    selector = 0;
    EXPECT(prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 0, 0, 0) == 0);
}

static void by_instruction(void)
{
    long result = SYS_getppid;
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}

static void calls(void)
{
    if (!dispatch())
        return;
    long pid = syscall(SYS_getpid), bad = syscall(SYS_close, -1);
    int error = errno;
    void *mapping = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int protected = mprotect(mapping, MIB, PROT_READ), unmapped = munmap(mapping, 4 * MIB);
    void *other = (void *)syscall(SYS_mmap, 0, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *block = malloc(16 * MIB);
    memset(block, 1, 16 * MIB);
    free(block);
    int copy = dup(1);
    close(copy);
    int nr_before = nr_handed;
    by_instruction();
    end_dispatch();
    EXPECT(nr_before == 0);
    EXPECT(nr_handed == 1 && number == SYS_getppid);
    EXPECT(pid == getpid() && bad == -1 && error == EBADF);
    EXPECT(mapping != MAP_FAILED && protected == 0 && unmapped == 0 && other != MAP_FAILED && copy >= 0);
    munmap(other, MIB);
}

int main(void)
{
    shim_must_be_there();
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 0, 0, 0) != 0) {
        printf("this kernel has no Syscall User Dispatch\n");
        return 77;
    }
    behaviour("calls_in_the_programs_stead_come_from_the_c_library", calls);
    return behaviours_end();
}
