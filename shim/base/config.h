/* SPDX-License-Identifier: MIT */
/* The ANYDMA_* environment, read once before anything else; constant afterwards. base/settings.h has the options and what
 * they mean. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum config_mode { MODE_AUTO, MODE_LAZY, MODE_EAGER };
enum config_iommu { IOMMU_AUTO, IOMMU_TYPE1, IOMMU_IOMMUFD, IOMMU_SIM, IOMMU_NONE };
enum config_heap { HEAP_OWN, HEAP_SYSTEM };
enum config_foreign { FOREIGN_WATCH, FOREIGN_REFUSE, FOREIGN_TRUST };
enum config_bridge { BRIDGE_SPDK = 1, BRIDGE_LIBVFN = 2, BRIDGE_DPDK = 4 };
enum config_on_limit { LIMIT_WARN, LIMIT_REFUSE };
enum config_thp { THP_AUTO, THP_ALWAYS, THP_NEVER, THP_EARLY };

struct config {
    enum config_mode mode;
    enum config_iommu iommu;
    enum config_heap heap;
    enum config_foreign foreign;
    enum config_thp thp;
    uint64_t granule_bytes; /* 0: auto */
    uint64_t limit_bytes;   /* 0: half of the available memory, the control group's included */
    enum config_on_limit on_limit;
    uint64_t sample_bytes; /* 0: off */
    unsigned bridges;      /* a bit for each: enum config_bridge */
    unsigned depth;
    unsigned threads;   /* 0: auto */
    const char *output; /* NULL: no capture */
    unsigned check;     /* 1: report hazards; 2: and exit with a status that says so */
    bool stats;
    bool strict;
    bool disabled;
};

extern struct config config;

/* Reads every ANYDMA_* variable of `environment`; what can't be understood is warned about and left at its default. */
void config_read(char *const *environment);

#endif
