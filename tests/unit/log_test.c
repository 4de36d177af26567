/* SPDX-License-Identifier: MIT */
/* Messages: their form, their levels, one write each, to stderr and nowhere else. stdout and stderr are
 * packet pipes here, so that one read gives what one write wrote. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int stdout_reader, stderr_reader;
static char said[4096];

static int capture(int fd)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_DIRECT | O_NONBLOCK), 0);
    cr_assert_eq(dup2(ends[1], fd), fd);
    close(ends[1]);
    return ends[0];
}

static void capture_both(void)
{
    stdout_reader = capture(1);
    stderr_reader = capture(2);
}

/* What the next write to stderr said; "" if there was none. */
static const char *next_said(void)
{
    ssize_t len = read(stderr_reader, said, sizeof(said) - 1);
    said[len < 0 ? 0 : len] = '\0';
    return said;
}

TestSuite(log, .init = capture_both);

Test(log, message_is_one_prefixed_line_in_one_write)
{
    log_write(LOG_WARNING, "%s at %d", "trouble", 7);
    cr_expect_str_eq(next_said(), "anydma: trouble at 7\n");
    cr_expect_str_eq(next_said(), "");
}

Test(log, line_has_no_prefix_and_no_level)
{
    log_verbosity = LOG_ERROR;
    log_line(2, "pinned %lu bytes", 4096ul);
    cr_expect_str_eq(next_said(), "pinned 4096 bytes\n");
}

Test(log, line_goes_where_it_is_sent)
{
    log_line(1, "x");
    cr_expect_eq(read(stdout_reader, said, 2), 2);
    cr_expect_str_eq(next_said(), "");
}

Test(log, nothing_goes_to_stdout_by_itself)
{
    log_write(LOG_ERROR, "x");
    cr_expect_eq(read(stdout_reader, said, 1), -1);
    cr_expect_eq(errno, EAGAIN);
}

Test(log, only_warnings_and_errors_are_written_unless_asked)
{
    log_write(LOG_INFO, "info");
    log_write(LOG_DEBUG, "debug");
    cr_expect_str_eq(next_said(), "");
    log_write(LOG_ERROR, "error");
    cr_expect_str_eq(next_said(), "anydma: error\n");
    log_verbosity = LOG_DEBUG;
    log_write(LOG_DEBUG, "debug");
    cr_expect_str_eq(next_said(), "anydma: debug\n");
}

Test(log, errno_is_kept)
{
    close(2);
    errno = EXDEV;
    log_write(LOG_ERROR, "nobody reads this");
    cr_expect_eq(errno, EXDEV);
}

#define EXPECT_LIKE_PRINTF(...)                                                                              \
    do {                                                                                                     \
        char wanted[256];                                                                                    \
        snprintf(wanted, sizeof(wanted) - 1, __VA_ARGS__);                                                   \
        strcat(wanted, "\n");                                                                                \
        log_line(2, __VA_ARGS__);                                                                            \
        cr_expect_str_eq(next_said(), wanted);                                                               \
    } while (0)

Test(log, numbers_look_as_printf_writes_them)
{
    EXPECT_LIKE_PRINTF("%d %d %d %d", 0, -1, INT_MAX, INT_MIN);
    EXPECT_LIKE_PRINTF("%u %x", UINT_MAX, 0xdeadbeefu);
    EXPECT_LIKE_PRINTF("%lu %lx", ULONG_MAX, 0x123456789abcdeful);
    EXPECT_LIKE_PRINTF("%ld %ld", LONG_MAX, LONG_MIN);
    EXPECT_LIKE_PRINTF("%zu", (size_t)1 << 40);
    EXPECT_LIKE_PRINTF("%p", (void *)0x7f0012345000);
}

Test(log, widths_pad_with_blanks_or_zeroes)
{
    EXPECT_LIKE_PRINTF("[%6u] [%06u] [%2u]", 123u, 123u, 12345u);
    EXPECT_LIKE_PRINTF("[%016lx] [%8lu]", 0xabcul, 99ul);
    EXPECT_LIKE_PRINTF("[%06d]", 42);
}

Test(log, text_and_percent_signs_pass)
{
    EXPECT_LIKE_PRINTF("100%% of %s%s", "every", "thing");
}

Test(log, unfinished_format_ends_the_line)
{
    const char *format = "half %";
    log_line(2, format, 1);
    cr_expect_str_eq(next_said(), "half \n");
}

Test(log, overlong_message_is_cut_and_still_ends_its_line)
{
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_write(LOG_ERROR, "%s", text);
    cr_expect_eq(strlen(next_said()), 512);
    cr_expect_eq(said[511], '\n');
    cr_expect_str_eq(next_said(), "");
}
