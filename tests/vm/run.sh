#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs one command in a VM with an emulated IOMMU and edu, nvme and e1000e behind it, each bound to vfio-pci; gives its
# output (both streams) on stdout, as it comes, and its exit status:
#   [AW=39|48] [KERNEL=6.1|6.12|newest|iommufd|iommufd-newest] [BACKEND=type1|iommufd|compat] [MEM=3072M] [CPUS=2]
#   [TIMEOUT=180] [PCAP=file] [OUT=dir] [APPEND=words for the kernel] [IOMMU=no-remapping|none] [DEVICES=words for QEMU]
#   tests/vm/run.sh 'command line'      (or: tests/vm/run.sh program argument...)
# The guest sees the host's files, read-only below an overlay, starts in the repository, and has the variables
# {EDU,NVME,E1000E}_{BDF,GROUP,CDEV}, the helpers of tests/vm/guest on PATH, and $VM_OUT, a directory that OUT= brings out.
# With ZOO=1 there are also E1000E2 (on a hub with E1000E), VIRTIO_NET and VMXNET3 (on another), and VIRTIO_CRYPTO.
# BACKEND is exported there; with compat, iommufd is what /dev/vfio/vfio leads to (both need a kernel with iommufd).
# On stderr: what the guest's kernel said about DMA faults and crashes ("dmesg: ..."), and why a run failed.
# 124: no end within TIMEOUT seconds; 125: the VM itself failed (its console's last lines follow).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
build=$(realpath -m "${BUILD:-$repo/build}")
boot_limit=${BOOT_TIMEOUT:-120}
limit=${TIMEOUT:-180}
pcap_bytes=$((16 << 20))

[ $# -ge 1 ] || {
    sed -n '3,7s/^# \{0,1\}//p' "$0" >&2
    exit 125
}
: "${KERNEL:=6.12}"
case ${AW:=48} in
39 | 48) ;;
*)
    echo "vm: AW=$AW is not known: it is 39 or 48 (bits of the IOMMU)" >&2
    exit 125
    ;;
esac
case ${BACKEND:=type1}:$KERNEL in
type1:* | iommufd:iommufd* | compat:iommufd*) ;;
*)
    echo "vm: BACKEND=$BACKEND is not in KERNEL=$KERNEL: iommufd and compat need KERNEL=iommufd or iommufd-newest, all have type1" >&2
    exit 125
    ;;
esac

"$here/../deps.sh" vm || exit 125
kernel=$("$here/kernel.sh" "$KERNEL") || exit 125

run=$(mktemp -d "$build/vm/run.XXXXXX")
share=$run/share
pids=()
# Ends what this run started, and only that.
# shellcheck disable=SC2317 # reached by the trap
cleanup() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# The share carries the command as a file, so that no quoting can hurt it.
mkdir -p "$share/out"
chmod 755 "$run" "$share"
chmod 1777 "$share/out"
cp "$here/guest-init" "$share/guest-init"
printf 'repo=%q vm_dir=%q limit=%q backend=%q zoo=%q kernel=%q\n' "$repo" "$here" "$limit" "$BACKEND" "${ZOO:-}" \
    "$kernel" >"$share/settings"
if [ $# -eq 1 ]; then
    printf '%s\n' "$1" >"$share/command"
else
    printf '%q ' "$@" >"$share/command"
fi
: >"$share/output"
truncate -s 64M "$run/nvme.img"

case ${IOMMU:=remapping} in
remapping) iommu=(-device "intel-iommu,intremap=on,aw-bits=$AW") ;;
no-remapping) iommu=(-device "intel-iommu,intremap=off,aw-bits=$AW") ;;
none) iommu=() ;;
*)
    echo "vm: IOMMU=$IOMMU is not known: it is no-remapping or none" >&2
    exit 125
    ;;
esac
read -ra more_devices <<<"${DEVICES:-}"
# shellcheck disable=SC2054 # the commas are QEMU's
devices=(
    "${iommu[@]}"
    -device edu,addr=3,dma_mask=0xffffffffffffffff
    -drive file="$run/nvme.img",if=none,id=disk,format=raw,cache=unsafe -device nvme,addr=4,drive=disk,serial=anydma
    # A hub with one port: the link is up, and what is sent goes nowhere but into the capture.
    -netdev hubport,id=net,hubid=0 -device e1000e,addr=5,netdev=net,romfile=
    -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap
    -virtfs local,path="$share",mount_tag=vm,security_model=none
    "${more_devices[@]}"
)
if [ -n "${ZOO:-}" ]; then
    # Without iommu_platform and disable-legacy a virtio device's DMA would pass the IOMMU by, as virtio-crypto's does: DPDK's driver
    # of it could do nothing else.
    # shellcheck disable=SC2054
    devices+=(
        -netdev hubport,id=net2,hubid=0 -device e1000e,addr=6,netdev=net2,romfile=
        -netdev hubport,id=net3,hubid=1 -device virtio-net-pci,addr=7,netdev=net3,romfile=,iommu_platform=on,disable-legacy=on
        -netdev hubport,id=net4,hubid=1 -device vmxnet3,addr=8,netdev=net4,romfile=
        -object cryptodev-backend-builtin,id=crypto -device virtio-crypto-pci,addr=9,cryptodev=crypto,disable-legacy=on
    )
fi
if [ -n "${PCAP:-}" ]; then
    # Through a fifo that closes when it has enough: a sender at full speed would fill the disk.
    mkfifo "$run/pcap"
    head -c "$pcap_bytes" "$run/pcap" >"$run/pcap.bytes" &
    capture=$!
    pids+=("$capture")
    # shellcheck disable=SC2054
    devices+=(-object filter-dump,id=dump,netdev=net,file="$run/pcap",maxlen=256)
fi

# Without cmpxchg16b: after one, QEMU 7.2's translator now and then leaves other bits in the guest's flags, and its kernel, whose
# allocator would use it all the time, dies.
qemu-system-x86_64 -nodefaults -machine q35,kernel-irqchip=split -accel tcg,thread=multi -cpu max,la57=off,cx16=off \
    -m "${MEM:-3072M}" -smp "${CPUS:-2}" "${devices[@]}" \
    -kernel "$kernel/vmlinux" -initrd "$kernel/initramfs.cpio" \
    -append "console=ttyS0 quiet intel_iommu=on panic=-1 mitigations=off nokaslr audit=0 no_timer_check ${APPEND:-}" \
    -display none -serial file:"$run/console" -monitor none -no-reboot >"$run/qemu.log" 2>&1 </dev/null &
qemu=$!
pids+=("$qemu")
# Ends by itself, with all that there is, when QEMU has ended.
tail -c +1 -f -s 0.1 --pid="$qemu" "$share/output" 2>/dev/null &
streamer=$!
pids+=("$streamer")

# Waits for the VM's end; the command's time begins when it is started, however long the machine took to boot.
timed_out=
deadline=$((SECONDS + boot_limit))
started=
while kill -0 "$qemu" 2>/dev/null; do
    if [ -z "$started" ] && [ -e "$share/started" ]; then
        started=1
        # The guest ends itself at the limit, and says what hangs; this is for one that can't.
        deadline=$((SECONDS + limit + 10))
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
        timed_out=1
        kill "$qemu" 2>/dev/null || true
        break
    fi
    sleep 0.1
done
wait "$qemu" 2>/dev/null || true
wait "$streamer" 2>/dev/null || true
if [ -n "${PCAP:-}" ]; then
    : <>"$run/pcap" # QEMU may have died before it opened its end: the reader would wait for ever
    wait "$capture" 2>/dev/null || true
fi
pids=()

# The last lines of what kernel and init said to the serial console, for a run that did not end well.
show_console() {
    echo "vm: the console's last lines:" >&2
    tail -n 60 "$run/console" 2>/dev/null | tr -d '\r' | sed 's/^/console: /' >&2
    # Five lines: what follows may be all registers.
    sed '/hub 0 is not connected/d; s/^/qemu: /' "$run/qemu.log" | head -n 5 >&2 || true
}

kernel_log=$share/dmesg
[ -s "$kernel_log" ] || kernel_log=$run/console
tr -d '\r' <"$kernel_log" 2>/dev/null | sed -n -E \
    '/DMAR: (\[|DRHD: handling)|dmar_fault|Kernel panic|BUG:|WARNING:|Oops|segfault at|general protection|Out of memory:/s/^/dmesg: /p' >&2 || true

if [ -n "${PCAP:-}" ]; then
    mkdir -p "$(dirname "$PCAP")"
    mv "$run/pcap.bytes" "$PCAP"
    echo "vm: packets captured into $PCAP ($(stat -c %s "$PCAP") bytes)" >&2
fi
if [ -n "${OUT:-}" ]; then
    mkdir -p "$OUT"
    cp -a "$share/out/." "$OUT/"
fi

# On a busy machine the emulator now and then loses an interrupt that the booting guest cannot do without, or runs the int3 of a
# place in the guest's kernel that another of its CPUs had already patched.
is_emulators=
[ -e "$share/started" ] || is_emulators='died while booting'
[ -s "$share/status" ] || ! grep -aq 'Oops: int3' "$run/console" || is_emulators='met an int3 of its own'
if [ -n "$is_emulators" ] && [ -z "${VM_SECOND_BOOT:-}" ]; then
    echo "vm: the guest $is_emulators ($(grep -a 'Kernel panic' "$run/console" | tr -d '\r' | tail -n 1)): once more" >&2
    cleanup
    VM_SECOND_BOOT=1 exec "$here/run.sh" "$@"
fi

if [ -s "$share/status" ]; then
    exit "$(cat "$share/status")"
elif [ -e "$share/timed_out" ] || [ "$timed_out$started" = 11 ]; then
    echo "vm: the command did not end within $limit s (TIMEOUT=)" >&2
    show_console
    exit 124
elif [ -n "$timed_out" ]; then
    echo "vm: the guest did not boot within $boot_limit s (BOOT_TIMEOUT=)" >&2
    show_console
    exit 124
else
    echo "vm: the guest ended before the command did (kernel panic? no memory left on the host?)" >&2
    show_console
    exit 125
fi
