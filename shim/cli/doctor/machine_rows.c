/* SPDX-License-Identifier: MIT */
/* What can be found about the machine and about this process, and that no device is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor/rows.h"

/* The word of the kernel's command line that begins with `begins` and ends with `ends`, or NULL. */
static bool has_parameter(facts_t f, const char *begins, const char *ends, struct doctor_words *w)
{
    char line[sizeof(f->cmdline)], *rest = NULL;
    memcpy(line, f->cmdline, sizeof(line));
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        size_t len = strlen(word), tail = strlen(ends);
        if (strncmp(word, begins, strlen(begins)) == 0 && len >= tail && strcmp(word + len - tail, ends) == 0)
            return doctor_say(w, 0, "%s", word);
    }
    return false;
}

static bool iommu_is_switched_off(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->nr_iommus &&
           (has_parameter(f, "intel_iommu=", "off", w) || has_parameter(f, "amd_iommu=", "off", w) ||
            has_parameter(f, "iommu=", "off", w));
}
static bool iommu_is_not_enabled(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->nr_iommus && (f->has_dmar || f->has_ivrs);
}
static bool iommu_is_not_in_the_vm(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->nr_iommus && f->is_virtual;
}
static bool iommu_is_not_there(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->nr_iommus;
}
static bool iommu_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return doctor_say(w, 0, "%u", f->nr_iommus) && doctor_say(w, 1, "%u", f->nr_groups);
}
static bool remapping_is_off_by_choice(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && f->has_remapping == 0 && f->unsafe_interrupts;
}
static bool remapping_is_switched_off(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && f->has_remapping == 0 && has_parameter(f, "intremap=", "off", w);
}
static bool remapping_is_not_in_the_vm(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && f->has_remapping == 0 && f->is_virtual;
}
static bool remapping_is_not_there(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && f->has_remapping == 0;
}
static bool remapping_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && f->has_remapping == 1;
}
static bool vfio_pci_is_not_built(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->has_vfio_pci && !f->file_vfio_pci;
}
static bool vfio_pci_is_not_loaded(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->has_vfio_pci;
}
static bool type1_is_not_loaded(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->has_type1 && !f->iommufd.node.exists;
}
static bool modules_are_there(facts_t f, device_t d, struct doctor_words *w)
{
    return doctor_say(w, 0, "%s", f->has_type1 ? "vfio-pci, vfio_iommu_type1" : "vfio-pci");
}
static bool noiommu_is_on(facts_t f, device_t d, struct doctor_words *w)
{
    return f->noiommu == 1;
}

/* The container is needed only where iommufd can't be had. */
static bool container_fails(facts_t f, int error)
{
    return f->has_vfio_pci && f->container.error == error && f->iommufd.error;
}
static bool container_node_is_not_passed(facts_t f, device_t d, struct doctor_words *w)
{
    return container_fails(f, ENOENT) && f->confined_by[0];
}
static bool container_node_is_missing(facts_t f, device_t d, struct doctor_words *w)
{
    return container_fails(f, ENOENT);
}
static bool container_node_is_stale(facts_t f, device_t d, struct doctor_words *w)
{
    return f->container.is_stale && f->iommufd.error &&
           doctor_say(w, 0, "%u:%u", f->container.node.major, f->container.node.minor) &&
           doctor_say(w, 1, "%s", f->container.number);
}
static bool container_node_is_denied(facts_t f, device_t d, struct doctor_words *w)
{
    return container_fails(f, EACCES);
}
static bool container_node_is_outside_the_cgroup(facts_t f, device_t d, struct doctor_words *w)
{
    return container_fails(f, EPERM);
}
static bool container_node_fails(facts_t f, device_t d, struct doctor_words *w)
{
    return f->has_vfio_pci && f->container.error && f->iommufd.error &&
           doctor_say(w, 0, "%s", strerror(f->container.error));
}
static bool container_node_opens(facts_t f, device_t d, struct doctor_words *w)
{
    return f->container.node.exists && !f->container.error;
}
static bool iommufd_is_denied(facts_t f, device_t d, struct doctor_words *w)
{
    return f->iommufd.node.exists && f->iommufd.error && doctor_say(w, 0, "%s", strerror(f->iommufd.error));
}
static bool iommufd_opens(facts_t f, device_t d, struct doctor_words *w)
{
    return f->iommufd.node.exists && !f->iommufd.error;
}

static const char *word_of(doctor_tristate state)
{
    return state == 1 ? "yes" : state == 0 ? "no" : "unknown";
}
static bool backend_is_none(facts_t f, device_t d, struct doctor_words *w)
{
    return f->type1v2 == 0 && f->iommufd.error;
}
static bool backend_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && (f->type1v2 == 1 || !f->iommufd.error) &&
           doctor_say(w, 0, "type1 v2 (Linux 3.15) %s, unmap all (5.12) %s", word_of(f->type1v2),
                      word_of(f->unmap_all)) &&
           doctor_say(w, 1, "iommufd (6.2) %s, device nodes for it (6.6) %s, files by descriptor (6.13) %s",
                      f->iommufd.node.exists ? "yes" : "no", tree_exists("/dev/vfio/devices") ? "yes" : "no",
                      f->iommufd.node.exists ? word_of(f->map_file) : "no");
}

/* --- memory */

static bool is_exempt(facts_t f)
{
    return doctor_may(f, DOCTOR_CAP_IPC_LOCK);
}
static bool say_memlock(facts_t f, struct doctor_words *w)
{
    return doctor_say_size(w, 0, f->memlock_soft) && doctor_say_size(w, 1, f->memlock_hard) &&
           doctor_say_size(w, 2, f->need) && doctor_say(w, 3, "%" PRIu64, (f->need + 1023) >> 10);
}
static bool memlock_is_not_for_us(facts_t f, device_t d, struct doctor_words *w)
{
    return is_exempt(f);
}
static bool memlock_is_unlimited(facts_t f, device_t d, struct doctor_words *w)
{
    return f->memlock_soft == UINT64_MAX;
}
static bool memlock_hard_is_too_low_in_a_container(facts_t f, device_t d, struct doctor_words *w)
{
    return f->need > f->memlock_hard && f->confined_by[0] && say_memlock(f, w);
}
static bool memlock_hard_is_too_low(facts_t f, device_t d, struct doctor_words *w)
{
    return f->need > f->memlock_hard && say_memlock(f, w);
}
static bool memlock_soft_is_too_low(facts_t f, device_t d, struct doctor_words *w)
{
    return f->need > f->memlock_soft && say_memlock(f, w);
}
static bool memlock_suffices(facts_t f, device_t d, struct doctor_words *w)
{
    return f->need && say_memlock(f, w);
}
static bool memlock_is_limited(facts_t f, device_t d, struct doctor_words *w)
{
    return say_memlock(f, w) && doctor_say(w, 2, "%" PRIu64, f->memlock_soft / DOCTOR_UNIT) &&
           doctor_say(w, 3, "%" PRIu64, f->memlock_soft / 4096);
}
static bool memory_is_short(facts_t f, device_t d, struct doctor_words *w)
{
    return f->need && f->available && f->need > f->available && doctor_say_size(w, 0, f->available) &&
           doctor_say_size(w, 1, f->need);
}
static bool memory_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return f->available && doctor_say_size(w, 0, f->available) &&
           (f->swap ? doctor_say_size(w, 1, f->swap) : doctor_say(w, 1, "no"));
}
static bool overcommit_is_strict(facts_t f, device_t d, struct doctor_words *w)
{
    return f->overcommit == 2;
}
static bool entries_are_used_up(facts_t f, device_t d, struct doctor_words *w)
{
    return f->fullest[0] && doctor_say(w, 0, "%s", f->fullest);
}
static bool entries_are_few(facts_t f, device_t d, struct doctor_words *w)
{
    return f->entry_limit != UINT64_MAX && f->need / DOCTOR_UNIT > f->entry_limit &&
           doctor_say(w, 0, "%" PRIu64, f->entry_limit) && doctor_say_size(w, 1, f->need) &&
           doctor_say(w, 2, "%" PRIu64, f->need / DOCTOR_UNIT) &&
           doctor_say(w, 3, "%" PRIu64, f->need / DOCTOR_UNIT * 2);
}
static bool entries_suffice(facts_t f, device_t d, struct doctor_words *w)
{
    return f->entry_limit != UINT64_MAX && doctor_say(w, 0, "%" PRIu64, f->entry_limit) &&
           doctor_say_size(
               w, 1, f->entry_limit > UINT64_MAX / DOCTOR_UNIT ? UINT64_MAX : f->entry_limit * DOCTOR_UNIT);
}
/* The choice in brackets: "always [madvise] never". */
static bool say_choice(struct doctor_words *w, int at, const char *text)
{
    const char *start = strchr(text, '['), *end = start ? strchr(start, ']') : NULL;
    return end && doctor_say(w, at, "%.*s", (int)(end - start) - 1, start + 1);
}
static bool thp_is_off(facts_t f, device_t d, struct doctor_words *w)
{
    return strstr(f->thp, "[never]") != NULL;
}
static bool thp_is_on(facts_t f, device_t d, struct doctor_words *w)
{
    return say_choice(w, 0, f->thp) && (say_choice(w, 1, f->thp_defrag) || doctor_say(w, 1, "unknown"));
}
static bool hugepages_are_reserved(facts_t f, device_t d, struct doctor_words *w)
{
    return f->huge_total && doctor_say_size(w, 0, f->huge_total * f->huge_bytes);
}
static bool hugepages_are_not_reserved(facts_t f, device_t d, struct doctor_words *w)
{
    return true;
}

/* --- what is let through */

static bool userfaultfd_is_filtered(facts_t f, device_t d, struct doctor_words *w)
{
    return f->userfaultfd > 0 && f->confined_by[0] && doctor_say(w, 0, "%s", strerror(f->userfaultfd));
}
static bool userfaultfd_is_denied(facts_t f, device_t d, struct doctor_words *w)
{
    return f->userfaultfd > 0 && doctor_say(w, 0, "%s", strerror(f->userfaultfd));
}
static bool userfaultfd_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return f->userfaultfd == 0;
}
static bool io_uring_is_denied(facts_t f, device_t d, struct doctor_words *w)
{
    return f->io_uring > 0 && doctor_say(w, 0, "%s", strerror(f->io_uring));
}
static bool io_uring_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return f->io_uring == 0;
}
static bool calls_are_filtered(facts_t f, device_t d, struct doctor_words *w)
{
    return f->seccomp == 2;
}
static bool calls_are_not_filtered(facts_t f, device_t d, struct doctor_words *w)
{
    return f->seccomp == 0;
}
static bool is_in_a_container(facts_t f, device_t d, struct doctor_words *w)
{
    return f->confined_by[0];
}

/* The device that would be the first to offer; {0}: it, {1}: the others. */
static bool find_offer(facts_t f, struct doctor_words *w)
{
    unsigned nr = 0;
    for (unsigned i = 0; i < f->nr_devices; i++) {
        const struct doctor_device *device = &f->devices[i];
        if (!doctor_is_offered(device) || doctor_is_bound(device))
            continue;
        if (!nr++)
            doctor_say(w, 0, "%s", device->bdf);
        size_t len = strlen(w->word[1]);
        snprintf(w->word[1] + len, DOCTOR_WORD_BYTES - len, "%s%s (%s%s%s)", len ? ", " : "", device->bdf,
                 device->name, *device->driver ? ", has " : "", device->driver);
    }
    return nr;
}
static bool nothing_is_bound(facts_t f)
{
    for (unsigned i = 0; i < f->nr_devices; i++)
        if (doctor_is_bound(&f->devices[i]))
            return false;
    return !f->bdf;
}
static bool no_device_is_bound(facts_t f, device_t d, struct doctor_words *w)
{
    return nothing_is_bound(f) && find_offer(f, w);
}
static bool no_device_is_there(facts_t f, device_t d, struct doctor_words *w)
{
    return nothing_is_bound(f);
}
static bool device_is_unknown(facts_t f, device_t d, struct doctor_words *w)
{
    for (unsigned i = 0; i < f->nr_devices && f->bdf; i++)
        if (strcmp(f->devices[i].bdf, f->bdf) == 0)
            return false;
    return f->bdf && doctor_say(w, 0, "%s", f->bdf);
}

static bool sys_is_missing(facts_t f, device_t d, struct doctor_words *w)
{
    return !f->has_sys;
}

const struct doctor_row doctor_machine_rows[] = {
    {"iommu", "sys-missing", DOCTOR_BAD, sys_is_missing,
     "/sys is not mounted: neither devices nor the IOMMU can be seen", "mount -t sysfs sysfs /sys",
     "in a chroot: mount --rbind /sys ROOT/sys"},
    {"iommu", "iommu-switched-off", DOCTOR_BAD, iommu_is_switched_off,
     "no IOMMU: the kernel was started with {0}", SIMULATE,
     "take {0} out of /etc/default/grub, then: " GRUB("{iommu_on}")},
    {"iommu", "iommu-not-enabled", DOCTOR_BAD, iommu_is_not_enabled,
     "no IOMMU: the machine has one, but the kernel was not told to use it", SIMULATE, GRUB("{iommu_on}")},
    {"iommu", "iommu-not-in-vm", DOCTOR_BAD, iommu_is_not_in_the_vm,
     "no IOMMU: this virtual machine has none", SIMULATE,
     "start it with: qemu-system-x86_64 -machine q35,kernel-irqchip=split -device intel-iommu,intremap=on "
     "... and its kernel "
     "with intel_iommu=on"},
    {"iommu", "iommu-not-in-firmware", DOCTOR_BAD, iommu_is_not_there,
     "no IOMMU: the firmware shows none (no DMAR or IVRS table)", SIMULATE,
     "switch VT-d (Intel) or AMD-Vi (IOMMU) on in the firmware's setup, then: " GRUB("intel_iommu=on")},
    {"iommu", "iommu-ok", DOCTOR_OK, iommu_is_there, "IOMMU: {0} of them, {1} groups of devices", NULL, NULL},

    {"interrupts", "remapping-unsafe", DOCTOR_WARNING, remapping_is_off_by_choice,
     "interrupts are not remapped, and allow_unsafe_interrupts accepts that: a device can forge interrupts",
     NULL, "as soon as remapping works: rm /etc/modprobe.d/vfio-unsafe.conf"},
    {"interrupts", "remapping-switched-off", DOCTOR_BAD, remapping_is_switched_off,
     "interrupts are not remapped, so VFIO refuses (EPERM): the kernel was started with {0}", UNSAFE,
     "take {0} out of /etc/default/grub, then: update-grub && reboot"},
    {"interrupts", "remapping-not-in-vm", DOCTOR_BAD, remapping_is_not_in_the_vm,
     "interrupts are not remapped, so VFIO refuses (EPERM): this virtual machine can't", UNSAFE,
     "start it with: qemu-system-x86_64 -machine q35,kernel-irqchip=split -device intel-iommu,intremap=on "
     "..."},
    {"interrupts", "remapping-not-in-firmware", DOCTOR_BAD, remapping_is_not_there,
     "interrupts are not remapped, so VFIO refuses (EPERM)", UNSAFE,
     "switch interrupt remapping (x2APIC) on in the firmware's setup; where it has none: echo options "
     "vfio_iommu_type1 "
     "allow_unsafe_interrupts=1 > /etc/modprobe.d/vfio-unsafe.conf"},
    {"interrupts", "remapping-ok", DOCTOR_OK, remapping_is_there, "interrupts are remapped", NULL, NULL},

    {"modules", "vfio-pci-not-built", DOCTOR_BAD, vfio_pci_is_not_built, "kernel {release} has no vfio-pci",
     NULL, "apt install linux-image-amd64 && reboot   # the cloud kernels come without it"},
    {"modules", "vfio-pci-not-loaded", DOCTOR_BAD, vfio_pci_is_not_loaded, "vfio-pci is not loaded",
     "modprobe vfio-pci", "echo vfio-pci > /etc/modules-load.d/vfio-pci.conf"},
    {"modules", "type1-not-loaded", DOCTOR_BAD, type1_is_not_loaded, "vfio_iommu_type1 is not loaded",
     "modprobe vfio_iommu_type1", "echo vfio_iommu_type1 > /etc/modules-load.d/vfio-type1.conf"},
    {"modules", "modules-ok", DOCTOR_OK, modules_are_there, "modules: {0}", NULL, NULL},
    {"noiommu", "noiommu-on", DOCTOR_WARNING, noiommu_is_on,
     "enable_unsafe_noiommu_mode is on: a device without an IOMMU may be opened, and reaches all of memory; "
     "anydma does not "
     "serve such a device",
     "echo 0 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
     "grep -rl noiommu /etc/modprobe.d | xargs rm"},

    {"container", "container-not-passed", DOCTOR_BAD, container_node_is_not_passed,
     "/dev/vfio/vfio is not in this {confined} container", NULL, DOCKER_DEVICES},
    {"container", "container-missing", DOCTOR_BAD, container_node_is_missing, "/dev/vfio/vfio is not there",
     "modprobe vfio", "echo vfio > /etc/modules-load.d/vfio.conf"},
    {"container", "container-stale", DOCTOR_BAD, container_node_is_stale,
     "/dev/vfio/vfio has the number {0}, but the kernel's is {1}: it was made earlier, by hand or by a "
     "container's start",
     "rm /dev/vfio/vfio && mknod -m 666 /dev/vfio/vfio c {1:colon}", "restart the container"},
    {"container", "container-denied", DOCTOR_BAD, container_node_is_denied,
     "/dev/vfio/vfio: no permission for {user} (it is {container_mode})", "chmod 666 /dev/vfio/vfio",
     "echo 'KERNEL==\"vfio\", SUBSYSTEM==\"misc\", MODE=\"0666\"' > /etc/udev/rules.d/70-anydma.rules && "
     "udevadm control --reload "
     "&& udevadm trigger -s misc"},
    {"container", "container-cgroup", DOCTOR_BAD, container_node_is_outside_the_cgroup,
     "/dev/vfio/vfio: the device cgroup does not let it be opened (EPERM, though its mode does)", NULL,
     DOCKER_DEVICES},
    {"container", "container-fails", DOCTOR_BAD, container_node_fails, "/dev/vfio/vfio does not open: {0}",
     NULL, NULL},
    {"container", "container-ok", DOCTOR_OK, container_node_opens, "/dev/vfio/vfio opens", NULL, NULL},
    {"iommufd", "iommufd-denied", DOCTOR_WARNING, iommufd_is_denied,
     "/dev/iommu does not open for {user}: {0}", "chown {user} /dev/iommu",
     "echo 'KERNEL==\"iommu\", OWNER=\"{user}\"' > /etc/udev/rules.d/71-anydma-iommufd.rules && udevadm "
     "control --reload && "
     "udevadm trigger -s misc"},
    {"iommufd", "iommufd-ok", DOCTOR_OK, iommufd_opens, "/dev/iommu opens", NULL, NULL},
    {"backend", "backend-none", DOCTOR_BAD, backend_is_none,
     "kernel {release} offers neither VFIO's type1 v2 (Linux 3.15) nor iommufd (6.2)",
     "modprobe vfio_iommu_type1", "apt install linux-image-amd64 && reboot"},
    {"backend", "backend-ok", DOCTOR_OK, backend_is_there, "kernel {release}: {0}; {1}", NULL, NULL},

    {"memlock", "memlock-exempt", DOCTOR_OK, memlock_is_not_for_us,
     "memlock: no limit for {user} (CAP_IPC_LOCK)", NULL, NULL},
    {"memlock", "memlock-unlimited", DOCTOR_OK, memlock_is_unlimited, "memlock: unlimited", NULL, NULL},
    {"memlock", "memlock-hard-confined", DOCTOR_BAD, memlock_hard_is_too_low_in_a_container,
     "memlock: {2} are needed, this {confined} container has {1}",
     "anydma run --granule=4K -- PROGRAM   # pins less meanwhile",
     "docker run --ulimit memlock=-1 ...   # compose: ulimits: {memlock: -1}"},
    {"memlock", "memlock-hard", DOCTOR_BAD, memlock_hard_is_too_low,
     "memlock: {2} are needed, {user} may have {0}, and raise that to {1}",
     "sudo prlimit --pid $$ --memlock={need}   # this shell and what it starts; until then --granule=4K pins "
     "less",
     "echo '{user} - memlock {3}' | sudo tee /etc/security/limits.d/anydma.conf   # from the next login on; "
     "systemd: "
     "LimitMEMLOCK=infinity"},
    {"memlock", "memlock-soft", DOCTOR_BAD, memlock_soft_is_too_low,
     "memlock: {2} are needed, {user} has {0} and may raise that to {1}", "ulimit -l {3}",
     "echo '{user} - memlock {3}' | sudo tee /etc/security/limits.d/anydma.conf   # from the next login on; "
     "systemd: "
     "LimitMEMLOCK=infinity"},
    {"memlock", "memlock-ok", DOCTOR_OK, memlock_suffices, "memlock: {2} are needed, {user} has {0}", NULL,
     NULL},
    {"memlock", "memlock-limited", DOCTOR_WARNING, memlock_is_limited,
     "memlock: {0} (at most {1}): room for {2} units of 2 MiB, or {3} pages with --granule=4K; --size says "
     "whether that suffices",
     "sudo prlimit --pid $$ --memlock=unlimited   # this shell and what it starts",
     "echo '{user} - memlock unlimited' | sudo tee /etc/security/limits.d/anydma.conf   # from the next "
     "login on; systemd: "
     "LimitMEMLOCK=infinity; docker: --ulimit memlock=-1"},
    {"memory", "memory-short", DOCTOR_BAD, memory_is_short,
     "memory: {1} are needed, {0} are available; what is pinned is never "
     "swapped out",
     NULL, "more memory, or a smaller program"},
    {"memory", "memory-ok", DOCTOR_OK, memory_is_there,
     "memory: {0} available, {1} swap (what is pinned is never swapped out)", NULL, NULL},
    {"overcommit", "overcommit-strict", DOCTOR_WARNING, overcommit_is_strict,
     "memory is not overcommitted (vm.overcommit_memory=2): what a program reserves counts as if it were "
     "used",
     "sysctl vm.overcommit_memory=0", "echo vm.overcommit_memory=0 > /etc/sysctl.d/70-overcommit.conf"},
    {"entries", "entries-used-up", DOCTOR_WARNING, entries_are_used_up,
     "a running program's container is full: {0} mappings",
     "anydma run --granule=64M -- PROGRAM   # fewer, larger mappings",
     "echo options vfio_iommu_type1 dma_entry_limit=1048576 > /etc/modprobe.d/vfio-entries.conf && reboot"},
    {"entries", "entries-few", DOCTOR_BAD, entries_are_few,
     "a container holds {0} mappings; {1} take about {2} of 2 MiB",
     "anydma run --granule=64M -- PROGRAM   # fewer, larger mappings; or, for containers that are opened "
     "from then on: echo {3} > "
     "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
     "echo options vfio_iommu_type1 dma_entry_limit={3} > /etc/modprobe.d/vfio-entries.conf && reboot"},
    {"entries", "entries-ok", DOCTOR_OK, entries_suffice,
     "a container holds {0} mappings: {1} in units of 2 MiB", NULL, NULL},
    {"huge", "thp-off", DOCTOR_WARNING, thp_is_off,
     "transparent huge pages are off: single pages are pinned, some ten times slower than huge ones, and the "
     "IOMMU has no superpages",
     "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", GRUB("transparent_hugepage=madvise")},
    {"huge", "thp-ok", DOCTOR_OK, thp_is_on, "transparent huge pages: {0} (defrag: {1})", NULL, NULL},
    {"hugetlb", "hugepages-reserved", DOCTOR_OK, hugepages_are_reserved,
     "huge pages: {0} are reserved; anydma needs none, they are lost to everybody else", NULL, NULL},
    {"hugetlb", "hugepages-none", DOCTOR_OK, hugepages_are_not_reserved,
     "huge pages: none are reserved, and none are needed", NULL, NULL},

    {"userfaultfd", "userfaultfd-filtered", DOCTOR_WARNING, userfaultfd_is_filtered,
     "userfaultfd: {0}: stacks, .bss and what other allocators map can't be watched, and get no IOVA",
     "anydma run --foreign=trust -- PROGRAM   # unwatched",
     "docker run --security-opt seccomp=unconfined ...   # or a profile with it"},
    {"userfaultfd", "userfaultfd-denied", DOCTOR_WARNING, userfaultfd_is_denied,
     "userfaultfd: {0}: stacks, .bss and what other allocators map can't be watched, and get no IOVA",
     "anydma run --foreign=trust -- PROGRAM   # unwatched; a kernel from 5.11 on lets everyone use it, "
     "unless a filter forbids it",
     "sysctl vm.unprivileged_userfaultfd=1   # older kernels"},
    {"userfaultfd", "userfaultfd-ok", DOCTOR_OK, userfaultfd_is_there,
     "userfaultfd: stacks, .bss and the like can be watched", NULL, NULL},
    {"io_uring", "io-uring-denied", DOCTOR_OK, io_uring_is_denied,
     "io_uring: {0} (only anydma's own tests use it)", NULL, NULL},
    {"io_uring", "io-uring-ok", DOCTOR_OK, io_uring_is_there,
     "io_uring works (only anydma's own tests use it)", NULL, NULL},
    {"seccomp", "seccomp-on", DOCTOR_WARNING, calls_are_filtered,
     "a seccomp filter decides which system calls are let through", NULL,
     "docker run --security-opt seccomp=unconfined ...   # if something is refused without another reason"},
    {"seccomp", "seccomp-off", DOCTOR_OK, calls_are_not_filtered, "no seccomp filter", NULL, NULL},
    {"confined", "confined", DOCTOR_OK, is_in_a_container,
     "this is a {confined} container: limits, devices and drivers are its host's", NULL, NULL},

    {"device", "device-unknown", DOCTOR_BAD, device_is_unknown, "there is no PCI device {0}",
     "ls /sys/bus/pci/devices   # these are there", NULL},
    {"device", "no-device-bound", DOCTOR_BAD, no_device_is_bound,
     "no device is bound to vfio-pci; these could be: {1}", BIND("{0}"), DRIVERCTL("{0}")},
    {"device", "no-device", DOCTOR_BAD, no_device_is_there,
     "no device is bound to vfio-pci, and there is none that could be: all carry something, or are in no "
     "IOMMU group",
     SIMULATE, NULL},
    {0},
};
