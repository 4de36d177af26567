#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs with apt what a group of targets lacks: tests/deps.sh [--check] GROUP...
# Silent and fast (one dpkg-query) when everything is there; else it says in one line what it installs.
# --print only lists a group's packages.
# --check installs nothing: it says what is missing and how to get it. A build does only this.
# Called by the Makefile, tests/check.sh and tests/demo.sh, which name the groups that they need. ANYDMA_NO_APT=1 forbids apt.
set -euo pipefail

packages_of() {
    case $1 in
    build) echo gcc make binutils libjemalloc-dev libunwind-dev uthash-dev libbsd-dev pkgconf libdw-dev libiberty-dev libjansson-dev zlib1g-dev libncurses-dev node-d3 systemtap-sdt-dev ;;
    unit) echo libcriterion-dev liburing-dev ;;
    # zstd and xz-utils unpack the kernels; ipxe and slirp are not needed.
    vm) echo qemu-system-x86 busybox-static cpio xz-utils zstd ;;
    kernel) echo gcc make flex bison bc libelf-dev xz-utils ;; # the VM's own
    # dpdk-dev has dpdk-testpmd and its drivers, qemu-utils has qemu-io with nvme://.
    demo) echo dpdk-dev qemu-utils tcpdump python3 ;;
    programs) echo libucx0 python3 git gcc g++ sqlite3 perl nodejs bash tar redis-server redis-tools strace gdb valgrind heaptrack zsh fish groff-base ;;
    bench) echo libdpdk-dev libucx-dev libfabric-dev libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4 g++ python3 redis-server redis-tools ;;
    lint) echo clang libclang-rt-14-dev clang-format clang-tidy cppcheck shellcheck ;;
    package) echo debhelper fakeroot lintian debootstrap ;; # make deb, and its test
    tracing) echo bpftrace ;; # the probes, in check-all
    browser) echo chromium chromium-driver python3 ;; # the report's page, in check-all
    exports) echo golang-go prometheus python3-jsonschema ;; # the tools that exports are for, in check-all
    zoo) echo dpdk dpdk-dev openvswitch-switch-dpdk qemu-utils qemu-system-x86 libnbd-bin fio stress-ng perftest iproute2 ibverbs-providers ;; # tests/vm/zoo.sh
    languages) echo python3 python3-numpy nodejs rustc default-jdk-headless libjna-java ;; # examples/languages, in check-all
    # tests/programs in check-all
    browsers) echo chromium firefox-esr procps ;;
    servers) echo postgresql mariadb-server nginx-light apache2-utils curl ;;
    workloads) echo golang-go ffmpeg python3-numpy stress-ng ;;
    npm) echo npm ;; # where node comes without
    *) return 1 ;;
    esac
}

group_is_for() {
    case $1 in
    build) echo 'the shim, the command and the examples' ;;
    package) echo 'make deb' ;;
    *) echo "the tests of the group '$1'" ;;
    esac
}

# fail WHAT WHY FIX
fail() {
    printf 'deps.sh: %s\n  why: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

if [ "${1:-}" = --print ]; then
    packages_of "$2"
    exit
fi
checking=
if [ "${1:-}" = --check ]; then
    checking=1
    shift
fi
wanted=()
for group in "$@"; do
    list=$(packages_of "$group") ||
        fail "no group is called '$group'" "the groups are: build unit vm kernel demo programs bench lint browser exports zoo package tracing languages browsers servers workloads npm" "name one of them"
    read -ra more <<<"$list"
    wanted+=("${more[@]}")
done
[ ${#wanted[@]} -gt 0 ] || exit 0

# Elsewhere the compiler says what it lacks.
[ -z "$checking" ] || command -v dpkg-query >/dev/null || exit 0
command -v dpkg-query >/dev/null ||
    fail "can't look for: ${wanted[*]}" "this is not a Debian system (no dpkg-query)" \
        "install the equivalents by hand, and put a dpkg-query that succeeds on PATH, or use Debian 12"

# dpkg-query knows nothing of a package that it never saw: what it does not name as installed is missing.
installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "${wanted[@]}" 2>/dev/null || true)"
missing=()
for package in "${wanted[@]}"; do
    [[ $installed == *" installed:$package "* || " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ -n "$checking" ]; then
    for_groups=''
    [ "$*" = build ] || for_groups=" FOR='$*'"
    fail "missing: ${missing[*]}" "$(group_is_for "$1") need them" "make deps$for_groups"
fi
by_hand="apt-get update && apt-get install --no-install-recommends ${missing[*]}"
[ "${ANYDMA_NO_APT:-0}" != 1 ] || fail "missing: ${missing[*]}" "ANYDMA_NO_APT=1 forbids installing" "$by_hand"
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
    fail "can't install ${missing[*]}" "not root, and there is no sudo" "as root: $by_hand"

echo "deps.sh: installing with apt: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_options=(-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
# An update may fail for one foreign source and still bring all that is needed: only the install decides.
as_root apt-get "${apt_options[@]}" update >>"$log" 2>&1 </dev/null || true
# A package's service must not start here: tests start what they need themselves.
if ! as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get "${apt_options[@]}" \
    install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    fail "apt could not install: ${missing[*]}" "see the lines above" "repair apt, then: $by_hand"
fi
