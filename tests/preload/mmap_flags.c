/* SPDX-License-Identifier: MIT */
/*
 * A sandbox that kills for mmap flags outside of a known set, as browsers' children have it: the shim uses none there
 * that an ordinary program does not use, wherever it places memory, and starts under such a filter too.
 */
#include "expect.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RW = PROT_READ | PROT_WRITE, PLAIN = MAP_PRIVATE | MAP_ANONYMOUS, NR_SIZES = 24 };

/* What the loader, the C library's malloc and its threads use. */
enum {
    KNOWN = MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_STACK | MAP_NORESERVE | MAP_DENYWRITE
};

static bool kill_for_other_flags(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, ~(unsigned)KNOWN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Memory of every size and sort, more of it than what was placed before. */
static void *use_memory(void *arg)
{
    char *blocks[NR_SIZES], *mappings[NR_SIZES];
    for (int i = 0; i < NR_SIZES; i++) {
        size_t len = (size_t)4096 << (i / 2);
        blocks[i] = malloc(len);
        mappings[i] = mmap(NULL, len, RW, PLAIN, -1, 0);
        EXPECT(blocks[i] && mappings[i] != MAP_FAILED && is_in_arena(mappings[i]));
        EXPECT(anydma_iova(blocks[i]) != ANYDMA_BAD_IOVA && anydma_iova(mappings[i]) != ANYDMA_BAD_IOVA);
    }
    char *moved = mremap(mappings[4], 4096 << 2, 4096 << 9, MREMAP_MAYMOVE);
    EXPECT(moved != MAP_FAILED);
    mappings[4] = mmap(mappings[5], 4096 << 2, RW, PLAIN | MAP_FIXED, -1, 0);
    EXPECT(mappings[4] == mappings[5]);
    for (int i = 0; i < NR_SIZES; i++) {
        free(blocks[i]);
        munmap(mappings[i], (size_t)4096 << (i / 2));
    }
    return arg;
}

static int run_in_child(void (*look)(void))
{
    int status = -1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        look();
        fflush(NULL);
        _exit(expect_failed ? 1 : 0);
    }
    waitpid(child, &status, 0);
    return status;
}

static void use_it_all(void)
{
    pthread_t thread;
    use_memory(NULL);
    EXPECT(pthread_create(&thread, NULL, use_memory, NULL) == 0);
    pthread_join(thread, NULL);
}

static void exec_behind_the_filter(void)
{
    EXPECT(kill_for_other_flags());
    execl("/proc/self/exe", "mmap_flags", "behind", (char *)NULL);
    EXPECT(false);
}

static void use_an_odd_flag(void)
{
    if (EXPECT(kill_for_other_flags()))
        mmap(NULL, 4096, RW, PLAIN | MAP_POPULATE, -1, 0);
}

static void filter_kills(void)
{
    int status = run_in_child(use_an_odd_flag);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void start_behind_it(void)
{
    EXPECT(run_in_child(exec_behind_the_filter) == 0);
}

static void sandboxed_later(void)
{
    EXPECT(kill_for_other_flags());
    use_it_all();
}

int main(int argc, char **argv)
{
    if (argc > 1) { /* behind the filter, from the start */
        shim_must_be_there();
        use_it_all();
        return expect_failed;
    }
    shim_must_be_there();
    behaviour("other_flags_kill", filter_kills);
    behaviour("a_program_starts_behind_such_a_filter", start_behind_it);
    behaviour("a_program_goes_on_behind_such_a_filter", sandboxed_later);
    return behaviours_end();
}
