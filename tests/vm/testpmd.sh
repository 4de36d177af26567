#!/bin/bash
# SPDX-License-Identifier: MIT
# The main job, before and after: DPDK's testpmd, unmodified, sends packets out of memory that nobody mapped for the device,
# without the shim and with it, at both widths of the IOMMU. Prints a table; checks that without the shim every packet is
# lost to DMA faults, and that with it there is no fault and real packets leave, and
# that a snapshot of its profile taken meanwhile has all that is pinned. With CAPTURE the last run's capture is left there.
#   [AW='48 39'] [KERNEL=6.1|6.12] [SENDS=seconds] [CAPTURE=file] tests/vm/testpmd.sh [without] [with]
# @host AW=48 tests/vm/testpmd.sh
# @host AW=39 tests/vm/testpmd.sh
# @limit 600
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/setup.bash
. "$here/../setup.bash" tests/vm/pcap_count
build=$BUILD

# In the guest: a snapshot of testpmd's profile; what was in the way, if anything, is shown with the failure.
weigh() {
    local try pid
    for try in 1 2 3; do
        pid=$("$build/anydma" top --batch | tee /dev/stderr | awk '/dpdk-testpmd/ {print $1}')
        "$build/anydma" snapshot -o "$VM_OUT/snapshot" "$pid" && return
        echo "try $try of 3" >&2
        sleep 0.5
    done
}

# In the guest: sends for a few seconds, counted from when it says that it does (on a terminal, so that it says so at once),
# and leaves its counts in $VM_OUT/counts: exit status, packets that it believes it sent, DMA faults that the kernel logged.
in_guest() {
    local log=$VM_OUT/log launcher="" keyboard=/dev/shm/keyboard
    [ "$1" = without ] || launcher="$build/anydma run --stats -o $VM_OUT/capture --"
    mkfifo "$keyboard"
    exec 4<>"$keyboard"
    script -qec "timeout --foreground 150 $launcher dpdk-testpmd -l 0,1 --no-telemetry -a $E1000E_BDF --no-huge -m 192 \
        --iova-mode=va -- --mp-alloc=xmem --total-num-mbufs=2048 --forward-mode=txonly --auto-start \
        --no-lsc-interrupt" /dev/null <"$keyboard" >"$log" 2>&1 4>&- &
    local testpmd=$!
    while kill -0 $testpmd 2>/dev/null && ! grep -q 'Press enter' "$log"; do
        sleep 0.2
    done
    sleep "${SENDS:-2}"
    [ "$1" = without ] || weigh 2>"$VM_OUT/snapshot.err"
    echo >&4
    wait $testpmd
    local status=$?
    tr -d '\r' <"$log" >"$log.text"
    mv "$log.text" "$log"
    echo "$status $(sed -n 's/.*TX-packets: *\([0-9]*\).*/\1/p' "$log" | tail -n 1) $(vm-dmar-faults "$E1000E_BDF")" \
        >"$VM_OUT/counts"
}

if [ -n "${E1000E_BDF:-}" ]; then
    in_guest "$1"
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
summary=
[ $# -gt 0 ] || set -- without with

# fail TEXT: one line, and the log of the run that it is about.
fail() {
    echo "FAIL $1"
    failed=1
    tail -n 12 "$out/log" 2>/dev/null | sed 's/^/     /'
}

# One boot, one run: fills in the table's line and checks it.
try() {
    local aw=$1 shim_is=$2 weighed='' pinned='' status=- believed=- faults=- frames=- sent=- blank=-
    out=$work/$aw.$shim_is
    AW=$aw OUT=$out PCAP=$out.pcap "$here/run.sh" "BUILD=$build SENDS=${SENDS:-2} tests/vm/testpmd.sh $shim_is" \
        >"$out.output" 2>&1 || tail -n 8 "$out.output"
    [ ! -e "$out/counts" ] || read -r status believed faults <"$out/counts"
    read -r frames sent blank < <("$build/tests/vm/pcap_count" "$out.pcap")
    table+=$(printf '%4s  %-8s %12s %12s %12s %10s\n' "$aw" "$shim_is" "$believed" "$frames" "$sent" "$faults")$'\n'
    local case="testpmd at $aw bits, $shim_is the shim"
    [ "$status" = 0 ] || fail "$case: exit status $status"
    if [ "$shim_is" = without ]; then
        [ "$faults" != - ] && [ "$faults" -gt 0 ] && [ "$sent" = 0 ] && [ "$blank" = "$frames" ] ||
            fail "$case: it should fault and lose every packet"
    else
        [ "$faults" = 0 ] || fail "$case: it should not fault"
        [ "$sent" != - ] && [ "$sent" -gt 0 ] && [ "$sent" = "$frames" ] ||
            fail "$case: real packets, and only those, should leave"
        weighed=$("$build/anydma" report --json --at end "$out/snapshot" |
            python3 -c 'import json, sys; at = json.load(sys.stdin)["at"]; print(at["pinned"] + at["app_pinned"])')
        pinned=$(sed -nE 's/^ *pinned +([0-9]+) KiB now.*own: ([0-9]+) KiB.*/\1 \2/p' "$out/log" | awk '{print ($1 + $2) * 1024}')
        [ -n "$pinned" ] && [ "$weighed" = "$pinned" ] ||
            fail "$case: the profile has $weighed bytes pinned, the summary $pinned: $(cat "$out/snapshot.err")"
        [ -z "${CAPTURE:-}" ] || cp "$out/capture" "$CAPTURE"
        grep -qi anydma "$out/log" || fail "$case: the shim's summary is missing: was it loaded?"
        summary=$(grep -i -A 30 anydma "$out/log")
    fi
    [ $failed -ne 0 ] || echo "ok   $case"
}

table=
for aw in ${AW:-48 39}; do
    for shim_is in "$@"; do
        try "$aw" "$shim_is"
    done
done
printf '\n%4s  %-8s %12s %12s %12s %10s\n' bits shim 'TX-packets' 'on the wire' 'real ones' 'DMA faults'
printf '%s' "$table"
echo "(TX-packets: what testpmd counts as sent. Real ones: IPv4 packets with its addresses and a right checksum; the"
echo " others are blank, since the card could not read them. The kernel logs at most 10 faults in 5 s, the capture ends at 16 MiB.)"
[ -z "$summary" ] || printf '\n%s\n' "$summary"
[ $failed -eq 0 ] && echo "testpmd: passed" || echo "testpmd: FAILED"
exit $failed
