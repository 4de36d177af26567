/* SPDX-License-Identifier: MIT */
/* What can be found about one device, its group and its nodes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor/rows.h"
#include "cli/text.h"

static bool device_is_used(facts_t f, device_t d, struct doctor_words *w)
{
    return d->used_for[0] && !doctor_is_bound(d) && doctor_say(w, 0, "%s", d->used_for);
}
static bool device_is_a_bridge(facts_t f, device_t d, struct doctor_words *w)
{
    return d->is_bridge;
}
static bool device_has_no_group(facts_t f, device_t d, struct doctor_words *w)
{
    return f->nr_iommus && d->group < 0;
}
static bool device_has_rmrr(facts_t f, device_t d, struct doctor_words *w)
{
    return d->has_rmrr;
}
static bool device_has_no_driver(facts_t f, device_t d, struct doctor_words *w)
{
    return !d->driver[0];
}
static bool device_has_another_driver(facts_t f, device_t d, struct doctor_words *w)
{
    return !doctor_is_bound(d);
}
static bool device_is_bound(facts_t f, device_t d, struct doctor_words *w)
{
    return true;
}
static bool group_is_not_viable(facts_t f, device_t d, struct doctor_words *w)
{
    if (!d->culprit[0])
        return false;
    doctor_say(w, 0, "%.*s", (int)strcspn(d->culprit, " "), d->culprit);
    return doctor_say(w, 1, "%s", d->culprit) && doctor_say(w, 2, "%s", d->members);
}
static bool group_is_viable(facts_t f, device_t d, struct doctor_words *w)
{
    return d->group >= 0 && doctor_say(w, 0, "%s", d->members);
}
static bool node_fails(device_t d, int error)
{
    return doctor_is_bound(d) && d->group >= 0 && d->group_node.error == error;
}
static bool node_is_not_passed(facts_t f, device_t d, struct doctor_words *w)
{
    return node_fails(d, ENOENT) && f->confined_by[0];
}
static bool node_is_missing(facts_t f, device_t d, struct doctor_words *w)
{
    return node_fails(d, ENOENT);
}
static bool node_is_stale(facts_t f, device_t d, struct doctor_words *w)
{
    return d->group_node.is_stale &&
           doctor_say(w, 0, "%u:%u", d->group_node.node.major, d->group_node.node.minor) &&
           doctor_say(w, 1, "%s", d->group_node.number);
}
static bool node_is_denied(facts_t f, device_t d, struct doctor_words *w)
{
    return node_fails(d, EACCES) && doctor_say(w, 0, "%04o, owner %u:%u", d->group_node.node.mode,
                                               d->group_node.node.uid, d->group_node.node.gid);
}
static bool node_is_outside_the_cgroup(facts_t f, device_t d, struct doctor_words *w)
{
    return node_fails(d, EPERM);
}
static bool node_is_held(facts_t f, device_t d, struct doctor_words *w)
{
    return node_fails(d, EBUSY) && d->group_node.holder[0] && doctor_say(w, 0, "%s", d->group_node.holder);
}
static bool node_is_busy(facts_t f, device_t d, struct doctor_words *w)
{
    return node_fails(d, EBUSY);
}
static bool node_fails_otherwise(facts_t f, device_t d, struct doctor_words *w)
{
    return doctor_is_bound(d) && d->group >= 0 && d->group_node.error &&
           doctor_say(w, 0, "%s", strerror(d->group_node.error));
}
static bool node_opens(facts_t f, device_t d, struct doctor_words *w)
{
    return doctor_is_bound(d) && d->group >= 0;
}
static bool cdev_is_denied(facts_t f, device_t d, struct doctor_words *w)
{
    return d->cdev.node.exists && d->cdev.error && doctor_say(w, 0, "%s", strerror(d->cdev.error)) &&
           doctor_say(w, 1, "%s", d->cdev.node.path);
}
static bool cdev_opens(facts_t f, device_t d, struct doctor_words *w)
{
    return d->cdev.node.exists && doctor_say(w, 1, "%s", d->cdev.node.path);
}
static bool attach_fails(facts_t f, device_t d, struct doctor_words *w)
{
    return d->attach_error > 0 && doctor_say(w, 0, "%d, %s", d->attach_error, strerror(d->attach_error));
}
static bool attach_works(facts_t f, device_t d, struct doctor_words *w)
{
    if (d->attach_error)
        return false;
    doctor_say(w, 0, "0x%" PRIx64, d->aperture_last);
    for (unsigned bit = 12; bit < 63; bit++)
        if (d->page_sizes >> bit & 1) {
            char size[32];
            size_t len = strlen(w->word[1]);
            snprintf(w->word[1] + len, DOCTOR_WORD_BYTES - len, "%s%s", len ? ", " : "",
                     text_size(size, UINT64_C(1) << bit));
        }
    return doctor_say(w, 2, "%" PRIu64, d->room);
}
/* Bits of the highest IOVA; 0: unknown. */
static unsigned bits_of(device_t d)
{
    if (d->attach_error == 0 && d->aperture_last)
        return 64 - (unsigned)__builtin_clzll(d->aperture_last);
    return d->width;
}
static bool aperture_is_too_small(facts_t f, device_t d, struct doctor_words *w)
{
    return bits_of(d) && bits_of(d) < 39 && doctor_say(w, 0, "%u", bits_of(d));
}
static bool aperture_is_narrow(facts_t f, device_t d, struct doctor_words *w)
{
    return bits_of(d) && bits_of(d) < 47 && doctor_say(w, 0, "%u", bits_of(d)) &&
           doctor_say_size(w, 1, UINT64_C(1) << bits_of(d));
}
static bool aperture_is_wide(facts_t f, device_t d, struct doctor_words *w)
{
    return bits_of(d) && doctor_say(w, 0, "%u", bits_of(d));
}
static bool superpages_are_missing(facts_t f, device_t d, struct doctor_words *w)
{
    return d->attach_error == 0 && d->page_sizes && !(d->page_sizes & DOCTOR_UNIT);
}
static bool room_is_short(facts_t f, device_t d, struct doctor_words *w)
{
    return d->attach_error == 0 && d->room && f->need / DOCTOR_UNIT > d->room &&
           doctor_say(w, 0, "%" PRIu64, d->room) && doctor_say(w, 1, "%" PRIu64, f->need / DOCTOR_UNIT) &&
           doctor_say(w, 2, "%" PRIu64, f->need / DOCTOR_UNIT * 2);
}

const struct doctor_row doctor_device_rows[] = {
    {"device", "device-used", DOCTOR_BAD, device_is_used, "{bdf} carries {0}: it is not for VFIO", NULL,
     "choose another device"},
    {"device", "device-bridge", DOCTOR_BAD, device_is_a_bridge, "{bdf} is a bridge: it stays with its driver",
     NULL, "choose a device behind it"},
    {"device", "device-no-group", DOCTOR_BAD, device_has_no_group,
     "{bdf} is in no IOMMU group: no IOMMU translates for it", NULL,
     "choose another device, or another slot"},
    {"device", "device-rmrr", DOCTOR_BAD, device_has_rmrr,
     "{bdf}: the firmware has memory that this device must always reach (RMRR), so VFIO refuses it (EPERM)",
     NULL,
     "switch off in the firmware's setup what uses it (legacy USB, remote management), or choose another "
     "device"},
    {"device", "device-unbound", DOCTOR_BAD, device_has_no_driver, "{bdf} is bound to no driver",
     "modprobe vfio-pci; echo vfio-pci > /sys/bus/pci/devices/{bdf}/driver_override; echo {bdf} > "
     "/sys/bus/pci/drivers_probe",
     DRIVERCTL("{bdf}")},
    {"device", "device-other-driver", DOCTOR_BAD, device_has_another_driver,
     "{bdf} is bound to {driver}, not to vfio-pci", BIND("{bdf}"), DRIVERCTL("{bdf}")},
    {"device", "device-ok", DOCTOR_OK, device_is_bound, "{bdf} is bound to {driver}", NULL, NULL},
    {"group", "group-not-viable", DOCTOR_BAD, group_is_not_viable,
     "group {group} is not viable: {1} has another driver (all of it: {2}; bridges may stay with pcieport)",
     BIND("{0}"), DRIVERCTL("{0}")},
    {"group", "group-ok", DOCTOR_OK, group_is_viable, "group {group}: {0}", NULL, NULL},
    {"node", "node-stale", DOCTOR_BAD, node_is_stale,
     "/dev/vfio/{group} has the number {0}, but the kernel's is {1}: it was made earlier, by hand or by a "
     "container's start",
     "rm /dev/vfio/{group} && mknod -m 600 /dev/vfio/{group} c {1:colon}", "restart the container"},
    {"node", "node-not-passed", DOCTOR_BAD, node_is_not_passed,
     "/dev/vfio/{group} is not in this {confined} container", NULL, DOCKER_DEVICES},
    {"node", "node-missing", DOCTOR_BAD, node_is_missing, "/dev/vfio/{group} is not there",
     "udevadm trigger -s vfio", "apt install udev"},
    {"node", "node-denied", DOCTOR_BAD, node_is_denied,
     "/dev/vfio/{group}: no permission for {user} (it is {0})", "sudo chown {user} /dev/vfio/{group}",
     UDEV_GROUP},
    {"node", "node-cgroup", DOCTOR_BAD, node_is_outside_the_cgroup,
     "/dev/vfio/{group}: the device cgroup does not let it be opened (EPERM, though its mode does)", NULL,
     DOCKER_DEVICES},
    {"node", "node-held", DOCTOR_BAD, node_is_held,
     "/dev/vfio/{group} is busy: {0} has it open, and a group has one user at a time", "end {0}", NULL},
    {"node", "node-busy", DOCTOR_BAD, node_is_busy,
     "/dev/vfio/{group} is busy: another process has it open, and a group has one user at a time",
     "sudo fuser -v /dev/vfio/{group}   # who it is", NULL},
    {"node", "node-fails", DOCTOR_BAD, node_fails_otherwise, "/dev/vfio/{group} does not open: {0}", NULL,
     NULL},
    {"node", "node-ok", DOCTOR_OK, node_opens, "/dev/vfio/{group} opens", NULL, NULL},
    {"cdev", "cdev-denied", DOCTOR_WARNING, cdev_is_denied,
     "{1} (the device node of iommufd) does not open for {user}: {0}", "sudo chown {user} {1}",
     "echo 'SUBSYSTEM==\"vfio-dev\", OWNER=\"{user}\"' > /etc/udev/rules.d/72-anydma-cdev.rules && udevadm "
     "control --reload && udevadm "
     "trigger -s vfio-dev"},
    {"cdev", "cdev-ok", DOCTOR_OK, cdev_opens, "{1} (the device node of iommufd) opens", NULL, NULL},
    {"attach", "attach-fails", DOCTOR_BAD, attach_fails,
     "group {group} does not attach to an IOMMU: error {0}", "dmesg | tail   # the kernel says why", NULL},
    {"attach", "attach-ok", DOCTOR_OK, attach_works,
     "group {group} attaches: IOVAs up to {0}, pages of {1}, room for {2} mappings", NULL, NULL},
    {"aperture", "aperture-too-small", DOCTOR_BAD, aperture_is_too_small,
     "the IOMMU of {bdf} reaches {0} bits: not the heap, whose IOVA then is not its address", NULL,
     "use anydma_iova(), not identity; QEMU: intel-iommu,aw-bits=48"},
    {"aperture", "aperture-narrow", DOCTOR_WARNING, aperture_is_narrow,
     "the IOMMU of {bdf} reaches {0} bits ({1}): heap and mappings lie there, but stacks, globals and what a "
     "program places higher get "
     "another IOVA than their address",
     NULL,
     "QEMU: intel-iommu,aw-bits=48; a program that needs IOVA == address: memory from malloc or mmap only "
     "(DPDK, SPDK: "
     "--base-virtaddr below {1})"},
    {"aperture", "aperture-ok", DOCTOR_OK, aperture_is_wide,
     "the IOMMU of {bdf} reaches {0} bits: all of a program", NULL, NULL},
    {"superpages", "superpages-missing", DOCTOR_WARNING, superpages_are_missing,
     "the IOMMU of {bdf} has no superpages of 2 MiB: its tables are larger, and mapping takes longer", NULL,
     NULL},
    {"room", "room-short", DOCTOR_BAD, room_is_short,
     "group {group} has room for {0} mappings, and {1} of 2 MiB are needed",
     "anydma run --granule=64M -- PROGRAM   # fewer, larger mappings",
     "echo options vfio_iommu_type1 dma_entry_limit={2} > /etc/modprobe.d/vfio-entries.conf && reboot"},
    {0},
};
