/* SPDX-License-Identifier: MIT */
/* Looks before the leap. */
#include "cli/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/program.h"
#include "profile/format.h"

int start_check_program(const char *name, bool anyway)
{
    char path[PATH_MAX], reason[512];
    if (program_find(name, path) != 0)
        return 0; /* starting it says why */
    const char *blind = program_blind_spot(path, reason, sizeof(reason));
    if (!blind)
        return 0;
    fprintf(stderr, "anydma run: %s %s; %s\n", path, blind,
            anyway ? "it runs as it would without anydma" : "--anyway starts it without anydma's sight");
    return anyway ? 0 : CLI_FAILED;
}

int start_pick_output(const char *program)
{
    const char *base = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
    char name[PATH_MAX];
    size_t len = 0;
    for (; *base && len < NAME_MAX / 2; base++) {
        name[len++] = *base;
        if (*base == '%')
            name[len++] = '%';
    }
    snprintf(name + len, sizeof(name) - len, ".%d.capture", getpid());
    return setenv("ANYDMA_OUTPUT", name, 1) ? CLI_FAILED : 0;
}

/* What the shim will make of %e, %p and %%. */
static void expand(const char *name, const char *program, char *path, size_t size)
{
    const char *base = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
    size_t len = 0;
    for (const char *p = name; *p && len + 1 < size; p++) {
        int n = 1;
        if (*p == '%' && p[1] == 'e')
            n = snprintf(path + len, size - len, "%s", base);
        else if (*p == '%' && p[1] == 'p')
            n = snprintf(path + len, size - len, "%d", getpid());
        else
            path[len] = *p;
        p += *p == '%' && p[1] && strchr("pe%", p[1]);
        len += (size_t)n < size - len ? (size_t)n : size - len - 1;
    }
    path[len] = '\0';
}

/* A file that is there is replaced if it is a capture, or empty, and refused otherwise. */
static const char *what_is_wrong(int fd, const struct stat *st)
{
    uint32_t magic = 0;
    if (!S_ISREG(st->st_mode))
        return S_ISCHR(st->st_mode) ? NULL : "is not a file";
    if (st->st_size == 0)
        return NULL;
    if (pread(fd, &magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
        (magic == BLOCK_OPEN || magic == BLOCK_SEALED))
        return NULL;
    return "is there and is not a capture: name another file, or remove it";
}

/* Programs go to other folders, and their children's captures belong beside their own. */
static int make_absolute(void)
{
    const char *name = getenv("ANYDMA_OUTPUT");
    char here[PATH_MAX], path[3 * PATH_MAX];
    size_t len = 0;
    if (!name || !*name || *name == '/' || !getcwd(here, sizeof(here)))
        return 0;
    for (const char *p = here; *p; p++) {
        path[len++] = *p;
        if (*p == '%')
            path[len++] = '%';
    }
    snprintf(path + len, sizeof(path) - len, "/%s", name);
    return setenv("ANYDMA_OUTPUT", path, 1) ? CLI_FAILED : 0;
}

int start_check_output(const char *program, const char *report)
{
    if (make_absolute())
        return CLI_FAILED;
    const char *name = getenv("ANYDMA_OUTPUT");
    char path[PATH_MAX], run[PATH_MAX + 32];
    struct stat st;
    /* Not ANYDMA_...: it is no setting. */
    snprintf(run, sizeof(run), "%d:%s", getpid(), report ? report : "");
    if (report && setenv("_ANYDMA_RUN", run, 1) != 0)
        return CLI_FAILED;
    if (!name || !*name)
        return 0;
    expand(name, program, path, sizeof(path));
    bool was_there = lstat(path, &st) == 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        fprintf(stderr, "anydma run: the capture can't be written: %s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    const char *wrong = fstat(fd, &st) == 0 ? what_is_wrong(fd, &st) : strerror(errno);
    close(fd);
    if (!was_there)
        unlink(path);
    if (wrong) {
        fprintf(stderr, "anydma run: the capture can't be written: %s %s\n", path, wrong);
        return CLI_FAILED;
    }
    return 0;
}
