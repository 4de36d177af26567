/* SPDX-License-Identifier: MIT */
/* Which programs have huge pages from the start, before they have opened a device: what is looked at was touched before the header's
 * own constructor runs, by which a program that includes it is known. */
#include "huge.h"

#include <sys/wait.h>
#include <unistd.h>

static size_t huge_at_start;

__attribute__((constructor(101))) static void begin(void)
{
    char *memory = aligned_alloc(BLOCK, LEN);
    touch(memory);
    huge_at_start = huge_now();
}

/* This program anew: whether it has huge pages. */
static bool is_huge(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "huge_start", "anew", (char *)NULL);
        _exit(127);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void any_program(void)
{
    EXPECT(!is_huge());
}

static void one_that_says_so(void)
{
    setenv("ANYDMA_THP", "early", 1);
    EXPECT(is_huge());
    unsetenv("ANYDMA_THP");
}

static void one_with_a_library_for_devices(void)
{
    char path[4096] = "", loaded[8192];
    EXPECT(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
    *strrchr(path, '/') = '\0';
    const char *before = getenv("LD_PRELOAD");
    char *saved = strdup(before);
    snprintf(loaded, sizeof(loaded), "%s:%s/../standins/libspdk.so", before, path);
    setenv("LD_PRELOAD", loaded, 1);
    EXPECT(is_huge());
    setenv("ANYDMA_THP", "never", 1);
    EXPECT(!is_huge());
    unsetenv("ANYDMA_THP");
    setenv("LD_PRELOAD", saved, 1);
    free(saved);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return is_most(huge_at_start) ? 0 : 1;
    if (!huge_pages_can_be_asked_for())
        return 77;
    shim_must_be_there();
    behaviour("any_program_has_none", any_program);
    behaviour("one_that_says_so_has_them", one_that_says_so);
    behaviour("one_that_links_a_library_for_devices_has_them", one_with_a_library_for_devices);
    return behaviours_end();
}
