#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the Debian packages: deb.sh BUILD VERSION. The sources are copied to BUILD/deb and get shim/package/debian there, so that the
# repository's top level stays as it is; the packages are left in BUILD/deb. Called by `make deb`.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1") version=$2
tree=$build/deb/anydma-$version
rm -rf "$build/deb"
mkdir -p "$tree"
cp -r Makefile README.md CHANGELOG.md LICENSE include shim examples tests "$tree"
cp -r shim/package/debian "$tree/debian"
[ "$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Version)" = "$version" ] || {
    echo "deb.sh: shim/package/debian/changelog is of another version than $version" >&2
    exit 1
}
unset MAKEFLAGS MAKELEVEL MFLAGS
(cd "$tree" && dpkg-buildpackage -us -uc -b "-j$(nproc)") >"$build/deb/log" 2>&1 || {
    tail -n 40 "$build/deb/log" >&2
    exit 1
}
rm -rf "$tree"
ls "$build"/deb/*.deb
