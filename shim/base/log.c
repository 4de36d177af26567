/* SPDX-License-Identifier: MIT */
/* The one place that writes to stderr. Formats by itself: stdio may allocate and takes locks. Owns no lock. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/os.h"

int log_verbosity = LOG_WARNING;

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

static void write_line(int fd, struct line *line)
{
    line->text[line->len++] = '\n';
    for (size_t done = 0; done < line->len;) {
        ssize_t n = os_write(fd, line->text + done, line->len - done);
        if (n <= 0)
            return;
        done += (size_t)n;
    }
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

void log_line(int fd, const char *format, ...)
{
    struct line line = {.len = 0};
    va_list args;
    va_start(args, format);
    put_format(&line, format, args);
    va_end(args);
    write_line(fd, &line);
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
