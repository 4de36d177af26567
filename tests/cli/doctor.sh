#!/bin/bash
# SPDX-License-Identifier: MIT
# anydma doctor before copies of machines, one for each row of its table: what it finds, what it tells to paste, its status.
# (tests/vm/doctor.sh brings a real kernel into such states.)
# @limit 120
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" anydma
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
# shellcheck source=tests/cli/results.bash
. tests/cli/results.bash
export XDG_RUNTIME_DIR=$work/run

# put PATH TEXT: a file of the tree. link PATH TARGET: a link.
put() {
    mkdir -p "$tree$(dirname "$1")"
    rm -f "$tree$1"
    printf '%s\n' "$2" >"$tree$1"
}
link() {
    mkdir -p "$tree$(dirname "$1")"
    ln -sfn "$2" "$tree$1"
}
probe() {
    echo "$1" >>"$tree/probes"
}
# device BDF DRIVER GROUP CLASS: a PCI device, "-" for no driver or group.
device() {
    local at=/sys/devices/pci0000:00/$1
    put "$at/vendor" 0x8086
    put "$at/device" 0x10d3
    put "$at/class" "$4"
    put "$at/numa_node" 0
    link "/sys/bus/pci/devices/$1" "../../../devices/pci0000:00/$1"
    link "$at/iommu" ../../virtual/iommu/dmar0
    rm -f "$tree$at/driver"
    [ "$2" = - ] || link "$at/driver" "../../../bus/pci/drivers/$2"
    [ "$2" = - ] || mkdir -p "$tree/sys/bus/pci/drivers/$2"
    [ "$3" = - ] || { link "$at/iommu_group" "../../../kernel/iommu_groups/$3" && mkdir -p "$tree/sys/kernel/iommu_groups/$3/devices/$1"; }
    [ "$3" = - ] || link "/sys/kernel/iommu_groups/$3/devices/$1" "../../../../devices/pci0000:00/$1"
}
group_node() {
    put "/sys/class/vfio/$1/dev" 235:0
    put "/dev/vfio/$1" "$2"
}

# A machine where all is well for the user alice, and 0000:00:03.0 is hers.
make_well() {
    put /proc/sys/kernel/osrelease 6.12.9-amd64
    put /proc/cmdline 'root=/dev/sda1 quiet intel_iommu=on'
    put /proc/cpuinfo 'vendor_id : GenuineIntel'
    put /proc/interrupts ' 24:  0  IR-PCI-MSI 0-edge  eth0'
    put /proc/meminfo $'MemTotal: 8000000 kB\nMemAvailable:  4000000 kB\nSwapTotal: 0 kB\nHugePages_Total: 0\nHugepagesize: 2048 kB'
    put /proc/self/limits 'Max locked memory         unlimited            unlimited            bytes'
    put /proc/self/status $'Name: x\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t24 1000 \nCapEff:\t0000000000000000\nSeccomp:\t0'
    put /proc/self/mountinfo '29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw'
    put /proc/swaps 'Filename Type Size Used Priority'
    put /proc/net/route $'Iface\tDestination\tGateway\neth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000'
    put /etc/passwd $'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh'
    put /sys/firmware/acpi/tables/DMAR x
    put /sys/class/iommu/dmar0/intel-iommu/cap 2f0400
    put /sys/kernel/mm/transparent_hugepage/enabled 'always [madvise] never'
    put /sys/kernel/mm/transparent_hugepage/defrag 'always defer [madvise] never'
    put /sys/module/vfio_iommu_type1/parameters/dma_entry_limit 65535
    put /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts N
    put /sys/class/misc/vfio/dev 10:196
    put /dev/vfio/vfio '10:196 0 0 0666'
    put /proc/1234/comm qemu
    mkdir -p "$tree/dev/vfio/devices" "$tree/proc/1234/fd"
    device 0000:00:01.0 pcieport 1 0x060400
    device 0000:00:03.0 vfio-pci 5 0x00ff00
    device 0000:00:04.0 ahci 6 0x010601
    device 0000:00:05.0 e1000e 7 0x020000
    device 0000:00:06.0 ixgbe 8 0x020000
    link /sys/class/net/eth0/device ../../../devices/pci0000:00/0000:00:05.0
    link /sys/class/block/sda1 ../../devices/pci0000:00/0000:00:04.0/ata1/block/sda/sda1
    mkdir -p "$tree/sys/devices/pci0000:00/0000:00:04.0/ata1/block/sda/sda1"
    link /sys/dev/block/8:1 ../../devices/pci0000:00/0000:00:04.0/ata1/block/sda/sda1
    group_node 5 '235:0 1000 1000 0600'
}

make_well
mv "$tree" "$work/well"
well() {
    rm -rf "$tree"
    cp -a "$work/well" "$tree"
}

covered=$work/covered
: >"$covered"

# Levels of the rows, as the table has them.
declare -A level_of
while IFS=' ' read -r id level; do
    level_of[$id]=$level
done < <(tr '\n' ' ' <<<"$(cat shim/cli/doctor/*_rows.c)" | grep -oE '\{"[a-z_]+", "[a-z0-9-]+", +DOCTOR_[A-Z]+' |
    sed -E 's/.*, "([a-z0-9-]+)", +DOCTOR_(.*)/\1 \L\2/')

# finds ID PATTERN [ARGUMENT...]: it is found, with a fact that matches; whether that is all that is in the way, or is not, the
# status says; and what is to be pasted has nothing left to be filled in. Judged at the end, all at once.
nr=0
finds() {
    local id=$1 pattern=$2 code wanted=0
    shift 2
    nr=$((nr + 1))
    "$ANYDMA" doctor --root "$tree" --json "$@" >"$work/$nr.json" 2>&1
    code=$?
    [ "${level_of[$id]:-}" != bad ] || wanted=1
    printf '%s\n' "$nr" "$id" "$pattern" "${level_of[$id]:-none}" "$code" "$wanted" >>"$work/cases"
    echo "$id" >>"$covered"
}
cat >"$work/judge.py" <<'END'
import fnmatch, json, re, sys
lines = open(sys.argv[1] + "/cases").read().split("\n")[:-1]
failed = False
for nr, id, pattern, level, code, wanted in zip(*[iter(lines)] * 6):
    said = []
    try:
        report = json.load(open(f"{sys.argv[1]}/{nr}.json"))
    except ValueError:
        report = {"findings": [], "ready": None}
    found = [f for f in report["findings"] if f["id"] == id]
    if not found:
        said.append(f"not found; these were: {[f['id'] for f in report['findings'] if f['level'] != 'ok']}")
    if not any(fnmatch.fnmatchcase(f["fact"], pattern) for f in found):
        said.append(f"no fact like {pattern}: {[f['fact'] for f in found]}")
    for f in found:
        if level != f["level"]:
            said.append(f"its level is {f['level']}")
        for text in (f["fact"], f["now"] or "", f["for_good"] or ""):
            if re.search(r"\{[a-z_0-9:]+\}", text):
                said.append(f"not filled in: {text}")
    others = [f["id"] for f in report["findings"] if f["level"] == "bad" and f["id"] != id]
    if report["ready"] != (code == "0"):
        said.append(f"ready is {report['ready']}, the status {code}")
    if not others and code != wanted:
        said.append(f"the status is {code}")
    print("not ok -" if said else "ok -", id)
    for line in said:
        print(f"{id}: {line}", file=sys.stderr)
    failed = failed or bool(said)
sys.exit(failed)
END
# where COMMAND...: the healthy machine, changed by it.
where() {
    well
    [ $# -eq 0 ] || "$@"
}

# --- all is well ------------------------------------------------------------------------------------------------------
where
"$ANYDMA" doctor --root "$tree" >"$work/out"
result "a machine where all is well is ready" $?
! grep -E '^(✗|!|x)' "$work/out" >&2
result "and nothing is found there" $?
grep -q '^0000:00:03.0 .* vfio-pci *5 *0 *48' "$work/out"
result "the table has device, driver, group, NUMA node and width" $?
grep -q '0000:00:04.0 .*carries the root file system' "$work/out" && grep -q '0000:00:05.0 .*default route (eth0)' "$work/out"
result "the disk with the root and the card with the default route are told" $?
LC_ALL=C "$ANYDMA" doctor --root "$tree" | grep -q '^ok vfio' || LC_ALL=C "$ANYDMA" doctor --root "$tree" | grep -q '^ok '
result "marks are letters where there is no UTF-8" $?
"$ANYDMA" doctor --root "$tree" --size lots >/dev/null 2>&1
[ $? = 2 ]
result "wrong usage has status 2" $?
"$ANYDMA" doctor --root "$tree" --nonsense >/dev/null 2>&1
[ $? = 2 ]
result "an unknown option has status 2" $?
for id in iommu-ok remapping-ok modules-ok container-ok backend-ok memlock-unlimited memory-ok entries-ok thp-ok hugepages-none \
    userfaultfd-ok io-uring-ok seccomp-off device-ok group-ok node-ok attach-ok aperture-ok; do
    finds $id '*'
done
finds attach-ok '*group 5*up to 0xffffffffffff*4*KiB, 2*MiB, 1*GiB*65535 mappings'

where rm -r "$tree/sys" && finds sys-missing '/sys is not mounted*'
"$ANYDMA" doctor --root "$tree" >"$work/out"
grep -q '^not ready: .*in the way; .* root shell' "$work/out"
result "a user is told what is for a root shell" $?

# --- IOMMU ------------------------------------------------------------------------------------------------------------
no_iommu() {
    rm -rf "$tree"/sys/class/iommu/* "$tree"/sys/kernel/iommu_groups/* "$tree"/sys/devices/pci*/*/iommu_group
}
switched_off() {
    no_iommu
    put /proc/cmdline 'root=/dev/sda1 intel_iommu=off quiet'
}
where switched_off && finds iommu-switched-off '*intel_iommu=off*'
amd_off() {
    no_iommu
    put /proc/cmdline 'amd_iommu=off'
}
where amd_off && finds iommu-switched-off '*amd_iommu=off*'
where no_iommu && finds iommu-not-enabled '*not told*'
in_vm() {
    no_iommu
    rm -r "$tree/sys/firmware"
    put /proc/cpuinfo 'flags : fpu hypervisor'
}
where in_vm && finds iommu-not-in-vm '*virtual machine*'
no_table() {
    no_iommu
    rm -r "$tree/sys/firmware"
}
where no_table && finds iommu-not-in-firmware '*firmware*'

# --- interrupts -------------------------------------------------------------------------------------------------------
unmapped() {
    put /proc/interrupts ' 24:  0  PCI-MSI 0-edge  eth0'
}
where unmapped && finds remapping-not-in-firmware '*EPERM*'
unmapped_in_vm() {
    unmapped
    put /proc/cpuinfo 'flags : fpu hypervisor'
}
where unmapped_in_vm && finds remapping-not-in-vm '*virtual machine*'
unmapped_by_option() {
    unmapped
    put /proc/cmdline 'intremap=off'
}
where unmapped_by_option && finds remapping-switched-off '*intremap=off*'
unsafe() {
    unmapped
    put /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts Y
}
where unsafe && finds remapping-unsafe '*forge*'
unsafe_iommufd() {
    unmapped
    put /sys/module/iommufd/parameters/allow_unsafe_interrupts Y
}
where unsafe_iommufd && finds remapping-unsafe '*forge*'

# --- modules, nodes of the container ----------------------------------------------------------------------------------
no_vfio() {
    rm -r "$tree/sys/bus/pci/drivers/vfio-pci"
    device 0000:00:03.0 - 5 0x00ff00
}
where no_vfio && finds vfio-pci-not-loaded 'vfio-pci is not loaded'
cloud_kernel() {
    no_vfio
    put /lib/modules/6.12.9-amd64/modules.dep 'kernel/net/x.ko:'
}
where cloud_kernel && finds vfio-pci-not-built '*6.12.9-amd64*'
no_type1() {
    rm -r "$tree/sys/module/vfio_iommu_type1"
}
where no_type1 && finds type1-not-loaded '*'
noiommu() {
    put /sys/module/vfio/parameters/enable_unsafe_noiommu_mode Y
}
where noiommu && finds noiommu-on '*reaches all of memory*'
no_container() {
    rm "$tree/dev/vfio/vfio"
}
where no_container && finds container-missing '*'
docker() {
    put /.dockerenv ''
}
no_container_in_docker() {
    no_container
    docker
}
where no_container_in_docker && finds container-not-passed '*docker*'
stale_container() {
    put /dev/vfio/vfio '10:55 0 0 0666'
}
where stale_container && finds container-stale '*10:55*10:196*'
denied_container() {
    put /dev/vfio/vfio '10:196 0 0 0600'
}
where denied_container && finds container-denied '*alice*0600*'
where probe 'open /dev/vfio/vfio=1' && finds container-cgroup '*cgroup*'
where probe 'open /dev/vfio/vfio=6' && finds container-fails '*'
iommufd() {
    put /sys/class/misc/iommu/dev 10:125
    put /dev/iommu '10:125 1000 0 0600'
}
where iommufd && finds iommufd-ok '*'
iommufd_denied() {
    put /sys/class/misc/iommu/dev 10:125
    put /dev/iommu '10:125 0 0 0600'
}
where iommufd_denied && finds iommufd-denied '*alice*'
no_backend() {
    probe type1v2=0
}
where no_backend && finds backend-none '*iommufd*'
where docker && finds confined '*docker*'

# --- memory -----------------------------------------------------------------------------------------------------------
memlock() {
    put /proc/self/limits "Max locked memory         $1            $2            bytes"
}
where memlock 8388608 8388608 && finds memlock-limited '*8*MiB*4 units*2048 pages*'
where memlock 8388608 8388608 && finds memlock-hard '*512*MiB are needed*alice may have 8*MiB*' --size 512M
where memlock 8388608 unlimited && finds memlock-soft '*512*MiB*may raise that to unlimited*' --size 512M
where memlock 1073741824 1073741824 && finds memlock-ok '*1*GiB*' --size 512M
memlock_in_docker() {
    memlock 65536 65536
    docker
}
where memlock_in_docker && finds memlock-hard-confined '*docker*64*KiB*' --size 512M
locker() {
    memlock 65536 65536
    sed -i 's/^CapEff:.*/CapEff:\t0000000000004000/' "$tree/proc/self/status"
}
where locker && finds memlock-exempt '*CAP_IPC_LOCK*' --size 512M
where && finds memory-short '*9*GiB are needed*' --size 9G
strict() {
    put /proc/sys/vm/overcommit_memory 2
}
where strict && finds overcommit-strict '*'
few_entries() {
    put /sys/module/vfio_iommu_type1/parameters/dma_entry_limit 100
    put /proc/meminfo 'MemAvailable:  40000000 kB'
}
where few_entries && finds entries-few '*100 mappings*1*GiB*512 of*' --size 1G
thp_never() {
    put /sys/kernel/mm/transparent_hugepage/enabled 'always madvise [never]'
}
where thp_never && finds thp-off '*'
hugepages() {
    put /proc/meminfo $'MemAvailable:  4000000 kB\nHugePages_Total: 512\nHugepagesize: 2048 kB'
}
where hugepages && finds hugepages-reserved '*1*GiB*'

# --- what is let through ----------------------------------------------------------------------------------------------
where probe userfaultfd=1 && finds userfaultfd-denied '*'
filtered() {
    docker
    probe userfaultfd=1
}
where filtered && finds userfaultfd-filtered '*'
where probe io_uring=1 && finds io-uring-denied '*'
seccomp() {
    sed -i 's/^Seccomp:.*/Seccomp:\t2/' "$tree/proc/self/status"
}
where seccomp && finds seccomp-on '*'

# --- devices ----------------------------------------------------------------------------------------------------------
where && finds device-unknown '*0000:00:1f.3*' -d 00:1f.3
where && finds device-used '*0000:00:04.0*root file system*' -d 0000:00:04.0
where && finds device-used '*0000:00:05.0*default route*' -d 00:05.0
where && finds device-bridge '*' -d 0000:00:01.0
where && finds device-other-driver '*0000:00:06.0*ixgbe*' -d 0000:00:06.0
unbound() {
    device 0000:00:03.0 - 5 0x00ff00
}
where unbound && finds device-unbound '*0000:00:03.0*' -d 0000:00:03.0
where unbound && finds no-device-bound '*0000:00:03.0*0000:00:06.0 (*has ixgbe*'
! grep -q '0000:00:0[145].0 (' "$work/$nr.json"
result "a bridge, the root's disk and the default route's card are not offered" $?
nothing_left() {
    device 0000:00:03.0 - - 0x00ff00
    rm "$tree/sys/devices/pci0000:00/0000:00:03.0/iommu_group"
    rm "$tree/sys/bus/pci/devices/0000:00:06.0"
}
where nothing_left && finds no-device '*'
where nothing_left && finds device-no-group '*' -d 0000:00:03.0
rmrr() {
    put /sys/kernel/iommu_groups/5/reserved_regions $'0x00000000ae3d0000 0x00000000ae3fffff direct\n0x00000000fee00000 0x00000000feefffff msi'
}
where rmrr && finds device-rmrr '*RMRR*' -d 0000:00:03.0
not_viable() {
    device 0000:00:02.0 snd_hda_intel 5 0x040300
    device 0000:00:01.0 pcieport 5 0x060400
}
where not_viable && finds group-not-viable '*group 5*0000:00:02.0 (snd_hda_intel)*0000:00:01.0 (pcieport)*' -d 0000:00:03.0
where group_node 5 '234:7 1000 1000 0600' && finds node-stale '*234:7*235:0*'
no_node() {
    rm "$tree/dev/vfio/5"
}
where no_node && finds node-missing '*/dev/vfio/5*'
no_node_in_docker() {
    no_node
    docker
}
where no_node_in_docker && finds node-not-passed '*docker*'
where group_node 5 '235:0 0 0 0600' && finds node-denied '*/dev/vfio/5*alice*0600, owner 0:0*'
where group_node 5 '235:0 0 24 0660' && finds node-ok '*' # by a supplementary group
where group_node 5 '235:0 1000 0 0066' && finds node-denied '*' # the owner's bits count for the owner
where probe 'open /dev/vfio/5=1' && finds node-cgroup '*'
where probe 'open /dev/vfio/5=6' && finds node-fails '*'
where probe 'open /dev/vfio/5=16' && finds node-busy '*busy*'
held() {
    probe 'open /dev/vfio/5=16'
    link /proc/1234/fd/9 /dev/vfio/5
    link /proc/99/fd/3 /dev/pts/5
}
where held && finds node-held '*qemu (process 1234)*'
cdev() {
    mkdir -p "$tree/sys/devices/pci0000:00/0000:00:03.0/vfio-dev/vfio0"
    put /sys/class/vfio-dev/vfio0/dev 511:0
    put /dev/vfio/devices/vfio0 "511:0 $1 0 0600"
}
where cdev 1000 && finds cdev-ok '*/dev/vfio/devices/vfio0*'
where cdev 0 && finds cdev-denied '*/dev/vfio/devices/vfio0*alice*'
where probe 'attach 0000:00:03.0=1' && finds attach-fails '*group 5*1, Operation not permitted*'
narrow() {
    put /sys/class/iommu/dmar0/intel-iommu/cap 260200
}
where narrow && finds aperture-narrow '*39 bits (512*GiB)*'
where probe 'aperture 0000:00:03.0=0xffffffff' && finds aperture-too-small '*32 bits*'
where probe 'page_sizes 0000:00:03.0=0x1000' && finds superpages-missing '*'
where probe 'room 0000:00:03.0=7' && finds room-short '*room for 7*512*' --size 1G

# A process whose container is full: the doctor reads the page that it keeps.
mkdir -m 700 "$XDG_RUNTIME_DIR"
mkdir "$XDG_RUNTIME_DIR/anydma"
gcc -x c -Ishim -o "$work/full" - <<'END'
#include "profile/live.h"
#include <stdio.h>
static union {
    struct live_page page;
    char bytes[LIVE_BYTES];
} file = {.page = {.magic = LIVE_MAGIC,
                   .command = "full",
                   .numbers = {.containers = 1, .entries_used = 65000, .entries_limit = 65535}}};
int main(int argc, char **argv)
{
    file.page.pid = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    return fwrite(&file, sizeof(file), 1, stdout) != 1;
}
END
"$work/full" $$ >"$XDG_RUNTIME_DIR/anydma/$$"
"$ANYDMA" doctor --json >"$work/out"
grep -q '"entries-used-up".*full ([0-9]*) has 65000 of 65535' "$work/out"
result "entries-used-up, of a process that is there" $?
echo entries-used-up >>"$covered"
rm -r "$XDG_RUNTIME_DIR"

# --- programs ---------------------------------------------------------------------------------------------------------
# compile NAME FLAGS...: of stdin.
compile() {
    gcc -x c -o "$work/$1" - -x none "${@:2}" || exit 1
}
echo 'int main(void) { return 0; }' | compile static -static
echo 'int main(void) { return 0; }' | compile plain
echo 'void *malloc(unsigned long n) { static char b[4096]; (void)n; return b; } int main(void) { return malloc(1) == 0; }' |
    compile own -rdynamic -fno-builtin
printf '#include <unistd.h>\nint main(void) { return fork() < 0; }\n' | compile forks
echo 'int main(void) { return 0; }' | compile asan -fsanitize=address
printf '#include "anydma.h"\nint main(void) { return anydma_iova("") == 0; }\n' | compile asks -Iinclude
for library in librte_eal.so.23 libspdk_nvme.so.9 libvfn.so.0; do
    echo 'int f(void) { return 0; }' | compile $library -shared -fPIC -Wl,-soname,$library
    echo 'int f(void); int main(void) { return f(); }' | compile "links-$library" "$work/$library"
done
printf '%s' 'int main(void) { return 0; }' | compile musl -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1
cp "$work/plain" "$work/setuid"
cp "$work/plain" "$work/thirty-two"
printf '\1' | dd of="$work/thirty-two" bs=1 seek=4 conv=notrunc status=none # ELFCLASS32
where
finds program-missing '*No such file*' -- "$work/no-such"
finds program-static '*statically*' -- "$work/static"
finds program-32-bits '*32-bit*' -- "$work/thirty-two"
finds program-musl '*musl*' -- "$work/musl"
finds program-own-malloc '*' -- "$work/own"
finds program-forks '*' -- "$work/forks"
finds program-sanitizer '*' -- "$work/asan"
finds program-ok '*asks for IOVAs itself*' -- "$work/asks"
finds program-ok '*does not ask*' -- "$work/plain" with arguments --size
finds program-dpdk '*' -- "$work/links-librte_eal.so.23"
finds program-spdk '*' -- "$work/links-libspdk_nvme.so.9"
finds program-libvfn '*' -- "$work/links-libvfn.so.0"
# Somebody else's, and setuid: only root can make one; an ordinary user has those of the system.
if [ "$(id -u)" = 0 ]; then
    chown 12345 "$work/setuid" && chmod u+s "$work/setuid"
    finds program-privileged '*setuid*' -- "$work/setuid"
else
    finds program-privileged '*setuid*' -- su
fi
# A Go program's mark: its build id in a note of that name.
cat >"$work/go.s" <<'END'
.section .note.go.buildid, "a", @note
.long 4, 4, 4
.asciz "Go\0"
.long 0
END
gcc -c -o "$work/go.o" "$work/go.s" && echo 'int main(void) { return 0; }' >"$work/go.c" && gcc -o "$work/go" "$work/go.c" "$work/go.o" -Wl,--build-id=none -Wl,-z,nognustack 2>/dev/null
finds program-go '*Go program*' -- "$work/go"

python3 "$work/judge.py" "$work" || status=1

# --- each row was shown -----------------------------------------------------------------------------------------------
missing=$(comm -23 <(printf '%s\n' "${!level_of[@]}" | sort) <(sort -u "$covered"))
[ ${#level_of[@]} -gt 60 ] && [ -z "$missing" ]
result "each of the ${#level_of[@]} rows of the table was shown${missing:+, but for: ${missing//$'\n'/ }}" $?
exit $status
