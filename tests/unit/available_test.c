/* SPDX-License-Identifier: MIT */
/* What the control groups leave of memory, read from folders made here. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/available.h"

#define MIB (UINT64_C(1) << 20)

static char root[64];

static void make_root(void)
{
    strcpy(root, "/tmp/available.XXXXXX");
    cr_assert(mkdtemp(root));
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

/* A file of a group; `path` below the root. */
static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

TestSuite(available, .init = make_root, .fini = remove_root);

Test(available, a_group_of_the_second_version_leaves_what_is_not_used)
{
    put("/a/b/memory.max", "104857600\n");
    put("/a/b/memory.current", "41943040\n");
    put("/a/b/memory.stat", "anon 1\nfile 20971520\ninactive_file 10485760\nactive_file 3\n");
    cr_assert_eq(available_in_groups("0::/a/b\n", root), 70 * MIB);
}

Test(available, what_a_group_above_leaves_counts_too)
{
    put("/a/b/memory.max", "max\n");
    put("/a/b/memory.current", "1048576\n");
    put("/a/memory.max", "10485760\n");
    put("/a/memory.current", "2097152\n");
    cr_assert_eq(available_in_groups("0::/a/b\n", root), 8 * MIB);
    put("/a/memory.high", "5242880\n");
    cr_assert_eq(available_in_groups("0::/a/b\n", root), 3 * MIB);
}

Test(available, a_group_of_the_first_version_is_found_among_the_controllers)
{
    put("/memory/docker/c/memory.limit_in_bytes", "8388608\n");
    put("/memory/docker/c/memory.usage_in_bytes", "1048576\n");
    put("/memory/docker/c/memory.stat", "inactive_file 5\ntotal_inactive_file 524288\n");
    cr_assert_eq(available_in_groups("12:cpu,cpuacct:/x\n4:pids,memory:/docker/c\n0::/\n", root),
                 7 * MIB + 524288);
    cr_assert_eq(available_in_groups("12:cpu,memoryless:/docker/c\n", root), UINT64_MAX);
}

Test(available, a_path_that_is_not_seen_ends_at_the_group_that_is)
{
    put("/memory/memory.limit_in_bytes", "8388608\n");
    put("/memory/memory.usage_in_bytes", "1048576\n");
    cr_assert_eq(available_in_groups("4:memory:/docker/not-seen-in-here\n", root), 7 * MIB);
}

Test(available, what_is_used_beyond_the_limit_leaves_nothing)
{
    put("/memory.max", "1048576\n");
    put("/memory.current", "2097152\n");
    cr_assert_eq(available_in_groups("0::/\n", root), 0);
}

Test(available, no_limit_and_nonsense_leave_everything)
{
    char long_path[2048] = "0::/";
    memset(long_path + 4, 'x', sizeof(long_path) - 5);
    put("/memory.max", "max\n");
    put("/memory.current", "2097152\n");
    cr_assert_eq(available_in_groups("0::/\n", root), UINT64_MAX);
    cr_assert_eq(available_in_groups("", root), UINT64_MAX);
    cr_assert_eq(available_in_groups("::::\nmemory\n:memory:", root), UINT64_MAX);
    cr_assert_eq(available_in_groups(long_path, root), UINT64_MAX);
    cr_assert_gt(available_memory(), 0);
}

Test(available, a_field_is_read_where_its_line_begins)
{
    cr_assert_eq(available_read_field("MemTotal: 5 kB\nMemAvailable:   7 kB\n", "MemAvailable:"), 7);
    cr_assert_eq(available_read_field("xMemAvailable: 7\n", "MemAvailable:"), UINT64_MAX);
    cr_assert_eq(available_read_field("MemAvailable:", "MemAvailable:"), UINT64_MAX);
    cr_assert_eq(available_read_field("a 99999999999999999999999\n", "a "), UINT64_MAX);
}
