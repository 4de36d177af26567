/* SPDX-License-Identifier: MIT */
/* The doctor's look at the machine and at the process it runs in: kernel, IOMMU, modules, limits, memory. Sources: proc(5),
 * sysfs(5), Documentation/admin-guide/kernel-parameters.txt. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/doctor/facts.h"
#include "cli/pages.h"

static doctor_tristate switch_at(const char *path)
{
    char text[8];
    return tree_read(text, sizeof(text), "%s", path) ? text[0] == 'Y' || text[0] == '1' : -1;
}

static bool count(const char *name, void *nr)
{
    (void)name;
    ++*(unsigned *)nr;
    return true;
}

static void look_at_kernel(struct doctor_facts *facts)
{
    struct utsname name;
    uname(&name);
    unsigned major = 0, minor = 0;
    if (!tree_read(facts->release, sizeof(facts->release), "/proc/sys/kernel/osrelease"))
        snprintf(facts->release, sizeof(facts->release), "%s", name.release);
    snprintf(facts->architecture, sizeof(facts->architecture), "%s", name.machine);
    sscanf(facts->release, "%u.%u", &major, &minor);
    facts->kernel = major * 1000 + minor;
    tree_read(facts->cmdline, sizeof(facts->cmdline), "/proc/cmdline");
    facts->is_virtual = tree_contains(" hypervisor", "/proc/cpuinfo");
    facts->is_amd = tree_contains("AuthenticAMD", "/proc/cpuinfo");
}

static void look_at_iommu(struct doctor_facts *facts)
{
    facts->has_sys = tree_exists("/sys/kernel");
    tree_each(count, &facts->nr_iommus, "/sys/class/iommu");
    tree_each(count, &facts->nr_groups, "/sys/kernel/iommu_groups");
    facts->has_dmar = tree_exists("/sys/firmware/acpi/tables/DMAR");
    facts->has_ivrs = tree_exists("/sys/firmware/acpi/tables/IVRS");
    facts->has_remapping = -1;
    /* Each interrupt that goes through the table says so: "IR-PCI-MSI". */
    if (strcmp(facts->architecture, "x86_64") == 0 && tree_exists("/proc/interrupts"))
        facts->has_remapping = tree_contains(" IR-", "/proc/interrupts");
    facts->unsafe_interrupts =
        switch_at("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts") == 1 ||
        switch_at("/sys/module/iommufd/parameters/allow_unsafe_interrupts") == 1;
}

/* Whether the module can be loaded; also where nothing tells. */
static bool has_module(const struct doctor_facts *facts, const char *name)
{
    char file[64];
    snprintf(file, sizeof(file), "/%s.ko", name);
    return !tree_exists("/lib/modules/%s/modules.dep", facts->release) ||
           tree_contains(file, "/lib/modules/%s/modules.dep", facts->release) ||
           tree_contains(file, "/lib/modules/%s/modules.builtin", facts->release);
}

static void look_at_modules(struct doctor_facts *facts)
{
    facts->has_vfio_pci = tree_exists("/sys/bus/pci/drivers/vfio-pci");
    facts->has_type1 = tree_exists("/sys/module/vfio_iommu_type1");
    facts->file_vfio_pci = has_module(facts, "vfio-pci");
    facts->file_type1 = has_module(facts, "vfio_iommu_type1");
    facts->noiommu = switch_at("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    facts->entry_limit = tree_number(UINT64_MAX, "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit");
}

/* The number behind `key` in a text of lines "key: number kB"; 0: not there. */
static uint64_t number_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void look_at_memory(struct doctor_facts *facts)
{
    char text[8192];
    tree_read(text, sizeof(text), "/proc/meminfo");
    facts->available = number_of(text, "MemAvailable:") << 10;
    facts->swap = number_of(text, "SwapTotal:") << 10;
    facts->huge_total = number_of(text, "HugePages_Total:");
    facts->huge_bytes = number_of(text, "Hugepagesize:") << 10;
    tree_read(facts->thp, sizeof(facts->thp), "/sys/kernel/mm/transparent_hugepage/enabled");
    tree_read(facts->thp_defrag, sizeof(facts->thp_defrag), "/sys/kernel/mm/transparent_hugepage/defrag");
    facts->overcommit = (int)tree_number(0, "/proc/sys/vm/overcommit_memory");
    facts->memlock_soft = facts->memlock_hard = UINT64_MAX;
    tree_read(text, sizeof(text), "/proc/self/limits");
    const char *line = strstr(text, "Max locked memory");
    if (line) {
        char soft[32] = "", hard[32] = "";
        sscanf(line, "Max locked memory %31s %31s", soft, hard);
        facts->memlock_soft = soft[0] == 'u' ? UINT64_MAX : strtoull(soft, NULL, 10);
        facts->memlock_hard = hard[0] == 'u' ? UINT64_MAX : strtoull(hard, NULL, 10);
    }
}

/* The name behind a user's number, from the tree's passwd. */
static void name_user(struct doctor_facts *facts)
{
    char text[65536], id[32];
    snprintf(facts->user, sizeof(facts->user), "%u", facts->uid);
    snprintf(id, sizeof(id), ":%u:", facts->uid);
    tree_read(text, sizeof(text), "/etc/passwd");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *colon = strchr(line, ':');
        char *second = colon ? strchr(colon + 1, ':') : NULL;
        if (second && strncmp(second, id, strlen(id)) == 0)
            snprintf(facts->user, sizeof(facts->user), "%.*s", (int)(colon - line), line);
    }
}

static void look_at_process(struct doctor_facts *facts)
{
    char text[8192];
    tree_read(text, sizeof(text), "/proc/self/status");
    const char *line = strstr(text, "\nUid:");
    if (line)
        sscanf(line, "\nUid: %*u %u", &facts->uid);
    if ((line = strstr(text, "\nGid:")))
        sscanf(line, "\nGid: %*u %u", &facts->gid);
    if ((line = strstr(text, "\nGroups:"))) {
        const char *end = strchr(line + 1, '\n');
        char *next;
        for (line += 8; line < end && facts->nr_groups_of_user < 64; line = next) {
            unsigned long group = strtoul(line, &next, 10);
            if (next == line || next > end)
                break;
            facts->groups[facts->nr_groups_of_user++] = (uint32_t)group;
        }
    }
    if ((line = strstr(text, "\nCapEff:")))
        facts->capabilities = strtoull(line + 8, NULL, 16);
    facts->seccomp = (int)number_of(text, "\nSeccomp:");
    name_user(facts);
}

static void look_for_container(struct doctor_facts *facts)
{
    static const char *const marks[][2] = {{"/.dockerenv", "docker"}, {"/run/.containerenv", "podman"}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (tree_exists("%s", marks[i][0]))
            snprintf(facts->confined_by, sizeof(facts->confined_by), "%s", marks[i][1]);
    if (!facts->confined_by[0])
        tree_read(facts->confined_by, sizeof(facts->confined_by), "/run/systemd/container");
    if (!facts->confined_by[0] && tree_contains("kubepods", "/proc/1/cgroup"))
        snprintf(facts->confined_by, sizeof(facts->confined_by), "kubernetes");
}

/* A process under anydma whose container is nine tenths full. */
static bool is_full(const char *name, void *arg)
{
    struct doctor_facts *facts = arg;
    char folder[512], path[600];
    struct live_page copy;
    if (!pages_folder(folder, sizeof(folder)))
        return false;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    struct live_page *page = pages_map(-1, path, false);
    if (page && pages_is_alive((pid_t)page->pid) && pages_copy(page, &copy) &&
        copy.numbers.entries_used >= copy.numbers.entries_limit / 10 * 9 && copy.numbers.entries_used)
        snprintf(facts->fullest, sizeof(facts->fullest), "%.40s (%lu) has %lu of %lu", copy.command,
                 (unsigned long)copy.pid, (unsigned long)copy.numbers.entries_used,
                 (unsigned long)copy.numbers.entries_limit);
    if (page)
        pages_unmap(page);
    return !facts->fullest[0];
}

bool doctor_may_open(const struct doctor_facts *facts, const struct tree_node *node)
{
    unsigned shift = 0; /* of the bits for everybody else */
    if (doctor_may(facts, DOCTOR_CAP_DAC_OVERRIDE))
        return true;
    if (node->uid == facts->uid)
        shift = 6;
    else if (node->gid == facts->gid)
        shift = 3;
    for (unsigned i = 0; i < facts->nr_groups_of_user && !shift; i++)
        shift = node->gid == facts->groups[i] ? 3 : 0;
    return (node->mode >> shift & 6) == 6;
}

void doctor_look_at_machine(struct doctor_facts *facts)
{
    char folder[512];
    look_at_kernel(facts);
    look_at_iommu(facts);
    look_at_modules(facts);
    look_at_memory(facts);
    look_at_process(facts);
    look_for_container(facts);
    if (pages_folder(folder, sizeof(folder)) && !tree_is_copy())
        tree_each(is_full, facts, "%s", folder);
}
