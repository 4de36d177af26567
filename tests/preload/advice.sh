#!/bin/bash
# SPDX-License-Identifier: MIT
# What the shim says of the program's own calls to VFIO that fail: strace has them fail, with each errno that has a meaning.
# Once for each kind, at default verbosity, the number, what follows, what to do, the doctor; how often in all at the end.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/open_doors
program=$BUILD/tests/preload/open_doors
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null || { echo 'strace can not trace here' && exit 77; }

# fails NAME CALL ERROR WORDS [PATH]: CALL (openat, ioctl) of the program's gives ERROR; WORDS are said once.
fails() {
    local name=$1 call=$2 error=$3 words=$4 said
    strace -f -qq -e signal=none -e trace="$call" ${5:+-P "$5"} -e inject="$call:error=$error" -o /dev/null \
        env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=auto "$program" device >"$work/out" 2>"$work/err"
    said=$(grep -cF -- "$words" "$work/err")
    if [ "$said" = 1 ] && ! grep -F -- "$words" "$work/err" | grep -vq 'error [0-9].*`anydma doctor`' && [ ! -s "$work/out" ]; then
        echo "ok - $name: $error"
    else
        echo "not ok - $name: $error"
        echo "$said times '$words' in:" >&2
        head -c 3000 "$work/err" >&2
        status=1
    fi
}
fails container openat ENOENT 'opening the VFIO container failed for /dev/vfio/vfio: VFIO is not loaded' /dev/vfio/vfio
fails container openat EACCES 'opening the VFIO container failed for /dev/vfio/vfio: no permission (error 13)' /dev/vfio/vfio
fails container openat EPERM 'opening the VFIO container failed for /dev/vfio/vfio: the device cgroup' /dev/vfio/vfio
fails group openat ENOENT 'opening a VFIO group failed for /dev/vfio/7: no device of that group is bound' /dev/vfio/7
fails group openat EACCES 'opening a VFIO group failed for /dev/vfio/7: no permission' /dev/vfio/7
fails group openat EPERM 'opening a VFIO group failed for /dev/vfio/7: the device cgroup' /dev/vfio/7
fails group openat EBUSY 'opening a VFIO group failed for /dev/vfio/7: another process has the group open' /dev/vfio/7
fails group openat ENXIO 'opening a VFIO group failed for /dev/vfio/7: the node is stale' /dev/vfio/7
fails cdev openat EACCES 'opening a VFIO device failed for /dev/vfio/devices/vfio3: no permission' /dev/vfio/devices/vfio3
fails iommufd openat EACCES 'opening iommufd failed for /dev/iommu: no permission' /dev/iommu
fails set_container ioctl EPERM 'VFIO_GROUP_SET_CONTAINER failed: the group is not viable'
fails set_container ioctl EBUSY 'VFIO_GROUP_SET_CONTAINER failed: the group is in another container'
fails set_iommu ioctl EPERM 'VFIO_SET_IOMMU failed: interrupts are not remapped'
fails set_iommu ioctl ENODEV 'VFIO_SET_IOMMU failed: the kernel has no such IOMMU driver'
fails set_iommu ioctl EINVAL 'VFIO_SET_IOMMU failed: no group is in the container yet'
fails unknown_type ioctl ENODEV 'VFIO_SET_IOMMU failed: the kernel has no IOMMU of the type that was asked for (error 19)'
fails unknown_type ioctl EINVAL 'VFIO_SET_IOMMU failed: the kernel has no IOMMU of the type that was asked for (error 22)'
fails bind ioctl EBUSY 'VFIO_DEVICE_BIND_IOMMUFD failed: the device is in use'
fails bind ioctl EPERM 'VFIO_DEVICE_BIND_IOMMUFD failed: interrupts are not remapped'
fails bind ioctl EINVAL 'VFIO_DEVICE_BIND_IOMMUFD failed: the device is bound already'
fails bind ioctl ENODEV 'VFIO_DEVICE_BIND_IOMMUFD failed: the device has no IOMMU group'
fails bind ioctl EBADFD 'VFIO_DEVICE_BIND_IOMMUFD failed: what it names is not an iommufd'
fails attach ioctl ENOENT 'VFIO_DEVICE_ATTACH_IOMMUFD_PT failed: the iommufd has no address space and no page table of that number'
fails attach ioctl EINVAL 'VFIO_DEVICE_ATTACH_IOMMUFD_PT failed: the device is not bound'
fails attach ioctl EADDRINUSE 'VFIO_DEVICE_ATTACH_IOMMUFD_PT failed: IOVAs that the device does not reach'
fails attach ioctl EFAULT 'VFIO_DEVICE_ATTACH_IOMMUFD_PT failed: a mapping of the program'
fails attach ioctl ENOMEM 'VFIO_DEVICE_ATTACH_IOMMUFD_PT failed: memory, or memlock'
fails get_device ioctl ENODEV 'VFIO_GROUP_GET_DEVICE_FD failed for 0000:00:03.0: that device is not in the group'

# A group whose status says nothing of viable: the ioctl succeeds, and its answer is all zeros.
strace -f -qq -e signal=none -e trace=ioctl -e inject=ioctl:retval=0 -o /dev/null \
    env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=none "$program" device >/dev/null 2>"$work/err"
grep -q 'using a VFIO group failed: it is not viable' "$work/err" && echo 'ok - a group that is not viable is told' ||
    { echo 'not ok - a group that is not viable is told' && status=1; }

# At the end: how often.
strace -f -qq -e signal=none -e trace=openat -P /dev/vfio/7 -e inject=openat:error=EBUSY -o /dev/null \
    env LD_PRELOAD="$SHIM" "$program" device 2>"$work/err"
grep -q 'opening a VFIO group failed 2 times in all: another process' "$work/err" && echo 'ok - the end says how often' ||
    { echo 'not ok - the end says how often' && cat "$work/err" >&2 && status=1; }
# Where iommufd is not there, programs go on with the container.
env LD_PRELOAD="$SHIM" "$program" device 2>"$work/err"
[ -e /dev/iommu ] || ! grep -q 'opening iommufd' "$work/err" && echo 'ok - an iommufd that is not there is no failure' ||
    { echo 'not ok - an iommufd that is not there is no failure' && status=1; }
env LD_PRELOAD="$SHIM" ANYDMA_VERBOSE=0 "$program" device 2>"$work/err"
[ ! -s "$work/err" ] && echo 'ok - silent at verbosity 0' || { echo 'not ok - silent at verbosity 0' && status=1; }
exit $status
