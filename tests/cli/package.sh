#!/bin/bash
# SPDX-License-Identifier: MIT
# make deb: packages that lintian finds nothing wrong with, tried in a system of their own (debootstrap, kept in build/vm):
# installed, run, also as an ordinary user, a C and a C++ program built by pkg-config, removed. Needs root and a Debian mirror.
# @all
# @limit 900
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" anydma
work=$(mktemp -d)
# shellcheck source=tests/cli/results.bash
. tests/cli/results.bash
root=$work/root
# shellcheck disable=SC2317 # reached by the trap
cleanup() {
    umount "$root/proc" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
tests/deps.sh package || exit 77

unset MAKEFLAGS MAKELEVEL
said=$(make -s --no-print-directory BUILD="$BUILD" deb 2>&1)
result 'make deb' $? "$said"
[ $status = 0 ] || exit 1
[ -z "$(git status --porcelain --ignored=no 2>/dev/null | grep '^?? debian')" ]
result 'leaves the top level as it is' $?
said=$(lintian --fail-on error,warning "$BUILD"/deb/*.deb 2>&1)
result 'lintian finds nothing wrong' $? "$said"
said=$(tests/deps.sh --print build | tr ' ' '\n' | grep -E -- '-dev$|^node-|^pkgconf$' | while read -r package; do
    grep -qE "^Build-Depends:.* $package(,|\$)" shim/package/debian/control || echo "$package is not in Build-Depends"
done)
[ -z "$said" ]
result 'what a build needs is what the package says' $? "$said"

[ "$(id -u)" = 0 ] || { echo 'ok - trying them skipped: not root' && exit $status; }
kept=$BUILD/vm/debootstrap-bookworm.tar
if [ ! -s "$kept" ]; then
    mkdir -p "$BUILD/vm" "$work/fresh"
    said=$(debootstrap --variant=minbase bookworm "$work/fresh" 2>&1) || { echo "no system to try them in: ${said##*$'\n'}" && exit 77; }
    tar -C "$work/fresh" -cf "$kept.new" . && mv "$kept.new" "$kept"
    rm -rf "$work/fresh"
fi
mkdir -p "$root" && tar -C "$root" -xf "$kept" && cp /etc/resolv.conf "$root/etc/" && mkdir "$root/debs" && cp "$BUILD"/deb/*.deb "$root/debs" &&
    mount -t proc proc "$root/proc" || exit 77
rm -f "$root"/debs/*dbgsym*
inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
said=$(inside sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends /debs/*.deb' 2>&1)
result 'they install, with what they need' $? "$said"
said=$(inside sh -c 'ldconfig -p | grep -q "libanydma.so.0 "' 2>&1)
result 'the loader knows the library' $? "$said"
for user in root nobody; do
    said=$(inside setpriv --reuid $user --clear-groups sh -c 'cd /tmp && anydma run --iommu=sim --stats -o /tmp/$$.capture -- ls -d / && anydma report /tmp/$$.capture' 2>&1)
    [[ $said == *'anydma: summary'* && $said == *'anydma report: ls'* && $said != *"can't be opened"* ]]
    result "anydma run and report, as $user" $? "$said"
done
said=$(inside anydma doctor)
[ $? -le 1 ] && [[ $said == *'memlock'* ]]
result 'anydma doctor' $? "$said"
said=$(inside sh -c 'apt-get -q install -y --no-install-recommends gcc g++ libc6-dev pkg-config' 2>&1)
result 'compilers' $? "$said"
cat >"$root/tmp/program.c" <<'END'
#include <anydma.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    char *buffer = (char *)malloc(65536);
    printf("%d\n", anydma_iova(buffer) == (uint64_t)(uintptr_t)buffer);
    free(buffer);
    return 0;
}
END
cp "$root/tmp/program.c" "$root/tmp/program.cc"
for compiler in 'gcc program.c' 'g++ program.cc'; do
    said=$(inside sh -c "cd /tmp && $compiler -Wall -Wextra -Werror -o program \$(pkg-config --cflags --libs anydma) && ANYDMA_IOMMU=sim ./program &&
        anydma run --iommu=sim -- ./program" 2>&1)
    [ "$said" = $'1\n1' ]
    result "${compiler% *}: a program by pkg-config, linked, and under anydma run" $? "$said"
done
said=$(inside sh -c 'apt-get -q purge -y anydma libanydma0 libanydma-dev' 2>&1)
result 'they are removed' $? "$said"
said=$(inside sh -c 'ldconfig -p | grep anydma; find / -xdev -name "*anydma*" -not -path "/debs/*" -not -path "/proc/*" -not -path "/var/log/*"')
[ -z "$said" ]
result 'and nothing is left' $? "$said"
exit $status
