/* SPDX-License-Identifier: MIT */
/* The capture's reader. Trusts nothing in the file: lengths are checked against what is there before they are
 * used. */
#include "cli/report/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/report/progress.h"

/* What each record holds: t its time, n a number, s a string, f a count and as many numbers,
 * * as many numbers as there are. */
static const char *const layouts[NR_RECORD_TYPES] = {
    [RECORD_PROCESS] = "nnnnnnnnsss",
    [RECORD_MODULE] = "nnnss",
    [RECORD_THREAD] = "ns",
    [RECORD_SITE] = "nfs",
    [RECORD_ATTACH] = "tnnnns",
    [RECORD_DETACH] = "tn",
    [RECORD_DEVICE] = "ts",
    [RECORD_MAP] = "tnnnnnnnnnn",
    [RECORD_UNMAP] = "tnnnnnnnn",
    [RECORD_OWED] = "tnnnn",
    [RECORD_UNOWED] = "tnn",
    [RECORD_REFUSED] = "tnnnn",
    [RECORD_HAZARD] = "tnnnnnn",
    [RECORD_USED] = "tnnnnnn",
    [RECORD_SAMPLE] = "tnnnnn",
    [RECORD_FREED] = "tn",
    [RECORD_FORK] = "tnn",
    [RECORD_STATS] = "t*",
    [RECORD_LOST] = "tn8",
    [RECORD_END] = "t",
    [RECORD_SNAPSHOT] = "t",
    [RECORD_PLACED] = "tnnnnn",
    [RECORD_REMOVED] = "tnn",
};

struct cursor {
    const unsigned char *at, *end;
};

static bool take_number(struct cursor *cursor, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        unsigned char byte = *cursor->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool take_bytes(struct cursor *cursor, const char **text, size_t *len)
{
    uint64_t n;
    if (!take_number(cursor, &n) || n > (uint64_t)(cursor->end - cursor->at))
        return false;
    *text = (const char *)cursor->at;
    *len = (size_t)n;
    cursor->at += n;
    return true;
}

static bool take_field(struct cursor *cursor, struct reader_event *event)
{
    return event->nr_fields < READER_MAX_FIELDS && take_number(cursor, &event->field[event->nr_fields++]);
}

static bool take_frames(struct cursor *cursor, struct reader_event *event)
{
    uint64_t nr;
    if (!take_number(cursor, &nr) || nr > CAPTURE_MAX_FRAMES)
        return false;
    event->field[event->nr_fields++] = nr;
    for (uint64_t i = 0; i < nr; i++)
        if (!take_field(cursor, event))
            return false;
    return true;
}

static bool decode(const char *layout, struct cursor body, struct reader_event *event)
{
    unsigned nr_texts = 0;
    uint64_t time;
    bool ok = true;
    /* An older writer's record may lack the last fields. */
    for (; ok && *layout && body.at < body.end; layout++) {
        switch (*layout) {
        case 't':
            ok = take_number(&body, &time);
            event->time_ns += ok ? time : 0;
            break;
        case 'n':
            ok = take_field(&body, event);
            break;
        case '*':
            while (ok && body.at < body.end)
                ok = take_field(&body, event);
            break;
        case 'f':
            ok = take_frames(&body, event);
            break;
        case 's':
            ok = take_bytes(&body, &event->text[nr_texts], &event->text_len[nr_texts]);
            nr_texts++;
            break;
        case '8':
            ok = body.end - body.at >= 8;
            if (ok)
                memcpy(&event->field[event->nr_fields++], body.at, 8);
            break;
        }
    }
    return ok;
}

struct reading {
    bool (*each)(void *arg, const struct reader_event *event);
    void *arg;
    struct reader_health *health;
    bool is_capture; /* a record RECORD_PROCESS was seen */
    bool is_newer;
    bool is_over;
};

static void tell(struct reading *reading, const struct reader_event *event)
{
    if (event->type == RECORD_PROCESS) {
        reading->is_capture = true;
        reading->is_newer = event->field[0] > CAPTURE_VERSION;
        reading->is_over |= reading->is_newer;
    } else if (event->type == RECORD_LOST) {
        reading->health->lost_error = (int)(event->field[0] & 4095);
        reading->health->lost_events = event->field[1];
    } else if (event->type == RECORD_END) {
        reading->health->is_orderly = true;
    } else if (event->type == RECORD_SNAPSHOT) {
        reading->health->is_snapshot = true;
    }
    if (!reading->is_over && !reading->each(reading->arg, event))
        reading->is_over = true;
}

static void read_records(struct reading *reading, const struct block_header *header)
{
    struct cursor records = {(const unsigned char *)(header + 1),
                             (const unsigned char *)(header + 1) + header->length};
    while (records.at < records.end && !reading->is_over) {
        struct reader_event event = {.type = *records.at++, .time_ns = header->time_ns};
        struct cursor body;
        size_t len;
        const char *text;
        if (!take_bytes(&records, &text, &len)) {
            reading->health->damaged++;
            return;
        }
        body = (struct cursor){(const unsigned char *)text, (const unsigned char *)text + len};
        if (event.type >= NR_RECORD_TYPES || !layouts[event.type])
            continue;
        if (!decode(layouts[event.type], body, &event))
            reading->health->damaged++;
        else
            tell(reading, &event);
    }
}

static bool is_sound(struct block_header *header, size_t len)
{
    uint32_t crc = header->crc;
    if (header->length > CAPTURE_BLOCK - sizeof(*header) || sizeof(*header) + header->length > len)
        return false;
    if (header->magic == BLOCK_OPEN)
        return true;
    header->crc = 0;
    bool is_good = header->magic == BLOCK_SEALED &&
                   crc32(0, (const unsigned char *)header, (uInt)(sizeof(*header) + header->length)) == crc;
    header->crc = crc;
    return is_good;
}

static ssize_t read_block(int fd, void *block, uint64_t offset)
{
    size_t done = 0;
    while (done < CAPTURE_BLOCK) {
        ssize_t n = pread(fd, (char *)block + done, CAPTURE_BLOCK - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int read_all(int fd, struct reading *reading)
{
    static _Alignas(8) unsigned char block[CAPTURE_BLOCK];
    struct block_header *header = (struct block_header *)block;
    struct reader_health *health = reading->health;
    uint64_t index = 0;
    struct stat st;
    uint64_t total = fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size / CAPTURE_BLOCK : 0;
    struct progress progress = progress_begin("reading");
    for (; !reading->is_over; index++) {
        if (index % 16 == 0)
            progress_show(&progress, index < total ? index : total - 1, total);
        ssize_t len = read_block(fd, block, index * CAPTURE_BLOCK);
        if (len < 0)
            return (int)len;
        if (len == 0)
            break;
        if ((size_t)len < sizeof(*header)) {
            health->is_cut = true;
            break;
        }
        bool is_block = header->magic == BLOCK_OPEN || header->magic == BLOCK_SEALED;
        if (index == 0 && !is_block && len < CAPTURE_BLOCK)
            return -EPROTO;
        if (is_block && header->length <= CAPTURE_BLOCK - sizeof(*header) &&
            sizeof(*header) + header->length > (size_t)len) {
            /* Cut short: the records before the cut are taken for what they are. */
            health->is_cut = true;
            header->magic = BLOCK_OPEN;
            header->length = (uint32_t)((size_t)len - sizeof(*header));
        }
        if (!is_block && header->magic == 0 && header->length == 0 && header->sequence == 0)
            continue; /* reserved, and never written */
        if (!is_sound(header, (size_t)len) || header->sequence != index) {
            health->damaged++;
            health->missing++;
            continue;
        }
        health->blocks++;
        health->unsealed += header->magic == BLOCK_OPEN && !health->is_cut;
        read_records(reading, header);
    }
    progress_show(&progress, total, total);
    return 0;
}

/* What can be read once only, copied; by name, for it is read twice, and a comparison reads two. "-" is stdin. Returns a
 * descriptor of its own, or -errno. */
static int open_pipe(const char *path, int fd)
{
    enum { MOST = 4 };
    static struct {
        char *path;
        int copy;
    } copies[MOST];
    static unsigned nr;
    char buffer[65536], name[32];
    ssize_t n;
    for (unsigned i = 0; i < nr; i++)
        if (strcmp(copies[i].path, path) == 0) {
            snprintf(name, sizeof(name), "/proc/self/fd/%d", copies[i].copy);
            return open(name, O_RDONLY | O_CLOEXEC);
        }
    int copy = nr < MOST ? memfd_create("anydma-capture", MFD_CLOEXEC) : -1;
    if (copy < 0)
        return nr < MOST ? -errno : -EMFILE;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0 && write(copy, buffer, (size_t)n) != n)
            return -errno;
    if (n < 0 || !(copies[nr].path = strdup(path)))
        return -errno;
    copies[nr++].copy = copy;
    return open_pipe(path, fd);
}

static int open_capture(const char *path)
{
    struct stat st;
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (!is_stdin && (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode))))
        return fd < 0 ? -errno : fd;
    int copy = open_pipe(path, fd);
    close(fd);
    return copy;
}

int reader_read(const char *path, bool (*each)(void *arg, const struct reader_event *event), void *arg,
                struct reader_health *health)
{
    struct reading reading = {.each = each, .arg = arg, .health = health};
    memset(health, 0, sizeof(*health));
    int fd = open_capture(path);
    if (fd < 0)
        return fd;
    int error = read_all(fd, &reading);
    close(fd);
    if (!error && (!health->blocks || reading.is_newer))
        error = -EPROTO;
    return error;
}
