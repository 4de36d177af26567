/* SPDX-License-Identifier: MIT */
/* Numbers for people, and people's numbers. */
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int text_parse_size(const char *text, uint64_t *bytes)
{
    char *end;
    double value = strtod(text, &end);
    static const char units[] = "KMGT";
    if (end == text || !(value >= 0))
        return -EINVAL;
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    if (*end && (*end & ~0x20) != 'B' && !unit)
        return -EINVAL;
    if (unit && *unit) {
        value = ldexp(value, 10 * (int)(unit - units + 1));
        end++;
        end += *end == 'i';
    }
    end += *end == 'B' || *end == 'b';
    if (*end || value >= 18446744073709551616.0)
        return -EINVAL;
    *bytes = (uint64_t)value;
    return 0;
}

int text_parse_count(const char *text, uint64_t *count)
{
    char *end;
    errno = 0;
    *count = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno ? 0 : -EINVAL;
}

const char *text_size(char *buf, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(buf, 32, "%" PRIu64 " B", bytes);
    else
        snprintf(buf, 32, "%.*f %s", value < 100 && value != floor(value) ? 1 : 0, value, units[unit]);
    return buf;
}

const char *text_time(char *buf, uint64_t ns)
{
    if (ns < 1000)
        snprintf(buf, 32, "%" PRIu64 " ns", ns);
    else if (ns < 1000000)
        snprintf(buf, 32, "%.1f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(buf, 32, "%.1f ms", (double)ns / 1e6);
    else
        snprintf(buf, 32, "%.2f s", (double)ns / 1e9);
    return buf;
}

unsigned text_percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)(100.0 * (double)part / (double)whole + 0.5) : 0;
}

bool text_has_colour(int fd)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fd) && !(none && *none) && terminal && strcmp(terminal, "dumb") != 0;
}

/* Levenshtein's distance. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 32 };
    size_t row[MOST + 1], len = strlen(b);
    if (strlen(a) > MOST || len > MOST)
        return MOST;
    for (size_t i = 0; i <= len; i++)
        row[i] = i;
    for (size_t i = 0; a[i]; i++) {
        size_t before = row[0];
        row[0] = i + 1;
        for (size_t n = 0; n < len; n++) {
            size_t replaced = before + (a[i] != b[n]), least = row[n] < row[n + 1] ? row[n] : row[n + 1];
            before = row[n + 1];
            row[n + 1] = replaced < least + 1 ? replaced : least + 1;
        }
    }
    return row[len];
}

const char *text_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 1;
    for (; *words; words++) {
        size_t d = distance(word, *words);
        if (d <= least && (!best || d < distance(word, best)))
            best = *words;
    }
    return best;
}
