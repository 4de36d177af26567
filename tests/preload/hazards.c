/* SPDX-License-Identifier: MIT */
/* Check mode: memory that is freed or unmapped under a hold is reported with both call stacks, and with
 * ANYDMA_CHECK=2 by the exit status; what is freed under no hold is unregistered at once and reported by
 * nobody. Runs itself as the victim. */
#include "anydma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HAZARD_STATUS = 99, OUTPUT_BYTES = 65536 };

__attribute__((noinline)) static void hold(char *buffer, size_t len)
{
    if (anydma_pin(buffer, len) != 0)
        _exit(3);
}

static void free_held(void)
{
    char *buffer = malloc(100);
    hold(buffer, 100);
    free(buffer);
}

static void realloc_held(void)
{
    char *buffer = malloc(100);
    hold(buffer, 100);
    buffer = realloc(buffer, 100000);
    buffer[99999] = 1;
}

static void unmap_held(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    hold(page, 8192);
    munmap(page + 4096, 4096);
}

static void free_after_unpin(void)
{
    char *buffer = malloc(5000);
    hold(buffer, 5000);
    anydma_unpin(buffer, 5000);
    free(buffer);
}

static void free_looked_up(void)
{
    struct anydma_stats before, after;
    anydma_stats(&before, sizeof(before));
    char *buffer = malloc(5000);
    if (anydma_iova(buffer) == ANYDMA_BAD_IOVA)
        _exit(4);
    free(buffer);
    anydma_stats(&after, sizeof(after));
    if (after.registrations != before.registrations || after.unmaps != before.unmaps + 1)
        _exit(5);
}

static const struct scenario {
    const char *name;
    void (*run)(void);
    const char *how; /* the word in the report; NULL: there must be none */
} scenarios[] = {
    {"free_under_a_hold_is_reported", free_held, "is freed"},
    {"realloc_that_moves_from_under_a_hold_is_reported", realloc_held, "is freed"},
    {"munmap_of_part_of_a_hold_is_reported", unmap_held, "is unmapped"},
    {"free_after_the_last_unpin_is_not", free_after_unpin, NULL},
    {"freed_memory_is_unregistered_at_once", free_looked_up, NULL},
};
enum { NR_SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

/* Runs scenario `index` in a fresh process in check mode. Returns its exit status; `output` gets its stderr.
 */
static int run_victim(int index, char *output)
{
    int pipe_fds[2], status;
    size_t len = 0;
    ssize_t n;
    if (pipe(pipe_fds) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        char number[16];
        snprintf(number, sizeof(number), "%d", index);
        dup2(pipe_fds[1], 2);
        setenv("ANYDMA_CHECK", "2", 1);
        execl("/proc/self/exe", "hazards", number, (char *)NULL);
        _exit(126);
    }
    close(pipe_fds[1]);
    while ((n = read(pipe_fds[0], output + len, OUTPUT_BYTES - 1 - len)) > 0)
        len += (size_t)n;
    output[len] = '\0';
    close(pipe_fds[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        n++;
    return n;
}

int main(int argc, char **argv)
{
    static char output[OUTPUT_BYTES];
    int failed = 0;
    if (!anydma_active())
        return puts("not ok - the shim is not there"), 1;
    if (argc > 1) {
        scenarios[atoi(argv[1])].run();
        return 0;
    }
    for (int i = 0; i < NR_SCENARIOS; i++) {
        const struct scenario *scenario = &scenarios[i];
        int status = run_victim(i, output);
        int reports = count(output, "HAZARD"), stacks = count(output, "#0 ");
        int ok = scenario->how ? status == HAZARD_STATUS && reports == 1 && stacks == 2 &&
                                     count(output, scenario->how) == 1
                               : status == 0 && reports == 0;
        printf("%s - %s\n", ok ? "ok" : "not ok", scenario->name);
        if (!ok)
            printf("status %d, output:\n%s\n", status, output);
        failed |= !ok;
    }
    printf("1..%d\n", NR_SCENARIOS);
    return failed;
}
