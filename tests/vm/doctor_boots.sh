#!/bin/bash
# SPDX-License-Identifier: MIT
# anydma doctor on machines without an IOMMU, without interrupt remapping, and with a group that another driver shares: each is a
# boot of its own. What it says to paste mends what can be mended without another boot. And boots for tests/vm/doctor.sh and readme.sh.
# @host tests/vm/doctor_boots.sh
# @all
# @limit 1800
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" anydma examples/edu_dma examples/nvme_read
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# boot COMMAND [VARIABLE=value...]
boot() {
    local command=$1
    shift
    env "$@" tests/vm/run.sh "PATH=$BUILD:\$PATH; $command" >"$work/out" 2>"$work/err"
}
# says NAME WORDS
says() {
    if grep -qE -- "$2" "$work/out"; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        head -n 60 "$work/out" "$work/err" | sed 's/^/    /'
        status=1
    fi
}
# In the guest: what the first thing in the way says to paste.
mend="bash -c \"\$(anydma doctor -d \$EDU_BDF | sed -nE 's/^ +now: +//p' | head -n 1)\""

# script NAME [VARIABLE=value...]: a test that is run in the guest; its results are ours.
script() {
    local name=$1
    shift
    boot "tests/vm/$name.sh" TIMEOUT=400 "$@" || status=1
    grep -E '^ok - ' "$work/out" | sed "s/\$/ ($name $*)/"
    grep -qE '^ok - ' "$work/out" && ! grep -vE '^ok - ' "$work/out" || status=1
}
script readme KERNEL=6.12
script doctor KERNEL=6.12
script doctor KERNEL=6.1 AW=39

boot 'anydma doctor' IOMMU=none
says 'a virtual machine without an IOMMU' '^✗ no IOMMU: this virtual machine has none'
says 'and how to start it with one' 'for good: .*intel-iommu,intremap=on'
boot 'anydma doctor' APPEND=intel_iommu=off
says 'an IOMMU that is switched off' '^✗ no IOMMU: the kernel was started with intel_iommu=off'
boot "anydma doctor -d \$EDU_BDF; anydma run -- $BUILD/examples/edu_dma \$EDU_BDF; $mend; anydma doctor -d \$EDU_BDF | sed 's/^/then: /'" \
    IOMMU=no-remapping
says 'no interrupt remapping' '^✗ interrupts are not remapped, so VFIO refuses \(EPERM\): this virtual machine'
says 'the group does not attach' '^✗ group [0-9]+ does not attach to an IOMMU: error 1,'
says 'the shim says so too' '^anydma: VFIO_SET_IOMMU failed: interrupts are not remapped.*anydma doctor'
says 'and mended' '^then: ready'
boot 'anydma doctor' APPEND=intremap=off
says 'interrupt remapping that is switched off' '^✗ interrupts are not remapped.*: the kernel was started with intremap=off'

# Two devices behind a bridge of the old kind share a group; the guest's own driver has one of them.
boot "bdf=\$(cd /sys/bus/pci/devices && grep -l 0x11e8 */device | grep -v \$EDU_BDF | cut -d/ -f1)
    echo vfio-pci >/sys/bus/pci/devices/\$bdf/driver_override; echo \$bdf >/sys/bus/pci/drivers/vfio-pci/bind
    anydma doctor -d \$bdf; anydma run -- $BUILD/examples/edu_dma \$bdf
    bash -c \"\$(anydma doctor -d \$bdf | sed -nE 's/^ +now: +//p' | head -n 1)\"; anydma doctor -d \$bdf | sed 's/^/then: /'" \
    DEVICES='-device pcie-pci-bridge,id=old,addr=10 -device edu,bus=old,addr=1 -device virtio-rng-pci,bus=old,addr=2'
says 'a group that is not viable' '^✗ group [0-9]+ is not viable: 0000:[0-9a-f:.]+ \(virtio-pci\) has another driver.*bridges may stay'
says 'the shim says so too' '^anydma: using a VFIO group failed: it is not viable|^anydma: VFIO_GROUP_SET_CONTAINER failed: the group is not viable'
says 'and mended' '^then: ready'
exit $status
