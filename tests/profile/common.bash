# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the scripts here share: a folder of their own, programs built into it, and results that tests/check.sh counts.
set -u
# shellcheck source=tests/setup.bash
. "$(dirname "${BASH_SOURCE[0]}")/../setup.bash" examples/wasteful
failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# result NAME STATUS
result() {
    if [ "$2" = 0 ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        failures=1
    fi
}
# expect NAME COMMAND...: succeeds
expect() {
    local name=$1
    shift
    "$@" >"$work/out" 2>&1
    result "$name" $?
    [ "$failures" = 0 ] || sed 's/^/    /' "$work/out" | tail -n 20
}
# status_is N COMMAND...
status_is() {
    local wanted=$1 status
    shift
    "$@"
    status=$?
    [ "$status" = "$wanted" ] || { echo "status $status, not $wanted: $*" && return 1; }
}
# build NAME [FLAGS]: tests/profile/NAME.c
build() {
    local name=$1
    shift
    ${CC:-gcc} -std=c11 -D_GNU_SOURCE -O1 -g -fno-optimize-sibling-calls -fno-builtin-malloc -Iinclude \
        -o "$work/$name" "tests/profile/$name.c" -pthread "$@" || exit 1
}
# capture FILE [run options] -- program...
capture() {
    local file=$1
    shift
    "$ANYDMA" run --iommu=sim -o "$file" "$@"
}
