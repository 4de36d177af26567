/* SPDX-License-Identifier: MIT */
/* The one place that writes to stderr. Formats by itself: stdio may allocate and takes locks. Owns no lock. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/os.h"

int log_verbosity = LOG_WARNING;

/* A second descriptor of what stderr was at the start; below 0: none. */
static struct {
    int fd;
    dev_t device;
    ino_t inode;
} kept = {.fd = -1};

struct line {
    char text[512];
    size_t len;
};

static void put_char(struct line *line, char c)
{
    if (line->len < sizeof(line->text) - 1)
        line->text[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    while (*text)
        put_char(line, *text++);
}

static void put_number(struct line *line, uint64_t value, unsigned base, int width, char pad)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    for (; width > n; width--)
        put_char(line, pad);
    while (n)
        put_char(line, digits[--n]);
}

static void put_signed(struct line *line, int64_t value, int width, char pad)
{
    if (value < 0)
        put_char(line, '-');
    put_number(line, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, width, pad);
}

static void put_format(struct line *line, const char *format, va_list args)
{
    for (; *format; format++) {
        if (*format != '%') {
            put_char(line, *format);
            continue;
        }
        char pad = format[1] == '0' ? '0' : ' ';
        int width = 0;
        bool is_long = false;
        for (format++; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (*format - '0');
        for (; *format == 'l' || *format == 'z'; format++)
            is_long = true;
        switch (*format) {
        case 's':
            put_text(line, va_arg(args, const char *));
            break;
        case 'd':
            put_signed(line, is_long ? va_arg(args, long) : va_arg(args, int), width, pad);
            break;
        case 'u':
            put_number(line, is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned), 10, width, pad);
            break;
        case 'p':
            put_text(line, "0x");
            put_number(line, (uintptr_t)va_arg(args, void *), 16, 0, ' ');
            break;
        case 'x':
            put_number(line, is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned), 16, width, pad);
            break;
        case '\0':
            return;
        default:
            put_char(line, *format);
        }
    }
}

void log_keep_stderr(void)
{
    enum { OUT_OF_THE_WAY = 200 };
    struct stat file;
    kept.fd = (int)os_call(SYS_fcntl, 2, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY, 0, 0, 0);
    if (kept.fd >= 0 && os_call(SYS_fstat, kept.fd, (long)&file, 0, 0, 0, 0) == 0) {
        kept.device = file.st_dev;
        kept.inode = file.st_ino;
    }
}

static bool is_still_kept(void)
{
    struct stat file;
    return kept.fd >= 0 && os_call(SYS_fstat, kept.fd, (long)&file, 0, 0, 0, 0) == 0 &&
           file.st_dev == kept.device && file.st_ino == kept.inode;
}

void log_drop_stderr(void)
{
    if (is_still_kept())
        os_close(kept.fd);
    kept.fd = -1;
}

int log_stderr(void)
{
    return os_call(SYS_fcntl, 2, F_GETFD, 0, 0, 0, 0) < 0 && is_still_kept() ? kept.fd : 2;
}

static int write_line(int fd, struct line *line)
{
    line->text[line->len++] = '\n';
    for (size_t done = 0; done < line->len;) {
        ssize_t n = os_write(fd, line->text + done, line->len - done);
        if (n <= 0)
            return n ? (int)n : -EIO;
        done += (size_t)n;
    }
    return 0;
}

void log_write(enum log_level level, const char *format, ...)
{
    if ((int)level > log_verbosity)
        return;
    struct line line = {.len = 0};
    va_list args;
    va_start(args, format);
    put_text(&line, "anydma: ");
    put_format(&line, format, args);
    va_end(args);
    write_line(2, &line);
}

int log_line(int fd, const char *format, ...)
{
    struct line line = {.len = 0};
    va_list args;
    va_start(args, format);
    put_format(&line, format, args);
    va_end(args);
    return write_line(fd, &line);
}

void log_format(char *text, size_t size, const char *format, ...)
{
    struct line line = {.len = 0};
    va_list args;
    va_start(args, format);
    put_format(&line, format, args);
    va_end(args);
    size_t len = line.len < size ? line.len : size - 1;
    for (size_t i = 0; i < len; i++)
        text[i] = line.text[i];
    text[len] = '\0';
}
