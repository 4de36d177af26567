#!/bin/bash
# SPDX-License-Identifier: MIT
# An application that manages its own IOVAs must not notice the shim: qemu-io writes and reads the NVMe drive through VFIO,
# without the shim and with it, and must print the same and map the same IOVAs (the kernel's tracepoints say which).
# Its profile has all of its mappings. With CAPTURE that is left there.
#   [AW=39|48] [KERNEL=6.1|6.12] [SHIM=file] [CAPTURE=file] tests/vm/qemu_io.sh      (on the host, or in the guest)
# @vm tests/vm/qemu_io.sh
# qemu-io on this bus waits for interrupts that never come, without any shim: kick_eventfds.c says why and wakes it up. It is
# bounded in time all the same, and tried again.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/setup.bash
. "$here/../setup.bash" tests/vm/kick_eventfds
shim=$(realpath -m "$SHIM")
build=$BUILD
tries=3
limit=15

if [ -z "${NVME_BDF:-}" ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    OUT=$out "$here/run.sh" "SHIM=$shim BUILD=$build tests/vm/qemu_io.sh"
    status=$?
    [ $status -ne 0 ] || [ -z "${CAPTURE:-}" ] || cp "$out/qemu-io.capture" "$CAPTURE"
    exit $status
fi

# Played by an iommufd, a container's IOVAs are narrowed when its device is opened, and QEMU has asked for them before.
if [ "${BACKEND:-type1}" = compat ]; then
    echo 'qemu-io finds no IOVAs in a container that iommufd plays, with or without the shim'
    exit 77
fi

trace=/sys/kernel/tracing
[ -e $trace/trace ] || mount -t tracefs tracefs $trace
echo 1 >$trace/events/iommu/map/enable
echo 1 >$trace/events/iommu/unmap/enable
work=$(mktemp -d)
failed=0

# check TEXT COMMAND...: one line for what the command's status says.
check() {
    local text=$1
    shift
    if "$@"; then
        echo "ok   $text"
    else
        echo "FAIL $text"
        failed=1
    fi
}

# iovas map|unmap: the IOVAs of the traced events, in order of address, neighbours joined: how the kernel cuts them
# depends on where the memory lies.
iovas() {
    sed -n "s/.* $1: IOMMU: iova=0x\([0-9a-f]*\) - 0x\([0-9a-f]*\) .*/\1 \2/p" $trace/trace | sort -u |
        awk 'end != "" && $1 "" == end "" { end = $2; next } end != "" { print start "-" end } { start = $1; end = $2 }\
            END { if (end != "") print start "-" end }'
}

# run NAME [VARIABLE=value...]: qemu-io under those variables, till a try ends well; leaves NAME.{text,map,unmap}.
run() {
    local name=$1 try
    shift
    for ((try = 1; try <= tries; try++)); do
        echo >$trace/trace
        "$build/tests/vm/kick_eventfds" $limit env "$@" qemu-io -f raw -c 'write -P 0xa5 1M 64k' -c 'read -P 0xa5 1M 64k' \
            "nvme://$NVME_BDF/1" >"$work/$name.raw" 2>"$work/$name.err" </dev/null && break
    done
    iovas map >"$work/$name.map"
    iovas unmap >"$work/$name.unmap"
    sed -E 's/[0-9.]+ sec .*/(time)/' "$work/$name.raw" >"$work/$name.text"
    echo "     $name: try $try of $tries"
    [ "$try" -le $tries ]
}

check "qemu-io runs without the shim" run without
check "qemu-io runs with the shim" run with LD_PRELOAD="$shim" ANYDMA_STATS=1
run profiled LD_PRELOAD="$shim" ANYDMA_OUTPUT="$VM_OUT/qemu-io.capture" >/dev/null
check "its profile has each mapping with its call site, and no others" bash -c "'$build/anydma' report --json '$VM_OUT/qemu-io.capture' | python3 -c '
import json, sys
r = json.load(sys.stdin)
made = r[\"calls\"][\"app_map\"][\"count\"]
assert made > 0 and r[\"peak\"][\"anydma_bytes\"] == 0, r[\"calls\"]
assert sum(s[\"app_maps\"] for s in r[\"sites\"] if s[\"stack\"]) == made, r[\"sites\"]
print(made)'"
check "the shim was there" grep -qi anydma "$work/with.err"
sed 's/^/     /' "$work/with.text" "$work/with.err"
check "it wrote and read" grep -q 'read 65536/65536' "$work/with.text"
check "the same output" diff "$work/without.text" "$work/with.text"
check "the same IOVAs mapped: $(tr '\n' ' ' <"$work/without.map")" diff "$work/without.map" "$work/with.map"
check "the same IOVAs unmapped" diff "$work/without.unmap" "$work/with.unmap"
run quiet LD_PRELOAD="$shim" >/dev/null
check "no word of the shim's on stdout or stderr" diff "$work/without.err" "$work/quiet.err"
rm -rf "$work"
[ $failed -eq 0 ] && echo "qemu_io: passed" || echo "qemu_io: FAILED"
exit $failed
