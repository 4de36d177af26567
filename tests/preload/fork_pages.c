/* SPDX-License-Identifier: MIT */
/*
 * What the shim makes a forked child of a process without a device copy: it has nothing to forget there.
 * @env ANYDMA_IOMMU=auto
 */
#include "expect.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern pid_t _Fork(void) __attribute__((weak)); /* glibc 2.34: no handler runs */

static long faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* Page faults of a child until its first statement; the fewest of some. */
static int faults_of_child(pid_t (*begin)(void))
{
    int fewest = 255;
    for (int i = 0; i < 5; i++) {
        pid_t pid = begin();
        int status;
        if (pid == 0) {
            long nr = faults();
            _exit(nr < 255 ? (int)nr : 255);
        }
        if (EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)))
            fewest = WEXITSTATUS(status) < fewest ? WEXITSTATUS(status) : fewest;
    }
    return fewest;
}

/* The page with the locks, the one that tells a child by being wiped, and what of the code is not in its tables. */
static void child_copies_few_pages(void)
{
    enum { MOST = 10 };
    if (!_Fork) {
        behaviour_shows_nothing = "this C library has no _Fork";
        return;
    }
    int with = faults_of_child(fork), without = faults_of_child(_Fork);
    if (!EXPECT(with <= without + MOST))
        fprintf(stderr, "%d page faults, %d without the handlers\n", with, without);
}

int main(void)
{
    shim_must_be_there();
    faults();
    behaviour("a_child_without_a_device_copies_few_pages", child_copies_few_pages);
    return behaviours_end();
}
