#!/bin/bash
# SPDX-License-Identifier: MIT
# The zoo: device programs that nobody prepared, as Debian has them, each plainly and under the shim: the same results, no DMA
# fault that it does not have plainly, and the IOVAs of those that manage them themselves untouched (the kernel's tracepoints
# say which). Prints a table, and leaves it in $BUILD/zoo.md, beside the rows of earlier runs; what the programs said is in
# $BUILD/zoo.logs.
#   tests/vm/zoo.sh --short           (the table of those runs, a line for each program and package)
#   [AW=39|48] [KERNEL=...] tests/vm/zoo.sh [NAME...]     (on the host; NAME: part of "program, mode, package")
# @host tests/vm/zoo.sh dpdk-testpmd
# @host tests/vm/zoo.sh dpdk-test, dpdk-test-crypto dpdk-proc-info dpdk-dumpcap ovs
# @host tests/vm/zoo.sh qemu fio, stress-ng rdma
# @limit 1500
# @all
# "own": it picks its IOVAs; they must be the same ones. "identity": it uses addresses; those that it maps must be mapped at the
# same places with the shim, beside what the shim maps. "none": it maps nothing, or physical addresses.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/vm/kick_eventfds
here=tests/vm
try_seconds=${EACH:-90}

# --- on the host ------------------------------------------------------------------------------------------------------
# unstable_root: a world of Debian's unstable with DPDK and Open vSwitch; made once.
unstable_root() {
    local root=$BUILD/vm/root-sid
    exec 7>"$BUILD/vm/root-sid.lock"
    flock 7
    if [ ! -e "$root/made" ]; then
        rm -rf "$root"
        "$here/archive.sh" sid root "$root" dpdk dpdk-dev openvswitch-switch-dpdk libunwind8 bash coreutils >&2 || return
        : >"$root/made"
    fi
    echo "$root"
}

# merge_rows FILE: its rows take the place of those of the same animals.
merge_rows() {
    touch "$BUILD/zoo.md"
    awk -F '|' '{key = $2 FS $3 FS $4} !(key in row) {order[++n] = key} {row[key] = $0}
        END {for (i = 1; i <= n; i++) print row[order[i]]}' "$BUILD/zoo.md" "$1" >"$BUILD/zoo.md.new"
    mv "$BUILD/zoo.md.new" "$BUILD/zoo.md"
}

# short_table FILE: a line for each program and package, and whether it is the same with anydma: the README's table.
short_table() {
    awk -F ' *[|] *' 'function add(list, what) { return index("; " list ";", "; " what ";") ? list : list ? list "; " what : what }
        NR > 2 {
            key = "| " $2 " | " $3 " | "; same = $5 == $6; key = key SUBSEP same ($5 ~ /DMA faults/)
            if (!(key in modes)) order[++n] = key
            modes[key] = add(modes[key], $4); plain[key] = add(plain[key], $5); with[key] = same ? "the same" : $6
        }
        BEGIN { print "| program | package | modes | plain | with anydma |"; print "|---|---|---|---|---|" }
        END { for (i = 1; i <= n; i++) { split(order[i], part, SUBSEP); print part[1] modes[order[i]] " | " plain[order[i]] " | " with[order[i]] " |" } }' "$1"
}

if [ "${1:-}" = --short ]; then
    short_table "$BUILD/zoo.md"
    exit
fi
if [ -z "${VM_OUT:-}" ]; then
    tests/deps.sh zoo || exit
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    root=$(unstable_root) || root=
    "$here/kernel.sh" iommufd >/dev/null || exit
    printf -v quoted ' %q' "$@"
    ZOO=1 MEM=4096M TIMEOUT=${TIMEOUT:-1400} OUT=$out "$here/run.sh" \
        "BUILD=$BUILD UNSTABLE=$root EACH=$try_seconds tests/vm/zoo.sh${*:+$quoted}"
    status=$?
    [ ! -s "$out/zoo.md" ] || merge_rows "$out/zoo.md"
    mkdir -p "$BUILD/zoo.logs"
    cp "$out"/logs/* "$BUILD/zoo.logs/" 2>/dev/null
    exit $status
fi

# --- in the guest: what the animals share --------------------------------------------------------------------------------
work=$(mktemp -d)
table=$VM_OUT/zoo.md
mkdir -p "$VM_OUT/logs"
launcher=()  # what a program is started with: nothing, or the shim
failed=0
trace=/sys/kernel/tracing
[ -e $trace/trace ] || mount -t tracefs tracefs $trace
echo 8192 >$trace/buffer_size_kb
echo 1 >$trace/events/iommu/map/enable
echo 256 >/proc/sys/vm/nr_hugepages
mkdir -p /dev/hugepages /run/openvswitch
mount -t hugetlbfs hugetlbfs /dev/hugepages
vm-modules tun # for Open vSwitch

# The IOVAs that were mapped, ends included, neighbours joined: how the kernel cuts them depends on where the memory lies.
mapped_iovas() {
    sed -n 's/.* map: IOMMU: iova=0x\([0-9a-f]*\) - 0x\([0-9a-f]*\) .*/\1 \2/p' $trace/trace | sort -u |
        awk 'end != "" && $1 "" <= end "" { if ($2 "" > end "") end = $2; next } end != "" { print start, end }
            { start = $1; end = $2 } END { if (end != "") print start, end }'
}

# covers FILE FILE: whether each range of the second lies in one of the first.
covers() {
    awk 'NR == FNR {start[NR] = $1; end[NR] = $2; n = NR; next}
        {found = 0; for (i = 1; i <= n; i++) if (start[i] "" <= $1 "" && $2 "" <= end[i] "") found = 1; if (!found) bad = 1}
        END {exit bad}' "$1" "$2"
}

iovas_agree() {
    case $1 in
    own) cmp -s "$work/plain.iovas" "$work/with.iovas" ;;
    identity) covers "$work/with.iovas" "$work/plain.iovas" ;;
    none) true ;;
    esac
}

# The DMA faults after the first N: which device, direction, address, reason.
faults_after() {
    dmesg | grep -E 'DMAR: \[.*Request device \[' | tail -n "+$(($1 + 1))" | sed 's/.*DMAR: //' | sort -u
}

# once WAY FUNCTION: leaves WAY.{log,status,result,faults,iovas}. The function says on descriptor 3, in a few words, what came out.
once() {
    local way=$1 before
    launcher=()
    [ "$way" = plain ] || launcher=(env "LD_PRELOAD=$SHIM" ANYDMA_STATS=1)
    echo >$trace/trace
    before=$(vm-dmar-faults)
    (
        cd "$work" || exit
        "$2"
    ) >"$work/$way.log" 2>&1 3>"$work/$way.result" </dev/null
    echo $? >"$work/$way.status"
    vm-dmar-faults >"$work/guest.faults" # waits for the last one
    faults_after "$before" >"$work/$way.faults"
    mapped_iovas >"$work/$way.iovas"
    rm -rf "$work"/guest.*
}

describe() {
    local way=$1 text
    text=$(tr '\n' ' ' <"$work/$way.result" | sed 's/ *$//')
    [ "$(<"$work/$way.status")" = 0 ] || text="$text (status $(<"$work/$way.status"))"
    [ ! -s "$work/$way.faults" ] || text="$text, DMA faults"
    echo "$text"
}

# animal NAME PACKAGE MODE IOVAS FUNCTION [better]: "better": plainly its DMA faults, under the shim it must not.
wanted=("$@")
animal() {
    local name="$1, $3, $2" why='' want plainly with
    if [ ${#wanted[@]} -gt 0 ]; then
        for want in "${wanted[@]}"; do
            [[ $name == *"$want"* ]] && why=wanted
        done
        [ -n "$why" ] || return
        why=''
    fi
    once plain "$5"
    once with "$5"
    plainly=$(describe plain)
    with=$(describe with)
    if [ -n "${6:-}" ]; then
        [ -s "$work/plain.faults" ] || why="plainly nothing faulted: "
        [ ! -s "$work/with.faults" ] || why+="faults under the shim: "
        [ "$(<"$work/with.status")" = 0 ] || why+="it failed under the shim: "
    else
        cmp -s "$work/plain.result" "$work/with.result" && cmp -s "$work/plain.status" "$work/with.status" ||
            why="other results: "
        [ -z "$(comm -13 "$work/plain.faults" "$work/with.faults")" ] || why+="faults that it has not plainly: "
    fi
    iovas_agree "$4" || why+="other IOVAs: "
    [ -s "$work/plain.result" ] || why+="it said nothing: "
    grep -qa 'anydma' "$work/with.log" || why+="the shim was not there: "
    echo "| $1 | $2 | $3 | $plainly | $with |" >>"$table"
    for want in plain with; do
        tr -d '\r' <"$work/$want.log" >"$VM_OUT/logs/${name//[^a-z0-9]/_}.$want.log"
    done
    if [ -z "$why" ]; then
        echo "ok - $name: $with"
    else
        echo "not ok - $name: ${why%: } (plainly: $plainly; with: $with)"
        failed=1
        for want in plain with; do
            echo "    $want:"
            tail -n 30 "$work/$want.log" | tr -d '\r' | sed 's/^/    /'
            sed 's/^/    fault /' "$work/$want.faults" | head -n 12
            sed 's/^/    iova /' "$work/$want.iovas" | head -n 12
        done
    fi
}

# wait_for PATTERN FILE PID: till the file has it, or the process is gone, or a minute has passed.
wait_for() {
    local end=$((SECONDS + 60))
    while kill -0 "$3" 2>/dev/null && [ $SECONDS -lt $end ]; do
        ! grep -qa "$1" "$2" 2>/dev/null || return 0
        sleep 0.2
    done
    grep -qa "$1" "$2" 2>/dev/null
}

# --- DPDK ------------------------------------------------------------------------------------------------------------------
# pmd SECONDS ARGUMENT...: testpmd till that long after it began to forward; on a terminal, so that it says so at once.
pmd() {
    local seconds=$1 keyboard=$work/guest.keyboard log=$work/guest.pmd pid status
    shift
    mkfifo "$keyboard"
    exec 4<>"$keyboard"
    printf '%q ' timeout --foreground "$try_seconds" "${launcher[@]}" "${chroot[@]}" dpdk-testpmd -l 0,1 --no-telemetry "$@" >"$work/guest.line"
    script -qec "$(<"$work/guest.line")" /dev/null <"$keyboard" >"$log" 2>&1 4>&- &
    pid=$!
    wait_for 'Press enter' "$log" $pid && sleep "$seconds"
    [ -z "${beside:-}" ] || "$beside"
    echo >&4
    wait $pid
    status=$?
    exec 4>&-
    tr -d '\r' <"$log"
    return $status
}
chroot=()
beside=''
no_huge=(--no-huge -m 192 --iova-mode=va)
sending=(--total-num-mbufs=2048 --forward-mode=txonly --auto-start --no-lsc-interrupt)
passing=(--total-num-mbufs=4096 --forward-mode=io --tx-first --no-lsc-interrupt)

# counted NAME: the sum over all ports.
counted() {
    tr -d '\r' <"$work/guest.pmd" | sed -n "/Accumulated/,\$s/.*$1: *\([0-9]*\).*/\1/p" | head -n 1
}
sent() {
    [ "$(counted TX-packets)" -gt 0 ] && [ "$(counted TX-dropped)" -ge 0 ] && echo 'packets sent' >&3
}
passed_on() {
    [ "$(counted RX-packets)" -gt 32 ] && echo 'packets go round' >&3
}
txonly_native() { pmd 2 -a "$E1000E_BDF" "${no_huge[@]}" -- "${sending[@]}" && sent; }
txonly_anon() {
    [ ${#launcher[@]} -eq 0 ] || launcher+=(ANYDMA_FOREIGN=trust)
    pmd 2 -a "$E1000E_BDF" "${no_huge[@]}" -- --mp-alloc=anon "${sending[@]}" && sent
}
txonly_xmem() { pmd 2 -a "$E1000E_BDF" "${no_huge[@]}" -- --mp-alloc=xmem "${sending[@]}" && sent; }
txonly_xbuf() { pmd 2 -a "$E1000E_BDF" "${no_huge[@]}" -- --mp-alloc=xbuf "${sending[@]}" && sent; }
txonly_vmxnet3() { pmd 2 -a "$VMXNET3_BDF" "${no_huge[@]}" -- "${sending[@]}" && sent; }
io_e1000e() { pmd 3 -a "$E1000E_BDF" -a "$E1000E2_BDF" "${no_huge[@]}" -- "${passing[@]}" && passed_on; }
io_huge() { pmd 3 -a "$E1000E_BDF" -a "$E1000E2_BDF" -m 128 -- "${passing[@]}" && passed_on; }
io_virtio() { pmd 3 -a "$VIRTIO_NET_BDF" -a "$VMXNET3_BDF" "${no_huge[@]}" -- "${passing[@]}" && passed_on; }
txonly_virtio() { pmd 2 -a "$VIRTIO_NET_BDF" "${no_huge[@]}" -- "${sending[@]}" && sent; }

# DPDK's own tests: which were right.
autotests() {
    local test status=0
    for test in malloc_autotest mempool_autotest mbuf_autotest memzone_autotest external_mem_autotest; do
        DPDK_TEST=$test timeout "$try_seconds" "${launcher[@]}" "${chroot[@]}" dpdk-test -l 0,1 -m 256 -a "$E1000E_BDF" >"$work/guest.test" 2>&1
        cat "$work/guest.test"
        if grep -qa '^Test OK' "$work/guest.test"; then
            echo "${test%_autotest}" >&3
        else
            echo "${test%_autotest}: failed" >&3
            status=1
        fi
    done
    return $status
}

# Its driver does not ask for VIRTIO_F_ACCESS_PLATFORM, so it can do without translation alone: physical addresses.
crypto() {
    timeout "$try_seconds" "${launcher[@]}" "${chroot[@]}" dpdk-test-crypto-perf -l 0,1 -m 128 --iova-mode=pa -a "$VIRTIO_CRYPTO_BDF" -- \
        --ptest throughput --devtype crypto_virtio --optype cipher-only --cipher-algo aes-cbc --cipher-op encrypt \
        --cipher-key-sz 16 --cipher-iv-sz 16 --total-ops 2000 --buffer-sz 64 --pool-sz 2048 2>&1 | tee "$work/guest.crypto"
    grep -qaE '^ +1 +64 ' "$work/guest.crypto" && echo '2000 encrypted' >&3
}

# Processes beside a first one: they get its container by a socket.
info_beside() {
    timeout 40 "${launcher[@]}" dpdk-proc-info --file-prefix zoo -- --stats 2>&1 | tee "$work/guest.info"
    grep -qa 'NIC statistics for port 0' "$work/guest.info" && echo 'proc-info: statistics' >&3
}
# A pool's functions are named by their place in a table, which each process fills as its libraries are loaded: with dpaa's first,
# which testpmd is linked with and dumpcap is not, both have the same. Else the first one takes the pool for another kind, plainly too.
dump_beside() {
    local order=librte_mempool_dpaa.so.23
    [ ${#launcher[@]} -eq 0 ] || order="$SHIM $order"
    timeout 60 "${launcher[@]}" env "LD_PRELOAD=$order" dpdk-dumpcap -i 0 -c 20 -w "$work/guest.pcapng" 2>&1
    if [ "$(stat -c %s "$work/guest.pcapng" 2>/dev/null || echo 0)" -gt 500 ]; then
        echo 'packets captured' >&3
    else
        echo 'it captures nothing' >&3
    fi
}
secondary_info() { beside=info_beside pmd 1 --file-prefix zoo -a "$E1000E_BDF" -a "$E1000E2_BDF" -m 128 -- "${passing[@]}"; }
secondary_dump() { beside=dump_beside pmd 1 -a "$E1000E_BDF" -a "$E1000E2_BDF" -m 128 -- "${passing[@]}"; }

# --- Open vSwitch: the daemon with two ports, a flow between them ------------------------------------------------------------
ovs() {
    local dir=$work/guest.ovs vswitchd=${ovs_vswitchd:-/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk} server pid status rounds
    mkdir -p "$dir"
    export OVS_RUNDIR=$dir OVS_DBDIR=$dir OVS_LOGDIR=$dir
    "${chroot[@]}" ovsdb-tool create "$dir/db" /usr/share/openvswitch/vswitch.ovsschema || return
    "${chroot[@]}" ovsdb-server "$dir/db" --remote="punix:$dir/db.sock" --unixctl="$dir/server.ctl" &
    server=$!
    sleep 1
    db() { timeout 40 "${chroot[@]}" ovs-vsctl --db="unix:$dir/db.sock" "$@"; }
    db --no-wait init
    db --no-wait set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-socket-mem=128 other_config:pmd-cpu-mask=2 \
        other_config:dpdk-extra="-a $E1000E_BDF -a $E1000E2_BDF"
    "${launcher[@]}" "${chroot[@]}" "$vswitchd" --mlockall "unix:$dir/db.sock" --unixctl="$dir/ctl" --log-file="$dir/log" &
    pid=$!
    db add-br br0 -- set bridge br0 datapath_type=netdev
    db add-port br0 p0 -- set Interface p0 type=dpdk options:dpdk-devargs="$E1000E_BDF" options:n_rxq=1
    db add-port br0 p1 -- set Interface p1 type=dpdk options:dpdk-devargs="$E1000E2_BDF" options:n_rxq=1
    # What comes in at one port goes out at the other, and over the wire is in again: what the switch itself sends goes round.
    of() { timeout 30 "${chroot[@]}" ovs-ofctl "$1" "unix:$dir/br0.mgmt" "${@:2}"; }
    of add-flow in_port=1,actions=output:2
    of add-flow in_port=2,actions=output:1
    for _ in $(seq 12); do
        of packet-out "in_port=controller packet=$(printf 'ffffffffffff52540012345688b5%092d' 0) actions=output:1"
        sleep 1
        of dump-ports | tee "$work/guest.ports"
        rounds=$(sed -nE 's/^ *port +2: rx pkts=([0-9]+).*/\1/p' "$work/guest.ports")
        [ "${rounds:-0}" -lt 1000 ] || break
    done
    kill -0 $pid && echo 'alive' >&3
    [ "${rounds:-0}" -lt 1000 ] || echo 'packets go round' >&3
    timeout 20 "${chroot[@]}" ovs-appctl -t "$dir/ctl" exit
    sleep 1
    kill $server $pid 2>/dev/null
    wait $pid
    status=$?
    wait $server
    tail -n 20 "$dir/log"
    return $status
}

# --- QEMU and its tools, which pick their IOVAs ------------------------------------------------------------------------------
# QEMU's NVMe driver waits for interrupts that never come on this bus: kick_eventfds.c says why, and wakes it up.
kicked() {
    "$BUILD/tests/vm/kick_eventfds" "$@"
}
random_file() {
    [ -e "$work/random" ] || head -c 2M /dev/urandom >"$work/random"
}
img_convert() {
    random_file
    kicked 40 "${launcher[@]}" qemu-img convert -n -f raw -O raw "$work/random" "nvme://$NVME_BDF/1" || return
    kicked 40 "${launcher[@]}" qemu-img dd -f raw -O raw if="nvme://$NVME_BDF/1" of="$work/guest.back" bs=1M count=2 || return
    cmp "$work/random" "$work/guest.back" && echo '2 MiB equal' >&3
}
img_bench() {
    kicked 60 "${launcher[@]}" qemu-img bench -f raw -c 200 -d 4 -s 4096 "nvme://$NVME_BDF/1" && echo '200 reads' >&3
}
io_patterns() {
    kicked 40 "${launcher[@]}" qemu-io -f raw -c 'write -P 90 0 1M' -c 'read -P 90 0 1M' "nvme://$NVME_BDF/1" 2>&1 | tee "$work/guest.io"
    ! grep -qa 'failed' "$work/guest.io" && grep -qa 'read 1048576/1048576' "$work/guest.io" && echo '1 MiB verified' >&3
}
# serve COMMAND... -- CLIENT...: the first lets clients in by the socket, and leaves its number in guest.pid; the client is called
# when it does.
serve() {
    local server=() pid status
    while [ "$1" != -- ]; do
        server+=("$1")
        shift
    done
    shift
    kicked 60 "${launcher[@]}" "${server[@]}" &
    pid=$!
    for _ in $(seq 100); do
        [ ! -S "$work/guest.nbd" ] || break
        sleep 0.2
    done
    "$@"
    status=$?
    kill "$(<"$work/guest.pid")"
    wait $pid
    return $status
}
# storage_daemon COMMAND...: the drive as a network block device, and a client.
storage_daemon() {
    serve qemu-storage-daemon --blockdev "nvme,node-name=d,device=$NVME_BDF,namespace=1" \
        --nbd-server "addr.type=unix,addr.path=$work/guest.nbd" --export "nbd,id=e,node-name=d,writable=on,name=disk" \
        --pidfile "$work/guest.pid" -- "$@" "nbd+unix:///disk?socket=$work/guest.nbd"
}
copy_by_nbd() {
    random_file
    nbdcopy "$work/random" "$1" && nbdcopy "$1" - | head -c 2M >"$work/guest.back"
    cmp "$work/random" "$work/guest.back" && echo '2 MiB equal' >&3
}
fio_by_nbd() {
    "${launcher[@]}" fio --name=zoo --ioengine=nbd --uri="$1" --rw=randrw --bs=4k --size=1M --iodepth=8 --verify=crc32c --minimal &&
        echo '1 MiB verified' >&3
}
nbd_nbdcopy() {
    serve qemu-nbd -t -f raw -k "$work/guest.nbd" --pid-file="$work/guest.pid" "nvme://$NVME_BDF/1" -- \
        copy_by_nbd "nbd+unix:///?socket=$work/guest.nbd"
}
daemon_nbdcopy() { storage_daemon copy_by_nbd; }
daemon_fio() { storage_daemon fio_by_nbd; }

# A machine in the machine: its kernel's own driver writes and reads the drive, by the memory that QEMU mapped for it.
make_nested_root() {
    local root=$work/nested
    [ ! -e "$work/nested.cpio" ] || return 0
    mkdir -p "$root"/{bin,dev,proc,sys}
    cp /bin/busybox "$root/bin/busybox"
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
i=0
while [ ! -b /dev/nvme0n1 ] && [ $i -lt 100 ]; do i=$((i + 1)); usleep 100000; done
dd if=/bin/busybox of=/dev/nvme0n1 bs=64k count=16 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
echo "drive: $(dd if=/dev/nvme0n1 bs=64k count=16 2>/dev/null | md5sum) file: $(dd if=/bin/busybox bs=64k count=16 2>/dev/null | md5sum)"
reboot -f
INIT
    chmod 755 "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet) >"$work/nested.cpio"
}
nested() {
    make_nested_root
    timeout $((2 * try_seconds)) "${launcher[@]}" qemu-system-x86_64 -nodefaults -machine q35 -accel tcg -cpu max,la57=off -m 128M -display none \
        -no-reboot -serial stdio -device "vfio-pci,host=$NVME_BDF" -kernel "$NESTED_KERNEL" -initrd "$work/nested.cpio" \
        -append 'console=ttyS0 panic=-1 quiet mitigations=off no_timer_check' 2>&1 | tee "$work/guest.nested"
    sed -n 's/^drive: \([0-9a-f]*\).* file: \([0-9a-f]*\).*/\1 \2/p' "$work/guest.nested" >"$work/guest.sums"
    read -r drive file <"$work/guest.sums" && [ "$drive" = "$file" ] && echo '1 MiB equal inside' >&3
}

# --- beside them: programs that have no device ------------------------------------------------------------------------------
fio_file() {
    "${launcher[@]}" fio --name=zoo --filename="$work/guest.fio" --ioengine=io_uring --fixedbufs=1 --rw=randrw --bs=4k --size=4M \
        --iodepth=8 --verify=crc32c --minimal && echo '4 MiB verified' >&3
}
stress() {
    "${launcher[@]}" stress-ng --malloc 1 --mremap 1 --mmap 1 --vm 1 --vm-bytes 64M --verify --timeout 10 2>&1 | tee "$work/guest.stress"
    ! grep -qaE '^stress-ng: (fail|error)' "$work/guest.stress" && grep -qa 'successful run' "$work/guest.stress" && echo 'verified' >&3
}

# --- RDMA over a software adapter: the kernel says which memory it has registered --------------------------------------------
rxe_is_up() {
    [ -e /sys/class/infiniband/rxe0 ] || { vm-modules crc32_generic rdma_rxe rdma_ucm && rdma link add rxe0 type rxe netdev lo; }
}
# listens PORT PID: waits till somebody does, or the process is gone.
listens() {
    local port
    printf -v port ':%04X ' "$1"
    while kill -0 "$2" 2>/dev/null && ! grep -q "$port.* 0A " /proc/net/tcp /proc/net/tcp6; do
        sleep 0.1
    done
}
# pair PORT SERVER... -- CLIENT...: both under the launcher; whether the kernel had memory of theirs registered meanwhile.
pair() {
    local port=$1 server=() pid watcher status
    shift
    while [ "$1" != -- ]; do
        server+=("$1")
        shift
    done
    shift
    rxe_is_up || return
    timeout "$try_seconds" "${launcher[@]}" "${server[@]}" &
    pid=$!
    listens "$port" $pid
    (while sleep 0.3; do rdma resource show mr 2>/dev/null; done >"$work/guest.mr") &
    watcher=$!
    timeout "$try_seconds" "${launcher[@]}" "$@"
    status=$?
    wait $pid || status=1
    kill $watcher
    wait $watcher 2>/dev/null
    sort -u "$work/guest.mr"
    grep -q mrlen "$work/guest.mr" && echo 'memory was registered' >&3
    return $status
}
# For some seconds, however fast it is: long enough to be seen registered.
verbs() { pair 18515 ib_send_bw -d rxe0 -x 1 -s 65536 -D 5 -F -- ib_send_bw -d rxe0 -x 1 -s 65536 -D 5 -F 127.0.0.1; }

# --- all of them ------------------------------------------------------------------------------------------------------------
printf '| program | package | mode | plain | with anydma |\n|---|---|---|---|---|\n' >"$table"
animal dpdk-testpmd dpdk-dev 'native memory, e1000e' identity txonly_native
animal dpdk-testpmd dpdk-dev 'external memory (xmem), e1000e' none txonly_xmem better
animal dpdk-testpmd dpdk-dev 'shared memory (anon), --foreign=trust, e1000e' none txonly_anon better
animal dpdk-testpmd dpdk-dev 'external buffers (xbuf), e1000e' identity txonly_xbuf
animal dpdk-testpmd dpdk-dev 'two e1000e ports, round' identity io_e1000e
animal dpdk-testpmd dpdk-dev 'huge pages, two e1000e ports' identity io_huge
animal dpdk-testpmd dpdk-dev 'virtio-net' identity txonly_virtio
animal dpdk-testpmd dpdk-dev 'vmxnet3' identity txonly_vmxnet3
animal dpdk-testpmd dpdk-dev 'virtio-net to vmxnet3' identity io_virtio
animal dpdk-test dpdk-dev 'autotests' identity autotests
animal dpdk-test-crypto-perf dpdk-dev 'virtio-crypto, physical addresses' none crypto
animal dpdk-proc-info dpdk 'secondary process of testpmd' identity secondary_info
animal dpdk-dumpcap dpdk 'secondary process of testpmd' identity secondary_dump
animal ovs-vswitchd openvswitch-switch-dpdk 'daemon, --mlockall, two e1000e ports' identity ovs
animal qemu-img qemu-utils 'convert, dd, nvme://' own img_convert
animal qemu-img qemu-utils 'bench, nvme://' own img_bench
animal qemu-io qemu-utils 'patterns, nvme://' own io_patterns
animal qemu-nbd qemu-utils 'nvme:// to nbdcopy (libnbd-bin)' own nbd_nbdcopy
animal qemu-storage-daemon qemu-system-common 'nvme:// to nbdcopy (libnbd-bin)' own daemon_nbdcopy
animal fio fio 'nbd, from qemu-storage-daemon on nvme://' own daemon_fio
NESTED_KERNEL=$BUILD/vm/kernel-iommufd/vmlinux # it has NVMe's driver built in
animal qemu-system-x86_64 qemu-system-x86 'vfio-pci, nvme, a kernel inside' own nested
animal fio fio 'io_uring, fixed buffers' none fio_file
animal stress-ng stress-ng 'malloc, mremap, mmap, vm' none stress
[ ! -e "$VM_KERNEL/modules/order-rdma_rxe" ] || animal ib_send_bw perftest 'verbs, rdma_rxe' none verbs
if [ -n "${UNSTABLE:-}" ]; then
    # Another C library, the same shim.
    world=/dev/shm/unstable
    mkdir -p $world /dev/shm/u.data /dev/shm/u.work
    mount -t overlay -o "lowerdir=$UNSTABLE,upperdir=/dev/shm/u.data,workdir=/dev/shm/u.work" overlay $world
    for dir in proc sys dev; do
        mkdir -p $world/$dir
        mount --rbind /$dir $world/$dir
    done
    mkdir -p "$world/$(dirname "$SHIM")" "$world$work" $world/run $world/tmp $world/var/run
    cp "$SHIM" "$world/$SHIM"
    mount --bind "$work" "$world$work"
    chroot=(chroot "$world")
    version=$(timeout 60 chroot $world dpdk-testpmd --version 2>&1 | sed -n 's/.*DPDK \([0-9.]*\).*/\1/p' | head -n 1)
    animal dpdk-testpmd "dpdk-dev ${version:-of unstable}" 'two e1000e ports, round' identity io_e1000e
    animal dpdk-testpmd "dpdk-dev ${version:-of unstable}" 'external memory (xmem), e1000e' none txonly_xmem better
    animal dpdk-test "dpdk-dev ${version:-of unstable}" 'autotests' identity autotests
    animal dpdk-test-crypto-perf "dpdk-dev ${version:-of unstable}" 'virtio-crypto, physical addresses' none crypto
    ovs_vswitchd=$(cd $world && ls /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk 2>/dev/null)
    animal ovs-vswitchd 'openvswitch-switch-dpdk of unstable' 'daemon, --mlockall, two e1000e ports' identity ovs
fi
cat "$table"
exit $failed
