/* SPDX-License-Identifier: MIT */
/* For the files that have rows of the doctor's table: how their checks fill in words, and the remedies that several share. */
#ifndef CLI_DOCTOR_ROWS_H
#define CLI_DOCTOR_ROWS_H

#include "cli/doctor/findings.h"

typedef const struct doctor_facts *facts_t;
typedef const struct doctor_device *device_t;

enum { DOCTOR_UNIT = 2 << 20 }; /* what one small buffer pins by default */

/* Word number `at` for the row's texts. Returns true, to end a check with. */
bool doctor_say(struct doctor_words *words, int at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same: "12.0 MiB", "unlimited". */
bool doctor_say_size(struct doctor_words *words, int at, uint64_t bytes);

#define GRUB(what) "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&" what " /' /etc/default/grub && update-grub && reboot"
#define BIND(bdf)                                                                                            \
    "modprobe vfio-pci; echo vfio-pci > /sys/bus/pci/devices/" bdf "/driver_override; "                      \
    "echo " bdf " > /sys/bus/pci/devices/" bdf "/driver/unbind; echo " bdf " > /sys/bus/pci/drivers_probe"
#define DRIVERCTL(bdf) "apt install driverctl; driverctl set-override " bdf " vfio-pci"
#define SIMULATE "anydma run --iommu=sim -- PROGRAM   # simulated: what would be pinned, without a device"
#define UNSAFE                                                                                               \
    "echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts   # the device can then "      \
    "forge interrupts "                                                                                      \
    "(with iommufd: /sys/module/iommufd/parameters/allow_unsafe_interrupts)"
#define DOCKER_DEVICES "docker run --device=/dev/vfio/vfio --device=/dev/vfio/{group} --ulimit memlock=-1 ..."

#define UDEV_GROUP                                                                                           \
    "echo 'SUBSYSTEM==\"vfio\", OWNER=\"{user}\"' > /etc/udev/rules.d/70-anydma.rules && udevadm control "   \
    "--reload && udevadm "                                                                                   \
    "trigger -s vfio"

#endif
