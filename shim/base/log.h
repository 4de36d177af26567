/* SPDX-License-Identifier: MIT */
/* Messages to stderr, one write(2) each, never to stdout, never through stdio. Levels as ANYDMA_VERBOSE. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

extern int log_verbosity; /* highest level that is written; LOG_WARNING until config has been read */

/* Formats %s %d %u %x %p %lu %lx %zu only. Prefixes "anydma: ". Async-signal safe; keeps errno. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For what is written at the end: programs close stderr before that (coreutils do, to see whether all was written). Keeps a second
 * descriptor of it, which a forked child drops: who waits for the end of a pipe is not to wait for a daemon. */
void log_keep_stderr(void);
void log_drop_stderr(void);
/* Where stderr is to be found now: 2, or what was kept. */
int log_stderr(void);
/* The same into `text`, cut to `size` and terminated. */
void log_format(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* One line to `fd` without prefix or level: the summary, a snapshot. Returns 0, or -errno when it could not be written. */
int log_line(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
