#!/bin/bash
# SPDX-License-Identifier: MIT
# Packages of another Debian suite than this machine's (sid, trixie), by a private list of sources: nothing is installed and the
# machine's own apt does not learn of them.
#   tests/vm/archive.sh SUITE names PREFIX          -> the names of its packages that begin so, one a line
#   tests/vm/archive.sh SUITE fetch DIR PACKAGE...  -> their files in DIR, as far as they are there
#   tests/vm/archive.sh SUITE root DIR PACKAGE...   -> unpacked into DIR with all that they depend on: a world of its own
# It asks where this machine gets Debian from. Its lists are kept in $BUILD/vm/archive/SUITE, for a day.
set -Eeuo pipefail
trap 'echo "archive.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -m "${BUILD:-$here/../../build}")
[ $# -ge 3 ] || {
    sed -n '5,7s/^# *//p' "$0" >&2
    exit 2
}
suite=$1 action=$2
shift 2
state=$build/vm/archive/$suite

# fail WHAT WHY FIX
fail() {
    printf 'archive.sh: %s\n  why: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

options=(
    -q -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists"
    -o "Dir::Cache=$state/cache" -o "Dir::State::status=$state/status" -o APT::Sandbox::User=root -o Acquire::Retries=3
    -o Acquire::Languages=none -o Debug::NoLocking=1
)

find_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 == "main" && $4 !~ /-/ && !found {print $1; found = 1}'
}

update_lists() {
    local mirror
    mirror=$(find_mirror)
    [ -n "$mirror" ] || fail "no packages of $suite" "apt knows no mirror of Debian's main archive" \
        "add Debian 12's main source, see that 'apt-get update' works, and try again"
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status" # nothing counts as installed
    echo "deb $mirror $suite main" >"$state/sources.list"
    apt-get "${options[@]}" update >"$state/update.log" 2>&1 </dev/null || {
        cat "$state/update.log" >&2
        fail "no list of the packages of $suite" "apt-get update failed, see above" "see that $mirror is reached"
    }
    touch "$state/updated"
}

mkdir -p "$state"
exec 8>"$state/lock"
flock 8
[ -n "$(find "$state/updated" -mmin -1440 2>/dev/null)" ] || update_lists

# Several packages at once may be refused for one of them.
fetch() {
    local dir package
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    shift
    for package in "$@"; do
        (cd "$dir" && apt-get "${options[@]}" download "$package") >"$state/fetch.log" 2>&1 </dev/null || {
            update_lists
            (cd "$dir" && apt-get "${options[@]}" download "$package") >"$state/fetch.log" 2>&1 </dev/null || {
                cat "$state/fetch.log" >&2
                return 1
            }
        }
    done
}

# Unpacked, not configured: no package's script runs.
make_root() {
    local dir=$1 file
    shift
    mkdir -p "$dir"
    # The merged /usr that base-files of today brings is the links that the others' files are to fall into.
    mkdir -p "$dir"/usr/{bin,sbin,lib,lib64}
    for file in bin sbin lib lib64; do
        [ -e "$dir/$file" ] || ln -s "usr/$file" "$dir/$file"
    done
    apt-get "${options[@]}" -o APT::Install-Recommends=false --download-only -y install "$@" >"$state/root.log" 2>&1 </dev/null || {
        cat "$state/root.log" >&2
        return 1
    }
    for file in "$state"/cache/archives/*.deb; do
        dpkg --fsys-tarfile "$file" | tar -x -C "$dir" --keep-directory-symlink
    done
    rm -f "$state"/cache/archives/*.deb
}

case $action in
names) apt-cache "${options[@]}" pkgnames "$1" | sort -V ;;
fetch) fetch "$@" ;;
root) make_root "$@" ;;
*) fail "archive.sh $action?" "it is not one of its actions" "names, fetch or root" ;;
esac
