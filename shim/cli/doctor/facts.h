/* SPDX-License-Identifier: MIT */
/* What the doctor knows: gathered once, from files (doctor/machine.c, devices.c), by trying (probes.c) and from the program's
 * file (program.c); judged by the table in findings.c. */
#ifndef CLI_DOCTOR_FACTS_H
#define CLI_DOCTOR_FACTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/doctor/tree.h"

enum { DOCTOR_DEVICES = 1024, DOCTOR_HOLDERS = 96 };

/* A device node, as this user meets it. */
struct doctor_node {
    struct tree_node node;
    bool is_stale;               /* its number is not the one that the kernel has now */
    char number[16];             /* the kernel's */
    bool is_allowed;             /* by owner, group and mode */
    int error;                   /* of opening it: 0 or an errno */
    char holder[DOCTOR_HOLDERS]; /* who has it open: "qemu (1234)"; "" unknown */
};

struct doctor_device {
    char bdf[16];
    unsigned vendor, device, class; /* class: 24 bits */
    char name[96];
    char driver[32]; /* "": none */
    int group;       /* -1: none */
    int numa_node;   /* -1: none */
    unsigned width;  /* bits of address of its IOMMU; 0: unknown */
    bool is_bridge;
    char used_for[64]; /* "the root file system", "the default route (eth0)"; "" */
    char culprit[64];  /* member of its group that another driver has: "0000:00:1f.3 (snd_hda_intel)"; "" */
    char members[256]; /* of its group, with their drivers */
    bool has_rmrr;     /* firmware memory that it must always reach */
    struct doctor_node group_node, cdev; /* /dev/vfio/N, /dev/vfio/devices/vfioN */
    int attach_error;                    /* of attaching its group to a container of our own; -1: not tried */
    uint64_t aperture_last, page_sizes, room; /* then: the highest IOVA, a bit for each size, mappings */
};

/* -1 unknown, 0 no, 1 yes. */
typedef int doctor_tristate;

struct doctor_facts {
    /* What is asked for. */
    const char *bdf; /* NULL: any */
    uint64_t need;   /* bytes; 0: unknown */
    bool needs_from_capture;

    /* The machine. */
    char release[128], architecture[65], cmdline[2048];
    unsigned kernel; /* 6.12: 6012 */
    unsigned nr_iommus, nr_groups;
    bool has_dmar, has_ivrs, is_virtual, is_amd;
    doctor_tristate has_remapping;
    bool unsafe_interrupts;
    bool has_sys;
    bool has_vfio_pci, has_type1;   /* loaded or built in */
    bool file_vfio_pci, file_type1; /* there to be loaded */
    doctor_tristate noiommu;        /* enable_unsafe_noiommu_mode */
    struct doctor_node container, iommufd;
    doctor_tristate type1v2, unmap_all, map_file;
    uint64_t entry_limit; /* UINT64_MAX: unknown */
    char fullest[96];     /* the process whose container is nearly full; "" */

    /* Memory. */
    uint64_t memlock_soft, memlock_hard, available, swap, huge_total, huge_bytes;
    char thp[64], thp_defrag[96];
    int overcommit;
    int userfaultfd, io_uring; /* errno; -1: unknown */

    /* This process. */
    uint32_t uid, gid, groups[64];
    unsigned nr_groups_of_user;
    uint64_t capabilities;
    char user[64];
    int seccomp;          /* 0, 1, 2 */
    char confined_by[32]; /* "docker"; "": no container */

    /* The program. */
    const char *program; /* as given; NULL: none */
    char program_path[PATH_MAX];
    int program_error;
    char blind[512]; /* why a preload can't see into it; "" */
    bool has_own_malloc, has_sanitizer, asks, forks;
    char library[32]; /* "DPDK", "SPDK", "libvfn"; "" */

    struct doctor_device devices[DOCTOR_DEVICES];
    unsigned nr_devices;
};

enum { DOCTOR_CAP_DAC_OVERRIDE = 1, DOCTOR_CAP_IPC_LOCK = 14 };
static inline bool doctor_may(const struct doctor_facts *facts, int capability)
{
    return facts->capabilities >> capability & 1;
}

/* machine.c */
void doctor_look_at_machine(struct doctor_facts *facts);
bool doctor_may_open(const struct doctor_facts *facts, const struct tree_node *node);
/* devices.c: after the machine. */
void doctor_look_at_devices(struct doctor_facts *facts);
/* Whether it could be given to vfio-pci: a PCI function of its own, not a bridge, that carries nothing. */
bool doctor_is_offered(const struct doctor_device *device);
bool doctor_is_bound(const struct doctor_device *device);
/* program.c */
void doctor_look_at_program(struct doctor_facts *facts);
/* probes.c: what only trying can tell. Opens and closes; attaches the group of a device that vfio-pci has to a container of its
 * own, for a moment, where nobody else has it open. */
void doctor_probe_machine(struct doctor_facts *facts);
void doctor_probe_device(struct doctor_facts *facts, struct doctor_device *device);
int doctor_try_open(const char *path);

#endif
