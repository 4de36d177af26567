/* SPDX-License-Identifier: MIT */
/* What the shim says on stderr between two moments, for a test that counts it. It is passed on afterwards. */
#ifndef TESTS_PRELOAD_SAID_H
#define TESTS_PRELOAD_SAID_H

#include "expect.h"

#include <sys/mman.h>
#include <unistd.h>

static struct {
    int stderr_was, file;
    char text[65536];
} said;

__attribute__((unused)) static void said_begin(void)
{
    said.stderr_was = dup(2);
    said.file = memfd_create("said", 0);
    EXPECT(said.stderr_was >= 0 && said.file >= 0 && dup2(said.file, 2) == 2);
}

__attribute__((unused)) static void said_end(void)
{
    fflush(stderr);
    dup2(said.stderr_was, 2);
    ssize_t len = pread(said.file, said.text, sizeof(said.text) - 1, 0);
    said.text[len > 0 ? len : 0] = '\0';
    fputs(said.text, stderr);
    close(said.file);
    close(said.stderr_was);
}

/* How often `words` were said. */
__attribute__((unused)) static int said_times(const char *words)
{
    int times = 0;
    for (const char *at = said.text; (at = strstr(at, words)); at += strlen(words))
        times++;
    return times;
}

#endif
