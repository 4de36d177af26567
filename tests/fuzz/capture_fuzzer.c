/* SPDX-License-Identifier: MIT */
/* libFuzzer on the reader of captures, all the way to a report's rows. The input is a capture; where its
 * first byte is odd, the checksums of its blocks are mended, so that the records' own checks are reached. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/report/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void mend(unsigned char *bytes, size_t len)
{
    for (size_t at = 0; at + sizeof(struct block_header) <= len; at += CAPTURE_BLOCK) {
        struct block_header *header = (struct block_header *)(bytes + at);
        size_t most = len - at < CAPTURE_BLOCK ? len - at : CAPTURE_BLOCK;
        header->magic = BLOCK_SEALED;
        header->sequence = (uint32_t)(at / CAPTURE_BLOCK);
        header->length = (uint32_t)(most - sizeof(*header));
        header->crc = 0;
        header->crc = (uint32_t)crc32(0, bytes + at, (uInt)most);
    }
}

/* What a report adds up must be what it says is pinned. */
static void check(const struct view *view)
{
    uint64_t pinned = 0;
    for (size_t i = 0; i < view->nr_rows; i++)
        pinned += view->rows[i].at.pinned;
    if (pinned != view->model.at.pinned)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static _Alignas(8) unsigned char bytes[3 * CAPTURE_BLOCK];
    char path[32];
    struct view view;
    if (len < 2 || len > sizeof(bytes))
        return 0;
    memcpy(bytes, data + 1, len - 1);
    if (data[0] & 1)
        mend(bytes, len - 1);
    int fd = memfd_create("capture", MFD_CLOEXEC), quiet = open("/dev/null", O_WRONLY | O_CLOEXEC),
        said = dup(2);
    if (fd < 0 || quiet < 0 || write(fd, bytes, len - 1) != (ssize_t)(len - 1))
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    dup2(quiet, 2); /* it says of most inputs that they are none */
    int status = view_load(&view, path, (enum model_moment)(data[0] / 2 % 3), 1000000, data[0] & 16 ? 20 : 0);
    dup2(said, 2);
    if (status == 0) {
        check(&view);
        view_free(&view);
    }
    close(said);
    close(quiet);
    close(fd);
    return 0;
}
