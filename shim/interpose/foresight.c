/* SPDX-License-Identifier: MIT */
/* Looks at the names of what is loaded, and at what the program imports. Takes no lock but the loader's. */
#include "interpose/foresight.h"

#include <link.h>
#include <stddef.h>
#include <string.h>

#include "base/config.h"
#include "interpose/bridges/bind.h"

static int is_for_devices(struct dl_phdr_info *info, size_t size, void *arg)
{
    static const char *const libraries[] = {"libspdk", "librte_", "libdpdk", "libvfn.", "libvfio"};
    const char *slash = strrchr(info->dlpi_name, '/'), *name = slash ? slash + 1 : info->dlpi_name;
    if (strncmp(name, "lib", 3) != 0)
        return 0;
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
        if (strncmp(name, libraries[i], strlen(libraries[i])) == 0)
            return 1;
    return 0;
}

bool foresight_sees_device(void)
{
    if (config.thp == THP_EARLY)
        return true;
    return config.thp == THP_AUTO &&
           (dl_iterate_phdr(is_for_devices, NULL) != 0 || bind_program_imports("anydma_"));
}
