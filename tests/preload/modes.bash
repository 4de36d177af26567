# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Sourced by the scripts that run a program of this folder again in other modes, after ../setup.bash.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# run_in_mode SECONDS PROGRAM NAME VARIABLE=VALUE...: its results, with the mode's name.
run_in_mode() {
    local seconds=$1 program=$2 name=$3
    shift 3
    # -k: a thread that hangs has its signals blocked
    timeout -k 1 "$seconds" env LD_PRELOAD="$SHIM" "$@" "$BUILD/tests/preload/$program" 2>"$work/err" |
        sed "s/^\(not \)\?ok - .*/&, $name/"
    [ "${PIPESTATUS[0]}" -eq 0 ] || { status=1 && tail -n 5 "$work/err" >&2; }
}
