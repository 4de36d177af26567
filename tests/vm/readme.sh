#!/bin/bash
# SPDX-License-Identifier: MIT
# The README's commands for a device, as they stand, in the guest: for the NVMe drive, which nothing has bound, so that what the doctor
# says to paste is pasted first. The one that boots a VM by itself is run as far as the guest sees it. tests/vm/doctor_boots.sh boots for it.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" examples/edu_dma examples/nvme_read
work=$(mktemp -d)
status=0
export BDF=$NVME_BDF
echo "$BDF" >"/sys/bus/pci/devices/$BDF/driver/unbind"
echo >"/sys/bus/pci/devices/$BDF/driver_override"

result() {
    if [ "$2" = 0 ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        tail -n 40 "$work/out"
        status=1
    fi
}
ln -s "$BUILD" "$work/build"
ln -s "$PWD/examples" "$PWD/include" "$work/"
awk -v out="$work/block" '/^```sh/ {n++; take = 1; next} /^```/ {take = 0} take {print > (out n)}' README.md
nr=0
for block in $(grep -lE '_BDF|\$BDF' "$work"/block*); do
    nr=$((nr + 1))
    if grep -q '^make vm' "$block"; then
        sed -i -E "s/^make vm CMD='(.*)'\$/\1/" "$block"
    else
        (cd "$work" && "$ANYDMA" doctor -d "$BDF") >"$work/out" 2>&1
        [ $? = 1 ] && sed -nE 's/^ +now: +//p' "$work/out" | head -n 1 | sed 's/sudo //' >"$work/mend" && bash "$work/mend" 2>>"$work/out"
        result 'the doctor says what to paste' $?
    fi
    while read -r line; do
        (cd "$work" && bash -c "$line") >"$work/out" 2>&1 </dev/null
        code=$?
        case $line in
        'build/anydma doctor '*BDF*) ;;
        'build/anydma doctor '*) [ $code -gt 1 ] || code=0 ;; # the machine at large need not be ready
        esac
        result "${line%%  *}" $code
    done <"$block"
done
[ $nr = 2 ]
result 'there are two such blocks' $?
exit $status
