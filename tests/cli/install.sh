#!/bin/bash
# SPDX-License-Identifier: MIT
# make install and uninstall: the links of the library, an anydma.pc that is right whatever was built before, other folders,
# a staged root; a C and a C++ program built out of the tree by pkg-config; nothing is left afterwards.
# @limit 120
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" anydma
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/cli/results.bash
. tests/cli/results.bash
unset MAKEFLAGS MAKELEVEL DESTDIR PREFIX LIBDIR

install_with() {
    said=$(make -s --no-print-directory BUILD="$BUILD" "$@" install 2>&1)
}

install_with PREFIX="$work/p"
result 'make install' $? "$said"
[ "$(readlink "$work/p/lib/libanydma.so")" = libanydma.so.0 ] && [ -f "$work/p/lib/$(readlink "$work/p/lib/libanydma.so.0")" ] &&
    readelf -d "$work/p/lib/libanydma.so" | grep -q 'SONAME.*\[libanydma.so.0\]'
result 'the links lead from the name of linking by the soname to the library' $?
grep -qF -- "-Wl,-rpath,$work/p/lib" <<<"$said"
result 'says how the loader finds it' $? "$said"
for file in bin/anydma libexec/anydma/anydma-report include/anydma.h share/man/man1/anydma.1 share/man/man7/anydma.7 share/man/man3/anydma_iova.3 \
    share/man/man3/anydma_segments.3 share/man/man5/anydma-capture.5 share/bash-completion/completions/anydma \
    share/zsh/site-functions/_anydma share/fish/vendor_completions.d/anydma.fish share/doc/anydma/examples/70-anydma.rules \
    share/doc/anydma/examples/anydma-limits.conf share/doc/anydma/examples/anydma-systemd.conf; do
    [ -s "$work/p/$file" ] || { result "installs $file" 1; }
done
cat >"$work/program.c" <<'END'
#include <anydma.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    char *buffer = (char *)malloc(65536);
    struct anydma_segment segments[16];
    int n = anydma_segments(buffer, 65536, segments, 16);
    printf("%d %d %s\n", anydma_iova(buffer) == (uint64_t)(uintptr_t)buffer, n, anydma_version());
    free(buffer);
    return 0;
}
END
cp "$work/program.c" "$work/program.cc"
export PKG_CONFIG_PATH=$work/p/lib/pkgconfig
version=$(pkg-config --modversion anydma)
for compiler in 'gcc -std=c11' 'g++ -std=c++11'; do
    source=$work/program.${compiler%% *} && cp "$work/program.c" "$source"
    language=$([ "${compiler%% *}" = gcc ] && echo c || echo c++)
    for flags in -O0 -O2; do
        # shellcheck disable=SC2046,SC2086 # lists of flags
        said=$(cd "$work" && $compiler $flags -Wall -Wextra -Werror -x $language program.c -x none -o program $(pkg-config --cflags --libs anydma) 2>&1 &&
            LD_LIBRARY_PATH=$work/p/lib ANYDMA_IOMMU=sim ./program 2>&1 && "$work/p/bin/anydma" run --iommu=sim -- ./program 2>&1)
        [ "$said" = "1 1 $version"$'\n'"1 1 $version" ]
        result "${compiler%% *} $flags: a program out of the tree, linked, and under anydma run" $? "$said"
    done
done
said=$(env -i PATH=/usr/bin:/bin HOME="$work" "$work/p/bin/anydma" run --iommu=sim -o "$work/a.capture" -- ls / 2>&1 >/dev/null &&
    "$work/p/bin/anydma" report --summary "$work/a.capture" 2>&1)
result 'the installed command writes a capture, and reads it' $? "$said"
said=$(make -s --no-print-directory BUILD="$BUILD" PREFIX="$work/p" uninstall 2>&1 && find "$work/p" -not -type d)
! grep "$work/p/" <<<"$said" >&2
result 'make uninstall leaves nothing' $? "$said"

if [ "$(id -u)" = 0 ]; then
    install_with PREFIX=/proc/nowhere
else
    install_with PREFIX=/usr
fi
! [ $? = 0 ] && grep -q "can't be written: sudo make install" <<<"$said"
result 'says what to do where it may not write' $? "$said"

# Other folders, staged: what is written into files is without DESTDIR.
install_with DESTDIR="$work/stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu
result 'a staged install with another LIBDIR' $? "$said"
[ "$(PKG_CONFIG_PATH=$work/stage/usr/lib/x86_64-linux-gnu/pkgconfig pkg-config --variable=libdir anydma)" = /usr/lib/x86_64-linux-gnu ] &&
    [ "$(PKG_CONFIG_PATH=$work/stage/usr/lib/x86_64-linux-gnu/pkgconfig pkg-config --variable=includedir anydma)" = /usr/include ]
result 'has that in anydma.pc' $?
! grep -rl "$work" "$work/stage" >&2
result 'and no word of the stage' $?
[ "$("$work/stage/usr/bin/anydma" run --iommu=sim -- "$work/program")" = "1 1 $version" ]
result 'its command finds the library there' $?
said=$(make -s --no-print-directory BUILD="$BUILD" DESTDIR="$work/stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu uninstall 2>&1)
[ -z "$(find "$work/stage" -not -type d)" ]
result 'make uninstall leaves nothing there' $? "$said"
exit $status
