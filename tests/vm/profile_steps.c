/* SPDX-License-Identifier: MIT */
/*
 * The profile tells the truth: after every step of a program's life its capture, read by `anydma snapshot`,
 * has as many bytes pinned as the kernel counts as locked (VmLck, with iommufd VmPin), anydma's and the application's own apart.
 * The most that any step locked is the last line, for tests/vm/profile.sh to compare with the whole capture's
 * peak. Called by that: profile_steps BDF ANYDMA
 */
#include "check.h"
#include "vfio_device.h"

#include <errno.h>
#include <malloc.h>
#include <sys/mman.h>

enum { MIB = 1 << 20, NR_BLOCKS = 200, BLOCK_BYTES = 40000, OWN_BYTES = 3 * MIB, OWN_IOVA = 0x10000000 };

static const char *command;
static uint64_t most;

/* A number of the report; its "at" comes before the call sites. */
static uint64_t number_in(const char *report, const char *name)
{
    const char *at = strstr(report, "\"at\":"), *found = at ? strstr(at, name) : NULL;
    return found ? strtoull(found + strlen(name), NULL, 10) : UINT64_MAX;
}

static void compare(const char *step)
{
    enum { REPORT_BYTES = 1 << 22 };
    static char report[REPORT_BYTES + 1];
    char line[512];
    uint64_t locked = vm_locked_bytes();
    snprintf(line, sizeof(line), "LD_PRELOAD= ANYDMA_OUTPUT= %s snapshot --json %d 2>/dev/null", command,
             getpid());
    FILE *snapshot = popen(line, "re");
    size_t len = snapshot ? fread(report, 1, REPORT_BYTES, snapshot) : 0;
    report[len] = '\0';
    int status = snapshot ? pclose(snapshot) : -1;
    uint64_t ours = number_in(report, "\"pinned\": "), own = number_in(report, "\"app_pinned\": ");
    check(status == 0 && locked == ours + own && locked == vm_locked_bytes(),
          "%-36s %s %7lu KiB, the capture's: anydma's %7lu, the application's %5lu", step, vm_locked_name(),
          (unsigned long)locked >> 10, (unsigned long)ours >> 10, (unsigned long)own >> 10);
    most = locked > most ? locked : most;
}

static void own_mapping(const struct vfio_device *dev, void *memory, bool is_map)
{
    uint64_t unmapped;
    int rc = is_map ? vfio_device_map(dev, OWN_IOVA, memory, OWN_BYTES)
                    : vfio_device_unmap(dev, OWN_IOVA, OWN_BYTES, &unmapped);
    check(rc == 0, "the application %smaps memory of its own", is_map ? "" : "un");
}

int main(int argc, char **argv)
{
    static _Alignas(4096) char global[OWN_BYTES];
    static char *blocks[NR_BLOCKS];
    struct vfio_device dev;
    uint64_t iova;
    if (argc < 3)
        return 2;
    command = argv[2];
    check_shim_is_there();
    if (vfio_device_open(&dev, argv[1]) < 0)
        return 1;
    compare("a device, and nothing pinned");
    for (int i = 0; i < NR_BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        if (anydma_iova(blocks[i]) == ANYDMA_BAD_IOVA)
            check(false, "a block has no IOVA: %s", strerror(errno));
    }
    compare("200 blocks of 40,000 bytes");
    char *map = mmap(NULL, 9 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(anydma_iova_range(map, 9 * MIB, &iova) == 0, "a mapping's IOVA");
    compare("and a mapping of 9 MiB");
    own_mapping(&dev, global, true);
    compare("and 3 MiB of the application's own");
    munmap(map, 9 * MIB);
    compare("without the mapping");
    own_mapping(&dev, global, false);
    for (int i = 0; i < NR_BLOCKS; i++)
        free(blocks[i]);
    malloc_trim(0);
    compare("without the rest");
    vfio_device_close(&dev);
    check(most > 20 * MIB, "so much was pinned that the comparison means something");
    printf("most %lu\n", (unsigned long)most);
    return check_end("profile_steps");
}
