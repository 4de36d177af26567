/* SPDX-License-Identifier: MIT */
/* The doctor's look at PCI devices: what they are, whose they are, what they carry, and the groups they share. Sources: sysfs(5),
 * Documentation/driver-api/vfio.rst, the VT-d specification (capability register). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor/facts.h"

/* --- names -------------------------------------------------------------------------------------------------- */

static const char *class_word(unsigned class)
{
    static const struct {
        unsigned class, shift;
        const char *word;
    } words[] = {
        {0x010802, 0, "NVMe drive"},   {0x0200, 8, "network card"},  {0x0207, 8, "InfiniBand card"},
        {0x0c03, 8, "USB controller"}, {0x01, 16, "storage"},        {0x02, 16, "network"},
        {0x03, 16, "display"},         {0x04, 16, "audio, video"},   {0x05, 16, "memory"},
        {0x06, 16, "bridge"},          {0x07, 16, "serial line"},    {0x08, 16, "part of the board"},
        {0x0b, 16, "processor"},       {0x0c, 16, "bus controller"}, {0x10, 16, "encryption"},
        {0x12, 16, "accelerator"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (class >> words[i].shift == words[i].class)
            return words[i].word;
    return "device";
}

/* What the list of PCI ids calls them, where there is one: lines "VENDOR  name", then "\tDEVICE  name". Read once for all. */
static void find_names(struct doctor_facts *facts)
{
    static const char *const lists[] = {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"};
    unsigned long vendor = 0;
    char line[512];
    FILE *list = NULL;
    for (size_t i = 0; i < 2 && !list && !tree_is_copy(); i++)
        list = fopen(lists[i], "re");
    while (list && fgets(line, sizeof(line), list)) {
        if (line[0] != '\t') {
            vendor = strtoul(line, NULL, 16);
            continue;
        }
        unsigned long device = strtoul(line + 1, NULL, 16);
        for (unsigned i = 0; i < facts->nr_devices && line[1] != '\t'; i++)
            if (facts->devices[i].vendor == vendor && facts->devices[i].device == device)
                snprintf(facts->devices[i].name, sizeof(facts->devices[i].name), "%.*s",
                         (int)strcspn(line + 7, "\n"), line + 7);
    }
    if (list)
        fclose(list);
}

/* --- IOMMU and group ---------------------------------------------------------------------------------------- */

/* Addresses that the device's IOMMU translates: what its registers say, and its page tables can hold. */
static unsigned width_of(const char *bdf)
{
    char iommu[32];
    if (!tree_link(iommu, sizeof(iommu), "/sys/bus/pci/devices/%s/iommu", bdf))
        return 0;
    char text[32];
    if (!tree_read(text, sizeof(text), "/sys/class/iommu/%s/intel-iommu/cap", iommu))
        return 0;
    uint64_t cap = strtoull(text, NULL, 16);
    unsigned widest = (unsigned)(cap >> 16 & 63) + 1, tables = cap >> 11 & 1 ? 57 : cap >> 10 & 1 ? 48 : 39;
    return widest < tables ? widest : tables;
}

/* The kernel lets a group be used when nothing else drives any of it; bridges may stay with the port driver. */
static bool may_stay(const char *driver)
{
    return !*driver || strstr(driver, "vfio") || strcmp(driver, "pci-stub") == 0 ||
           strcmp(driver, "pcieport") == 0;
}

static bool add_member(const char *bdf, void *arg)
{
    struct doctor_device *device = arg;
    char driver[32] = "";
    tree_link(driver, sizeof(driver), "/sys/bus/pci/devices/%s/driver", bdf);
    size_t len = strlen(device->members);
    snprintf(device->members + len, sizeof(device->members) - len, "%s%s (%s)", len ? ", " : "", bdf,
             *driver ? driver : "no driver");
    if (!may_stay(driver) && strcmp(bdf, device->bdf) != 0 && !device->culprit[0])
        snprintf(device->culprit, sizeof(device->culprit), "%s (%s)", bdf, driver);
    return true;
}

/* Memory that firmware said the device must reach for ever: the kernel keeps such a device to itself. */
static bool has_direct_region(int group)
{
    return tree_contains(" direct\n", "/sys/kernel/iommu_groups/%d/reserved_regions", group);
}

static bool take_cdev_name(const char *name, void *arg)
{
    snprintf(arg, 32, "%s", name);
    return false;
}

static bool add_device(const char *bdf, void *arg)
{
    struct doctor_facts *facts = arg;
    char group[16];
    if (facts->nr_devices == DOCTOR_DEVICES)
        return false;
    struct doctor_device *device = &facts->devices[facts->nr_devices++];
    *device = (struct doctor_device){.group = -1, .attach_error = -1};
    snprintf(device->bdf, sizeof(device->bdf), "%s", bdf);
    device->vendor = (unsigned)tree_number(0, "/sys/bus/pci/devices/%s/vendor", bdf);
    device->device = (unsigned)tree_number(0, "/sys/bus/pci/devices/%s/device", bdf);
    device->class = (unsigned)tree_number(0, "/sys/bus/pci/devices/%s/class", bdf);
    device->is_bridge = device->class >> 16 == 6;
    device->numa_node = -1;
    char node[16];
    if (tree_read(node, sizeof(node), "/sys/bus/pci/devices/%s/numa_node", bdf))
        device->numa_node = atoi(node);
    device->width = width_of(bdf);
    snprintf(device->name, sizeof(device->name), "%s %04x:%04x", class_word(device->class), device->vendor,
             device->device);
    tree_link(device->driver, sizeof(device->driver), "/sys/bus/pci/devices/%s/driver", bdf);
    if (tree_link(group, sizeof(group), "/sys/bus/pci/devices/%s/iommu_group", bdf)) {
        device->group = atoi(group);
        tree_each(add_member, device, "/sys/kernel/iommu_groups/%d/devices", device->group);
        device->has_rmrr = has_direct_region(device->group);
    }
    return true;
}

/* --- what they carry ---------------------------------------------------------------------------------------- */

static void mark(struct doctor_facts *facts, const char *sysfs_path, const char *what)
{
    for (unsigned i = 0; i < facts->nr_devices; i++) {
        char part[24];
        struct doctor_device *device = &facts->devices[i];
        snprintf(part, sizeof(part), "/%s", device->bdf);
        const char *at = strstr(sysfs_path, part);
        if (at && (!at[strlen(part)] || at[strlen(part)] == '/') && !device->used_for[0])
            snprintf(device->used_for, sizeof(device->used_for), "%s", what);
    }
}

struct carried {
    struct doctor_facts *facts;
    const char *what;
    unsigned depth; /* of disks made of others, of interfaces above others */
};

static void mark_disk(struct carried *carried, const char *name);
static bool mark_slave(const char *name, void *arg)
{
    struct carried below = *(struct carried *)arg;
    if (below.depth++ < 8)
        mark_disk(&below, name);
    return true;
}

/* `name` in /sys/class/block. */
static void mark_disk(struct carried *carried, const char *name)
{
    char path[PATH_MAX];
    if (tree_real(path, sizeof(path), "/sys/class/block/%s", name))
        mark(carried->facts, path, carried->what);
    tree_each(mark_slave, carried, "/sys/class/block/%s/slaves", name);
}

/* Lines of mountinfo: "id parent MAJOR:MINOR root MOUNTPOINT options ... - type SOURCE options". */
static void look_at_mounts(struct doctor_facts *facts)
{
    char line[4096], what[64];
    char *text = malloc(1 << 20), *rest = NULL;
    if (!text || !tree_read(text, 1 << 20, "/proc/self/mountinfo"))
        *(text ? text : line) = '\0';
    for (char *at = text ? strtok_r(text, "\n", &rest) : NULL; at; at = strtok_r(NULL, "\n", &rest)) {
        char number[32], mounted[256], source[256] = "", disk[64];
        const char *behind = strstr(at, " - ");
        if (sscanf(at, "%*d %*d %31s %*s %255s", number, mounted) != 2)
            continue;
        if (behind)
            sscanf(behind, " - %*s %255s", source);
        snprintf(what, sizeof(what),
                 strcmp(mounted, "/") == 0 ? "the root file system" : "the file system at %.40s", mounted);
        struct carried carried = {facts, what, 0};
        if (tree_link(disk, sizeof(disk), "/sys/dev/block/%s", number))
            mark_disk(&carried, disk);
        else if (strncmp(source, "/dev/", 5) == 0) /* btrfs: several disks, a number of its own */
            mark_disk(&carried, strrchr(source, '/') + 1);
    }
    free(text);
}

static void look_at_swap(struct doctor_facts *facts)
{
    char text[4096], *rest = NULL, path[256];
    struct carried carried = {facts, "swap space", 0};
    tree_read(text, sizeof(text), "/proc/swaps");
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (sscanf(line, "/dev/%250s partition", path) == 1)
            mark_disk(&carried, path);
}

static void mark_interface(struct carried *carried, const char *name);
static bool mark_lower(const char *name, void *arg)
{
    struct carried below = *(struct carried *)arg;
    if (strncmp(name, "lower_", 6) == 0 && below.depth++ < 8)
        mark_interface(&below, name + 6);
    return true;
}

static void mark_interface(struct carried *carried, const char *name)
{
    char path[PATH_MAX];
    if (tree_real(path, sizeof(path), "/sys/class/net/%s/device", name))
        mark(carried->facts, path, carried->what);
    tree_each(mark_lower, carried, "/sys/class/net/%s", name);
}

static void look_at_routes(struct doctor_facts *facts)
{
    char text[16384], *rest = NULL, name[32], what[64];
    struct carried carried = {facts, what, 0};
    tree_read(text, sizeof(text), "/proc/net/route");
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (sscanf(line, "%31s 00000000", name) == 1 && strstr(line, "\t00000000\t") &&
            strcmp(name, "Iface") != 0) {
            snprintf(what, sizeof(what), "the default route (%s)", name);
            mark_interface(&carried, name);
        }
    tree_read(text, sizeof(text), "/proc/net/ipv6_route");
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *last = strrchr(line, ' ');
        if (strncmp(line, "00000000000000000000000000000000 00 ", 36) == 0 && last &&
            strcmp(last + 1, "lo") != 0) {
            snprintf(what, sizeof(what), "the default route (%.31s)", last + 1);
            mark_interface(&carried, last + 1);
        }
    }
}

/* --- nodes -------------------------------------------------------------------------------------------------- */

struct search {
    char path[64], pid[16];
    struct doctor_node *node;
};

static bool is_holder(const char *fd, void *arg)
{
    struct search *search = arg;
    char target[PATH_MAX], name[32] = "?";
    char link[64];
    snprintf(link, sizeof(link), "/proc/%s/fd/%s", search->pid, fd);
    if (!tree_target(target, sizeof(target), "%s", link) || strcmp(target, search->path) != 0)
        return true;
    tree_read(name, sizeof(name), "/proc/%s/comm", search->pid);
    snprintf(search->node->holder, sizeof(search->node->holder), "%s (process %s)", name, search->pid);
    return false;
}

static bool has_open(const char *pid, void *arg)
{
    struct search *search = arg;
    if (pid[0] < '0' || pid[0] > '9')
        return true;
    snprintf(search->pid, sizeof(search->pid), "%s", pid);
    tree_each(is_holder, search, "/proc/%s/fd", pid);
    return !search->node->holder[0];
}

static void look_at_node(const struct doctor_facts *facts, struct doctor_node *node, const char *path,
                         const char *number_file)
{
    char is[24];
    bool is_known = tree_read(node->number, sizeof(node->number), "%s", number_file);
    tree_node(&node->node, "%s", path);
    snprintf(is, sizeof(is), "%u:%u", node->node.major, node->node.minor);
    node->is_stale = node->node.exists && is_known && strcmp(is, node->number) != 0;
    node->is_allowed = node->node.exists && doctor_may_open(facts, &node->node);
    node->error = !node->node.exists ? ENOENT : !node->is_allowed ? EACCES : 0;
    /* Opening a node whose module is not there would load it. */
    if (!node->error && is_known)
        node->error = doctor_try_open(path);
    if (node->error == EBUSY) {
        struct search search = {.node = node};
        snprintf(search.path, sizeof(search.path), "%s", path);
        tree_each(has_open, &search, "/proc");
    }
}

static void look_at_device_nodes(struct doctor_facts *facts, struct doctor_device *device)
{
    char path[64], file[64], name[32] = "";
    if (!doctor_is_bound(device) || device->group < 0)
        return;
    snprintf(path, sizeof(path), "/dev/vfio/%d", device->group);
    snprintf(file, sizeof(file), "/sys/class/vfio/%d/dev", device->group);
    look_at_node(facts, &device->group_node, path, file);
    tree_each(take_cdev_name, name, "/sys/bus/pci/devices/%s/vfio-dev", device->bdf);
    if (!name[0])
        return;
    snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
    snprintf(file, sizeof(file), "/sys/class/vfio-dev/%s/dev", name);
    look_at_node(facts, &device->cdev, path, file);
}

bool doctor_is_bound(const struct doctor_device *device)
{
    return strstr(device->driver, "vfio") != NULL;
}

bool doctor_is_offered(const struct doctor_device *device)
{
    unsigned base = device->class >> 16;
    return !device->is_bridge && base != 8 && device->group >= 0 && !device->used_for[0] && !device->has_rmrr;
}

void doctor_look_at_devices(struct doctor_facts *facts)
{
    tree_each(add_device, facts, "/sys/bus/pci/devices");
    find_names(facts);
    look_at_mounts(facts);
    look_at_swap(facts);
    look_at_routes(facts);
    look_at_node(facts, &facts->container, "/dev/vfio/vfio", "/sys/class/misc/vfio/dev");
    look_at_node(facts, &facts->iommufd, "/dev/iommu", "/sys/class/misc/iommu/dev");
    for (unsigned i = 0; i < facts->nr_devices; i++)
        look_at_device_nodes(facts, &facts->devices[i]);
}
