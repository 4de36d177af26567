# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Sourced by the scripts of this folder that tell several results: `status` is their exit status at the end.
status=0

# result NAME STATUS [WHAT]: of what was said, the end goes to stderr when it failed.
result() {
    if [ "$2" = 0 ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        [ -z "${3:-}" ] || printf '%s\n' "$3" | tail -n 30 >&2
        status=1
    fi
}
