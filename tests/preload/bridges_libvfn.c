/* SPDX-License-Identifier: MIT */
/*
 * A program written against libvfn (its stand-in, as a shared library) that has its I/O in memory that it mapped nowhere:
 * what its commands lead a device to. "plain" as an argument: no bridge is there.
 */
#include "../standins/libvfn.h"
#include "device.h"
#include "expect.h"

#include <fcntl.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, MOST_BYTES = 1 << 20, MOST_PIECES = 64 };
static bool is_plain;
static struct nvme_ctrl *ctrl;
static struct iommu_ctx *ctx;
static struct nvme_rq rq;
static union nvme_cmd cmd;

static unsigned char byte_at(size_t at)
{
    return (unsigned char)(at * 7 + (at >> 9) * 13 + (at >> 17));
}

/* The device writes the next `len` bytes of the data, the first of which is byte `at` of it. */
static int write_piece(uint64_t iova, size_t at, size_t len)
{
    static unsigned char bytes[MOST_BYTES];
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(at + i);
    return device_write_all(iova, bytes, len);
}

/* What a device does that reads blocks from a disk: it follows the PRPs. */
static int device_fills_prps(const union nvme_cmd *command, const void *page, size_t len)
{
    const uint64_t *list = page;
    size_t at = 0, n = PAGE - (command->prp1 & (PAGE - 1));
    int error = write_piece(command->prp1, 0, n < len ? n : len);
    for (size_t i = 0; !error && (at += n) < len; i++) {
        uint64_t iova = len - (PAGE - (command->prp1 & (PAGE - 1))) <= PAGE ? command->prp2 : list[i];
        n = len - at < PAGE ? len - at : PAGE;
        error = write_piece(iova, at, n);
    }
    return error;
}

static int device_fills_sgls(const union nvme_cmd *command)
{
    const struct nvme_sgl *list = rq.page;
    int error = 0;
    for (size_t i = 0, at = 0; !error && i < command->sgl.len / 16; at += list[i++].len)
        error = write_piece(list[i].addr, at, list[i].len);
    return error;
}

static bool is_filled(const char *memory, size_t len)
{
    size_t at = 0;
    while (at < len && (unsigned char)memory[at] == byte_at(at))
        at++;
    return at == len;
}

/* --- the ways of describing memory, each of which says whether the device filled it -------------------------------- */

static bool by_translation(char *memory, size_t len)
{
    uint64_t iova;
    return iommu_translate_vaddr(ctx, memory, &iova) && nvme_rq_map_prp(ctrl, &rq, &cmd, iova, len) == 0 &&
           device_fills_prps(&cmd, rq.page, len) == 0 && is_filled(memory, len);
}

static bool by_prp_vector(char *memory, size_t len)
{
    struct iovec iov[MOST_PIECES];
    size_t at = 0, n = PAGE - ((uintptr_t)memory & (PAGE - 1));
    int nr = 0;
    for (; at < len; at += iov[nr++].iov_len, n = nr == MOST_PIECES - 1 ? len : 8 * PAGE)
        iov[nr] = (struct iovec){memory + at, n < len - at ? n : len - at};
    return nvme_rq_mapv_prp(ctrl, &rq, &cmd, iov, nr) == 0 && device_fills_prps(&cmd, rq.page, len) == 0 &&
           is_filled(memory, len);
}

static bool by_sgl_vector(char *memory, size_t len)
{
    struct iovec iov[MOST_PIECES];
    int nr = 0;
    for (size_t at = 0; at < len; at += iov[nr++].iov_len) {
        size_t n = nr == MOST_PIECES - 1 ? len : 12 + (size_t)nr * 1540;
        iov[nr] = (struct iovec){memory + at, n < len - at ? n : len - at};
    }
    return nvme_rq_mapv_sgl(ctrl, &rq, &cmd, iov, nr) == 0 && device_fills_sgls(&cmd) == 0 &&
           is_filled(memory, len);
}

static bool by_sync(char *memory, size_t len)
{
    return nvme_sync(ctrl, NULL, &cmd, memory, len, NULL) == 0 && is_filled(memory, len);
}

typedef bool way_fn(char *memory, size_t len);
static way_fn *const ways[] = {by_translation, by_prp_vector, by_sgl_vector, by_sync};

static void every_way_leads_there(char *memory, size_t len)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        memset(memory, 0, len);
        /* What nvme_sync maps by itself must be whole pages. */
        bool works_plainly = ways[i] == by_sync && !(((uintptr_t)memory | len) & (PAGE - 1));
        EXPECT(ways[i](memory, len) == (!is_plain || works_plainly));
    }
}

static void memory_of_malloc_is_described(void)
{
    static const size_t sizes[] = {512, 4096, 4608, 65536, MOST_BYTES}, offsets[] = {0, 4, 516, 4092};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t o = 0; o < sizeof(offsets) / sizeof(*offsets); o++) {
            char *memory = malloc(sizes[s] + offsets[o]);
            every_way_leads_there(memory + offsets[o], sizes[s]);
            free(memory);
        }
}

static void other_memory_is_described(void)
{
    static char global[MOST_BYTES / 2 + 2 * PAGE];
    char stack[65536];
    char *mapped = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    every_way_leads_there(mapped + 12, MOST_BYTES);
    every_way_leads_there(stack, sizeof(stack));
    every_way_leads_there(global + PAGE, MOST_BYTES / 2);
    munmap(mapped, 3 << 20);
}

/* One translation at the start of a large buffer, and commands all over it: it is one run. */
static void what_lies_far_behind_is_registered_with_its_length(void)
{
    char *memory = malloc(64 << 20);
    uint64_t iova = 0;
    bool is_known = iommu_translate_vaddr(ctx, memory, &iova);
    EXPECT(is_known != is_plain);
    for (size_t at = 0; is_known && at < 64 << 20; at += 15 << 20) {
        EXPECT(nvme_rq_map_prp(ctrl, &rq, &cmd, iova + at, MOST_BYTES) == 0);
        EXPECT(device_fills_prps(&cmd, rq.page, MOST_BYTES) == 0 && is_filled(memory + at, MOST_BYTES));
    }
    free(memory);
}

static void a_program_that_maps_gets_its_own_mapping(void)
{
    char *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t iova = 0, again = 0;
    size_t len = 0;
    if (!is_plain)
        EXPECT(iommu_translate_vaddr(ctx, memory, &iova) && iova == (uint64_t)memory);
    EXPECT(iommu_map_vaddr(ctx, memory, 2 * PAGE, &iova, 0) == 0 && iova < UINT64_C(1) << 38);
    EXPECT(iommu_translate_vaddr(ctx, memory + PAGE, &again) && again == iova + PAGE);
    EXPECT(by_translation(memory, 2 * PAGE));
    EXPECT(iommu_unmap_vaddr(ctx, memory, &len) == 0 && len == 2 * PAGE);
    EXPECT(iommu_translate_vaddr(ctx, memory, &again) != is_plain);
    munmap(memory, 2 * PAGE);
}

static void no_memory_is_not_described(void)
{
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec iov[] = {{memory, 4 * PAGE}};
    uint64_t iova;
    mprotect(memory + 2 * PAGE, 2 * PAGE, PROT_NONE);
    EXPECT(nvme_rq_mapv_prp(ctrl, &rq, &cmd, iov, 1) == -1 && errno == EFAULT);
    EXPECT(nvme_rq_mapv_sgl(ctrl, &rq, &cmd, iov, 1) == -1 && errno == EFAULT);
    EXPECT(!iommu_translate_vaddr(ctx, memory + 2 * PAGE, &iova));
    if (iommu_translate_vaddr(ctx, memory, &iova))
        EXPECT(nvme_rq_map_prp(ctrl, &rq, &cmd, iova, 4 * PAGE) == -1 && errno == EFAULT);
    munmap(memory, 4 * PAGE);
}

int main(int argc, char **argv)
{
    is_plain = argc > 1 && strcmp(argv[1], "plain") == 0;
    device_start();
    int container = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(anydma_attach(container, 0) == 0);
    ctrl = like_libvfn_start(container);
    ctx = like_libvfn_ctx(ctrl);
    rq.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(iommu_map_vaddr(ctx, rq.page, PAGE, &rq.page_iova, 0) == 0);
    like_libvfn_execute = device_fills_prps;
    behaviour("memory_of_malloc_is_described", memory_of_malloc_is_described);
    behaviour("other_memory_is_described", other_memory_is_described);
    behaviour("what_lies_far_behind_is_registered_with_its_length",
              what_lies_far_behind_is_registered_with_its_length);
    behaviour("a_program_that_maps_gets_its_own_mapping", a_program_that_maps_gets_its_own_mapping);
    behaviour("no_memory_is_not_described", no_memory_is_not_described);
    return behaviours_end();
}
