/* SPDX-License-Identifier: MIT */
/*
 * anydma snapshot: a report, or a capture, of a process that goes on running. Its live page names its
 * capture, whose blocks only ever grow: they are copied, and those still open are sealed in the copy. The
 * process is asked to record afresh what is used, and does so at its next lookup or mapping; it is never
 * stopped, and never waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/pages.h"
#include "cli/report/view.h"
#include "profile/format.h"

enum { NR_TRIES = 100, ANSWER_MS = 500, STEP_MS = 5 };

struct options {
    const char *output, *html;
    bool is_json;
    pid_t pid;
};

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("anydma snapshot: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return CLI_FAILED;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* --- the live page -------------------------------------------------------------------------------- */

static int explain_no_page(pid_t pid, const char *folder, int error)
{
    if (!pages_is_alive(pid))
        return fail("there is no process %d", pid);
    if (error == EACCES || error == EPERM)
        return fail("process %d is another user's: run this as that user", pid);
    return fail(
        "process %d has no page in %s: it runs without anydma, has no device attached yet, or is another "
        "user's or has another XDG_RUNTIME_DIR; `anydma top` lists those that can be asked",
        pid, folder);
}

/* Returns 0 with the page mapped, or the status after a message. */
static int find_page(pid_t pid, struct live_page **page, struct live_page *copy)
{
    char folder[512], name[16];
    if (!pages_folder(folder, sizeof(folder)))
        return fail("XDG_RUNTIME_DIR is not set: set it to what the process has");
    snprintf(name, sizeof(name), "%d", pid);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *page = fd < 0 ? NULL : pages_map(fd, name, true);
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (!*page)
        return explain_no_page(pid, folder, error);
    if (!pages_copy(*page, copy) || copy->pid != (uint64_t)pid)
        return fail("%s/%s is no page of this version of anydma", folder, name);
    if (!pages_is_alive(pid))
        return copy->capture[0]
                   ? fail("process %d has ended; its capture is whole up to then: `anydma report %s`", pid,
                          copy->capture)
                   : fail("process %d has ended, without a capture", pid);
    return copy->capture[0]
               ? 0
               : fail("process %d (%s) writes no capture: start it with `anydma run -o FILE -- ...`", pid,
                      copy->command);
}

/* Whether the process recorded afresh what is used; an idle one, or one that only repeats lookups, does not.
 */
static bool ask(struct live_page *page)
{
    uint64_t mine = atomic_fetch_add_explicit(&page->asked, 1, memory_order_relaxed) + 1;
    for (int waited = 0; waited < ANSWER_MS; waited += STEP_MS) {
        if (atomic_load_explicit(&page->answered, memory_order_acquire) >= mine)
            return true;
        pause_ms(STEP_MS);
    }
    return false;
}

/* --- copying -------------------------------------------------------------------------------------- */

static bool read_at(int fd, void *to, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(offset + done));
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool write_at(int fd, const void *from, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)from + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static uint32_t checksum(struct block_header *header)
{
    uint32_t crc = header->crc;
    header->crc = 0;
    uint32_t sum = (uint32_t)crc32(0, (const Bytef *)header, (uInt)(sizeof(*header) + header->length));
    header->crc = crc;
    return sum;
}

/* One block as it is now, sealed; what is damaged stays as it is. The bytes below `length` never change once
 * `length` has been read; a block that is being sealed at this moment has a wrong checksum for that long.
 * Returns its bytes, 0: there is none. */
static size_t take_block(int fd, uint64_t offset, struct block_header *header)
{
    for (int i = 0; i < NR_TRIES; i++) {
        if (!read_at(fd, header, sizeof(*header), offset) || !header->magic)
            return 0;
        if (header->length > CAPTURE_BLOCK - sizeof(*header) ||
            !read_at(fd, header + 1, header->length, offset + sizeof(*header)))
            return 0;
        if (header->magic == BLOCK_OPEN) {
            header->magic = BLOCK_SEALED;
            header->crc = checksum(header);
        }
        if (header->crc == checksum(header))
            break;
        pause_ms(1);
    }
    return sizeof(*header) + header->length;
}

/* The note that ends a copy: a block of its own. */
static bool write_note(int fd, uint64_t index)
{
    struct timespec now;
    struct {
        struct block_header header;
        unsigned char record[3];
    } note = {.header = {.magic = BLOCK_SEALED, .length = 3, .sequence = (uint32_t)index},
              .record = {RECORD_SNAPSHOT, 1, 0}};
    clock_gettime(CLOCK_MONOTONIC, &now);
    note.header.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    note.header.crc = checksum(&note.header);
    return write_at(fd, &note, sizeof(note.header) + sizeof(note.record), index * CAPTURE_BLOCK);
}

/* Returns the number of blocks that were copied, -1 with errno. */
static int64_t copy_blocks(int from, int to)
{
    static _Alignas(8) unsigned char block[CAPTURE_BLOCK];
    uint64_t index = 0;
    for (size_t len; (len = take_block(from, index * CAPTURE_BLOCK, (struct block_header *)block)); index++)
        if (!write_at(to, block, len, index * CAPTURE_BLOCK))
            return -1;
    return write_note(to, index) ? (int64_t)index : -1;
}

/* --- the command ---------------------------------------------------------------------------------- */

static int open_capture(const struct live_page *page)
{
    struct stat st;
    int fd = open(page->capture, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == page->capture_device &&
        st.st_ino == page->capture_inode)
        return fd;
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    fail("the capture of process %d, %s, %s%s", (int)page->pid, page->capture,
         error && error != ENOENT ? "can't be read: " : "was removed, renamed or replaced",
         error && error != ENOENT ? strerror(error) : "");
    return -1;
}

/* Where the copy goes, empty; -1 after a message. */
static int open_output(const char *path, const struct live_page *page)
{
    struct stat st;
    int fd =
        path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : memfd_create("anydma-snapshot", MFD_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == page->capture_device &&
        st.st_ino == page->capture_inode) {
        fail("%s is what the process is writing: name another file", path);
        close(fd);
        return -1;
    }
    if (fd >= 0 && ftruncate(fd, 0) == 0)
        return fd;
    fail("%s: %s", path ? path : "a copy in memory", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int report(int fd, const struct options *options)
{
    char path[32], *argv[8] = {"report", "--at", "end"};
    int argc = 3;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (options->is_json)
        argv[argc++] = "--json";
    if (options->html) {
        argv[argc++] = "--html";
        argv[argc++] = (char *)options->html;
    }
    argv[argc++] = path;
    optind = 0;
    return cli_report(argc, argv);
}

static int take(const struct live_page *page, const struct options *options)
{
    char size[32];
    int from = open_capture(page), to = from < 0 ? -1 : open_output(options->output, page),
        status = CLI_FAILED;
    int64_t nr = to < 0 ? 0 : copy_blocks(from, to);
    if (nr < 0)
        status = fail("%s: %s", options->output ? options->output : "the copy", strerror(errno));
    else if (to >= 0 && nr == 0)
        status = fail("%s holds nothing yet", page->capture);
    else if (to >= 0 && options->output)
        status = printf("%s: %s of process %d (%s)\n", options->output,
                        text_size(size, (uint64_t)nr * CAPTURE_BLOCK), options->pid, page->command) < 0
                     ? CLI_FAILED
                     : 0;
    else if (to >= 0)
        status = report(to, options);
    if (to >= 0)
        close(to);
    if (from >= 0)
        close(from);
    return status;
}

static int parse(int argc, char **argv, struct options *options)
{
    int choice;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        if (choice == '?')
            return CLI_FAILED;
        options->output = choice == 'o' ? optarg : options->output;
        options->html = choice == 'H' ? optarg : options->html;
        options->is_json |= choice == 'j';
    }
    if (optind + 1 != argc) {
        cli_usage(argv[0], stderr);
        return CLI_FAILED;
    }
    if (options->output && (options->is_json || options->html))
        return fail("-o writes a capture: `anydma report` of that has --json and --html");
    char *end;
    errno = 0;
    long pid = strtol(argv[optind], &end, 10);
    if (*end || end == argv[optind] || errno || pid <= 0 || pid > INT32_MAX)
        return fail("'%s' is not a process id", argv[optind]);
    options->pid = (pid_t)pid;
    return 0;
}

int cli_snapshot(int argc, char **argv)
{
    struct options options = {0};
    struct live_page *page = NULL, copy;
    int status = parse(argc, argv, &options);
    if (!status)
        status = find_page(options.pid, &page, &copy);
    if (!status) {
        if (!ask(page))
            fprintf(stderr,
                    "anydma snapshot: process %d did nothing meanwhile that could tell what is used: "
                    "\"waste\" is "
                    "as it was when last recorded\n",
                    options.pid);
        status = take(&copy, &options);
    }
    if (page)
        pages_unmap(page);
    return status;
}
