#!/bin/bash
# SPDX-License-Identifier: MIT
# anydma doctor in states that are real: devices without a driver, with another, that carry something, nodes that are stale,
# denied or busy, limits; it finds each, and what it says to paste mends it. In the guest, which it leaves without a module that
# others need: tests/vm/doctor_boots.sh boots for it. (tests/cli/doctor.sh has every row.)
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" anydma examples/edu_dma
work=$(mktemp -d)
chmod 755 "$work"
status=0
bits=48
grep -q . /sys/class/iommu/dmar0/intel-iommu/cap && bits=$(((16#$(cat /sys/class/iommu/dmar0/intel-iommu/cap) >> 16 & 63) + 1))

doctor() {
    "$ANYDMA" doctor "$@" >"$work/out" 2>&1
}
# The same for an ordinary user with a limit on locked memory in KiB.
dir=$PWD
while [ "$dir" != / ]; do
    chmod o+rx "$dir"
    dir=$(dirname "$dir")
done
as_user() {
    local limit=$1
    shift
    (ulimit -l "$limit" && HOME=/tmp exec setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all "$@")
}
result() {
    if [ "$2" = 0 ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        sed 's/^/    /' "$work/out" | head -n 60
        status=1
    fi
}
# says NAME WORDS: a line of the last report that is not ✓.
says() {
    grep -E '^(✗|!|x) ' "$work/out" | grep -qE -- "$2"
    result "$1" $?
}
is_ready() {
    grep -qx ready "$work/out"
    result "$1" $?
}
# mend: what the first thing in the way says to paste, as root.
mend() {
    grep -A 1 -E '^(✗|x) ' "$work/out" | sed -nE 's/^ +now: +//p' | head -n 1 | sed 's/sudo //' >"$work/mend"
    bash "$work/mend" 2>/dev/null
}
edu=/sys/bus/pci/devices/$EDU_BDF

doctor -d "$EDU_BDF" --size 64M
is_ready "a machine where all is well"
grep -q "^✓ group $EDU_GROUP attaches: IOVAs up to 0x.*2.* MiB" "$work/out"
result "the group attaches" $?
grep -q "$EDU_BDF .*vfio-pci *$EDU_GROUP .* $bits\$" "$work/out"
result "the table says $bits bits" $?
if [ "$bits" = 39 ]; then
    says "a 39-bit IOMMU" 'reaches 39 bits'
fi

echo "$EDU_BDF" >"$edu/driver/unbind"
echo >"$edu/driver_override"
doctor -d "$EDU_BDF"
says "a device without a driver" "$EDU_BDF is bound to no driver"
mend
doctor -d "$EDU_BDF"
is_ready "and mended"

# --- another driver, and a device that carries something
if vm-modules nvme 2>/dev/null; then
    nvme=/sys/bus/pci/devices/$NVME_BDF
    echo "$NVME_BDF" >"$nvme/driver/unbind"
    echo nvme >"$nvme/driver_override"
    echo "$NVME_BDF" >/sys/bus/pci/drivers_probe
    doctor -d "$NVME_BDF"
    says "a device with another driver" "$NVME_BDF is bound to nvme, not to vfio-pci"
    for _ in $(seq 100); do # the drive is found by a thread of the kernel's
        [ -e /sys/class/block/nvme0n1 ] && break
        sleep 0.1
    done
    [ -e /dev/nvme0n1 ] || mknod /dev/nvme0n1 b "$(cut -d: -f1 /sys/class/block/nvme0n1/dev)" "$(cut -d: -f2 /sys/class/block/nvme0n1/dev)"
    if /bin/busybox mkswap /dev/nvme0n1 >/dev/null 2>&1 && swapon /dev/nvme0n1 2>/dev/null; then
        doctor -d "$NVME_BDF"
        says "a drive that carries swap space" "$NVME_BDF carries swap space"
        [ -z "$(grep -A 2 "$NVME_BDF carries" "$work/out" | grep 'now:')" ]
        result "and is not offered" $?
        swapoff /dev/nvme0n1
    fi
    doctor -d "$NVME_BDF"
    mend
    doctor -d "$NVME_BDF"
    is_ready "another driver's device, mended"
fi

# --- nodes
node=/dev/vfio/$EDU_GROUP
chmod 666 /dev/vfio/vfio
as_user unlimited "$ANYDMA" doctor -d "$EDU_BDF" >"$work/out" 2>&1
says "no permission for the group" "$node: no permission"
as_user unlimited "$ANYDMA" run -- "$BUILD/examples/edu_dma" "$EDU_BDF" >"$work/out" 2>&1
grep -q "anydma: opening a VFIO group failed for $node: no permission (error 13).*anydma doctor" "$work/out"
result "the shim says so too, when the program opens it" $?
as_user unlimited "$ANYDMA" doctor -d "$EDU_BDF" >"$work/out" 2>&1
mend
as_user unlimited "$ANYDMA" doctor -d "$EDU_BDF" >"$work/out" 2>&1
is_ready "and mended"
as_user 8192 "$ANYDMA" doctor -d "$EDU_BDF" --size 512M >"$work/out" 2>&1
says "memlock that does not suffice" 'memlock: 512.* MiB are needed.* 8.* MiB'
as_user 8192 "$ANYDMA" doctor -d "$EDU_BDF" >"$work/out" 2>&1
says "memlock without a size says what it suffices for" 'room for 4 units'
chmod 600 /dev/vfio/vfio
as_user unlimited "$ANYDMA" doctor -d "$EDU_BDF" >"$work/out" 2>&1
says "no permission for the container" '/dev/vfio/vfio: no permission'
mend
as_user unlimited "$ANYDMA" doctor -d "$EDU_BDF" >"$work/out" 2>&1
is_ready "and mended"

mv "$node" "$node.real"
mknod "$node" c 240 77
doctor -d "$EDU_BDF"
says "a stale node" "$node has the number 240:77"
mend
doctor -d "$EDU_BDF"
is_ready "and mended"
rm -f "$node.real"
chown 0 "$node"

exec 8<>"$node"
sleep 600 &
holder=$!
exec 8>&-
doctor -d "$EDU_BDF"
says "a group that is busy" "$node is busy: sleep \(process $holder\) has it open"
"$ANYDMA" run -- "$BUILD/examples/edu_dma" "$EDU_BDF" >"$work/out" 2>&1
grep -q "anydma: opening a VFIO group failed for $node: another process has the group open.*anydma doctor" "$work/out"
result "the shim says so too" $?
kill $holder
wait $holder 2>/dev/null
doctor -d "$EDU_BDF"
is_ready "when its holder has ended"

# --- limits
limit=/sys/module/vfio_iommu_type1/parameters/dma_entry_limit
before=$(cat $limit)
echo 10 >$limit
doctor -d "$EDU_BDF" --size 64M
says "few mappings" 'a container holds 10 mappings; 64.* MiB take about 32'
says "no room in the group's container" 'has room for 10 mappings, and 32'
echo "$before" >$limit
echo never >/sys/kernel/mm/transparent_hugepage/enabled
doctor
says "no huge pages" 'transparent huge pages are off'
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

# --- nothing bound; then without the module, which is not loaded again
for bdf in "$EDU_BDF" "$NVME_BDF" "$E1000E_BDF"; do
    echo "$bdf" >"/sys/bus/pci/devices/$bdf/driver/unbind"
    echo >"/sys/bus/pci/devices/$bdf/driver_override"
done
doctor
says "no device that VFIO has" 'no device is bound to vfio-pci; these could be:.*0000:00:03.0'
/bin/busybox rmmod vfio_pci
doctor
says "a module that is not loaded" 'vfio-pci is not loaded'
grep -q 'now: *modprobe vfio-pci' "$work/out"
result "and how to load it" $?
exit $status
