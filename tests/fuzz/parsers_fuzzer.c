/* SPDX-License-Identifier: MIT */
/* libFuzzer on the parsers of what comes from outside: sizes, the environment, /proc/self/maps, /proc/meminfo and
 * /proc/self/cgroup, what VFIO says of an IOMMU. The first byte says which. */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/available.h"
#include "base/config.h"
#include "base/log.h"
#include "base/procmaps.h"
#include "base/settings.h"
#include "iommu/iommu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void parse_size(const char *text)
{
    uint64_t bytes = 0;
    if (setting_parse_size(text, &bytes) == 0 && (text[0] < '0' || text[0] > '9'))
        abort();
}

/* Variables are separated by newlines. */
static void read_environment(char *text)
{
    char *variables[16] = {NULL}, *rest = NULL;
    struct config before = config;
    size_t n = 0;
    for (char *line = strtok_r(text, "\n", &rest); line && n < 15; line = strtok_r(NULL, "\n", &rest))
        variables[n++] = line;
    log_verbosity = LOG_ERROR;
    config_read(variables);
    if (config.granule_bytes & (config.granule_bytes - 1) || config.mode > MODE_EAGER ||
        config.foreign > FOREIGN_TRUST)
        abort();
    config = before;
    log_verbosity = LOG_ERROR;
}

static void read_maps(const char *text, size_t len)
{
    struct procmaps maps = {.fd = memfd_create("maps", MFD_CLOEXEC)};
    struct procmaps_entry entry;
    size_t nr = 0;
    if (write(maps.fd, text, len) < 0 || lseek(maps.fd, 0, SEEK_SET) != 0)
        abort();
    while (procmaps_next(&maps, &entry)) {
        if (memchr(entry.name, '\0', sizeof(entry.name)) == NULL || ++nr > len)
            abort(); /* it must end */
    }
    procmaps_close(&maps);
}

static void read_info(const char *answer, size_t len)
{
    char *exact = malloc(len); /* with nothing behind it */
    struct iommu_info info;
    memcpy(exact, answer, len);
    if (len >= sizeof(struct vfio_iommu_type1_info)) {
        type1_read_info(exact, len, &info);
        if (info.nr_ranges > IOMMU_MAX_RANGES)
            abort();
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (!len)
        return 0;
    char *text = malloc(len);
    memcpy(text, data + 1, len - 1);
    text[len - 1] = '\0';
    switch (data[0] % 5) {
    case 0:
        parse_size(text);
        break;
    case 1:
        read_environment(text);
        break;
    case 2:
        read_maps(text, len - 1);
        break;
    case 3:
        available_read_field(text, "MemAvailable:");
        available_in_groups(text, "/sys/fs/cgroup");
        break;
    default:
        read_info(text, len - 1);
    }
    free(text);
    return 0;
}
