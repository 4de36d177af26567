/* SPDX-License-Identifier: MIT */
/*
 * Space for a block is reserved on disk, then mapped shared: a record is there as soon as it is written, with
 * no system call, and stays there when the process is killed. A full disk shows at the reservation, never as
 * SIGBUS; the last block then tells how much was lost (space for that is always kept).
 */
#include "profile/blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/os.h"
#include "profile/record.h"

enum { LOST_BYTES = 32, PATH_BYTES = 4096, FIRST_FD = 900 };

static struct {
    int fd;
    bool is_open;
    bool is_private; /* the file system can't map shared: the block is written with pwrite */
    int error;
    struct block_header *block;
    struct block_header *spare; /* for is_private */
    unsigned char *lost;        /* the count in the RECORD_LOST, once there is one */
    uint64_t nr_lost;
    uint64_t offset;
    uint32_t sequence;
    dev_t device;
    ino_t inode;
} file = {.fd = -1};

static char file_path[PATH_BYTES];

static uint32_t crc_table[8][256]; /* [n]: a byte, followed by n zeros */

static void make_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ UINT32_C(0xedb88320) : c >> 1;
        crc_table[0][i] = c;
    }
    for (int n = 1; n < 8; n++)
        for (int i = 0; i < 256; i++)
            crc_table[n][i] = crc_table[0][crc_table[n - 1][i] & 255] ^ crc_table[n - 1][i] >> 8;
}

/* Eight bytes a step ("slicing by 8"). */
static uint32_t crc_of(const unsigned char *data, size_t len)
{
    uint32_t crc = UINT32_MAX;
    if (!crc_table[0][1])
        make_crc_table();
    for (; len >= 8; data += 8, len -= 8) {
        uint32_t low, high;
        memcpy(&low, data, 4);
        memcpy(&high, data + 4, 4);
        low ^= crc;
        crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^ crc_table[5][low >> 16 & 255] ^
              crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^ crc_table[2][high >> 8 & 255] ^
              crc_table[1][high >> 16 & 255] ^ crc_table[0][high >> 24];
    }
    for (; len; len--)
        crc = crc_table[0][(crc ^ *data++) & 255] ^ crc >> 8;
    return ~crc;
}

static int put(const void *data, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        intptr_t n = os_call(SYS_pwrite64, file.fd, (long)data + (long)done, (long)(len - done),
                             (long)(offset + done), 0, 0);
        if (n <= 0)
            return n ? (int)n : -EIO;
        done += (size_t)n;
    }
    return 0;
}

/* Programs close descriptors that they don't know: whether ours is still our file. */
static bool is_ours(void)
{
    struct stat st;
    return os_call(SYS_fstat, file.fd, (long)&st, 0, 0, 0, 0) == 0 && st.st_dev == file.device &&
           st.st_ino == file.inode;
}

static int reserve(void)
{
    static const char zeros[4096];
    if (os_limit(RLIMIT_FSIZE) < file.offset + CAPTURE_BLOCK)
        return -EFBIG; /* trying would send SIGXFSZ */
    int error = os_fallocate(file.fd, (off_t)file.offset, CAPTURE_BLOCK);
    if (error != -EOPNOTSUPP && error != -ENOSYS)
        return error;
    error = 0;
    for (uint64_t at = 0; !error && at < CAPTURE_BLOCK; at += sizeof(zeros))
        error = put(zeros, sizeof(zeros), file.offset + at);
    return error;
}

static int map_block(void)
{
    intptr_t block = file.is_private ? -EINVAL
                                     : os_mmap(0, CAPTURE_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd,
                                               (off_t)file.offset);
    if (!os_is_error(block)) {
        file.block = (struct block_header *)block;
        return 0;
    }
    file.is_private = true;
    if (!file.spare) {
        block = os_mmap(0, CAPTURE_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (os_is_error(block))
            return (int)block;
        file.spare = (struct block_header *)block;
    }
    file.block = file.spare;
    return 0;
}

static int next_block(uint64_t now_ns)
{
    int error = is_ours() ? reserve() : -EBADF;
    if (!error)
        error = map_block();
    if (error)
        return error;
    *file.block = (struct block_header){.magic = BLOCK_OPEN, .sequence = file.sequence++, .time_ns = now_ns};
    return file.is_private ? put(file.block, sizeof(*file.block), file.offset) : 0;
}

static void seal(void)
{
    struct block_header *block = file.block;
    block->crc = 0;
    block->magic = BLOCK_SEALED;
    block->crc = crc_of((unsigned char *)block, sizeof(*block) + block->length);
    if (file.is_private && is_ours())
        put(block, sizeof(*block) + block->length, file.offset);
    else if (!file.is_private)
        os_munmap((uintptr_t)block, CAPTURE_BLOCK);
    file.block = NULL;
}

static size_t room(void)
{
    return CAPTURE_BLOCK - LOST_BYTES - sizeof(struct block_header) - file.block->length;
}

static void append(const void *record, size_t len)
{
    struct block_header *block = file.block;
    unsigned char *at = (unsigned char *)(block + 1) + block->length;
    memcpy(at, record, len);
    /* A reader of a killed process's file trusts `length`: the bytes come first. */
    __atomic_store_n(&block->length, block->length + (uint32_t)len, __ATOMIC_RELEASE);
    if (!file.is_private)
        return;
    if (put(at, len, file.offset + (uint64_t)(at - (unsigned char *)block)) == 0)
        put(block, sizeof(*block), file.offset);
}

static void give_up(int error, uint64_t now_ns)
{
    static const uint64_t none;
    struct record record;
    file.error = error;
    log_write(LOG_WARNING, "the capture stops here: error %d (%s); what it holds so far stays readable",
              -error,
              error == -ENOSPC  ? "the disk is full"
              : error == -EFBIG ? "the limit on file sizes, `ulimit -f`"
              : error == -EBADF ? "the program closed its descriptor"
                                : "writing it failed");
    if (!file.block)
        return;
    record_begin(&record, RECORD_LOST);
    record_number(&record, now_ns - file.block->time_ns);
    record_number(&record, (uint64_t)-error);
    memcpy(record.bytes + record.len, &none, sizeof(none)); /* rewritten with each event that is lost */
    record.len += sizeof(none);
    record_end(&record);
    append(record.bytes, record.len);
    file.lost = (unsigned char *)(file.block + 1) + file.block->length - 8;
}

uint64_t blocks_base_time(size_t len, uint64_t now_ns)
{
    if (file.error)
        return now_ns;
    if (room() < len) {
        /* The old block is let go only when there is a new one: else it takes the note of what was lost. */
        struct block_header *full = file.block;
        uint64_t full_offset = file.offset;
        if (file.is_private) {
            seal();
            full = NULL;
        }
        file.offset += CAPTURE_BLOCK;
        int error = next_block(now_ns);
        if (error) {
            file.offset = full_offset;
            file.block = full;
            give_up(error, now_ns);
            return now_ns;
        }
        if (full) {
            struct block_header *fresh = file.block;
            file.block = full;
            seal();
            file.block = fresh;
        }
    }
    return file.block->time_ns;
}

void blocks_append(const void *record, size_t len, uint64_t now_ns)
{
    if (!file.error) {
        append(record, len);
    } else {
        file.nr_lost++;
        if (file.lost)
            memcpy(file.lost, &file.nr_lost, sizeof(file.nr_lost));
    }
}

/* High up, where a program that closes or counts its own descriptors is less likely to meet it. */
static int open_for_us(const char *path)
{
    int fd = os_open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fd;
    int high = (int)os_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FIRST_FD, 0, 0, 0);
    if (high >= 0) {
        os_close(fd);
        fd = high;
    }
    int error = (int)os_call(SYS_flock, fd, LOCK_EX | LOCK_NB, 0, 0, 0, 0);
    if (error == -EWOULDBLOCK) {
        os_close(fd);
        return error;
    }
    return fd;
}

int blocks_open(const char *path)
{
    struct stat st;
    size_t len = strlen(path);
    int fd = len < sizeof(file_path) ? open_for_us(path) : -ENAMETOOLONG;
    if (fd < 0)
        return fd;
    memcpy(file_path, path, len + 1);
    file.fd = fd;
    file.offset = file.sequence = 0;
    file.nr_lost = 0;
    file.lost = NULL;
    file.block = NULL;
    int error = (int)os_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0);
    file.device = st.st_dev;
    file.inode = st.st_ino;
    file.error = 0;
    if (!error && !S_ISREG(st.st_mode))
        error = -EINVAL;
    if (!error)
        error = (int)os_call(SYS_ftruncate, fd, 0, 0, 0, 0, 0);
    if (!error)
        error = next_block(os_monotonic_ns());
    if (error)
        os_close(fd);
    file.is_open = !error;
    return error;
}

bool blocks_are_open(void)
{
    return file.is_open;
}

const char *blocks_name(uint64_t *device, uint64_t *inode)
{
    *device = file.device;
    *inode = file.inode;
    return file_path;
}

void blocks_close(void)
{
    if (!file.is_open)
        return;
    file.is_open = false;
    if (file.block) {
        uint64_t end = file.offset + sizeof(struct block_header) + file.block->length;
        seal();
        if (is_ours())
            os_call(SYS_ftruncate, file.fd, (long)end, 0, 0, 0, 0);
    }
    if (is_ours())
        os_close(file.fd);
}

void blocks_forget(void)
{
    if (!file.is_open)
        return;
    if (file.block && !file.is_private)
        os_munmap((uintptr_t)file.block, CAPTURE_BLOCK);
    if (is_ours())
        os_close(file.fd);
    file.is_open = false;
    file.block = NULL;
}
