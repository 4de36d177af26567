/* SPDX-License-Identifier: MIT */
/* Numbers for people, and people's numbers: what all subcommands write and read alike. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* "512K", "2.5M", "3GiB" or plain bytes. Returns 0 or -EINVAL. */
int text_parse_size(const char *text, uint64_t *bytes);
/* A whole number, and nothing else. Returns 0 or -EINVAL. */
int text_parse_count(const char *text, uint64_t *count);
/* Short and readable: "12.0 MiB", "1.25 ms". `buf` of at least 32 bytes, returned. */
const char *text_size(char *buf, uint64_t bytes);
const char *text_time(char *buf, uint64_t ns);
/* The whole percent that `part` is of `whole`, rounded to the nearest: 0 without a whole. */
unsigned text_percent(uint64_t part, uint64_t whole);
/* Whether colour is wanted there: a terminal, and no NO_COLOR. */
bool text_has_colour(int fd);
/* The one of `words` (the last is NULL) that was probably meant; NULL: none is near. */
const char *text_nearest(const char *word, const char *const *words);

#endif
