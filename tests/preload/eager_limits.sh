#!/bin/bash
# SPDX-License-Identifier: MIT
# Where eager mode ends: what a device can't reach is told at once and at exit, with the limit that is in the way; or such
# allocations fail. The limits: ANYDMA_LIMIT, the control group's, memlock, and the table of mappings.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/routes_eager tests/preload/routes_shared
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
program=$BUILD/tests/preload/routes_eager
eager=(env ANYDMA_IOMMU=sim ANYDMA_MODE=eager ANYDMA_THP=never LD_PRELOAD="$SHIM")

# behaviour NAME COMMAND...
behaviour() {
    local name=$1
    shift
    if "$@"; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        printf '%s: ' "$name" >&2
        cat "$work/out" "$work/err" >&2
        status=1
    fi
}
take() { # VARIABLE=VALUE... [-- COMMAND...]
    local settings=()
    while [[ ${1:-} == [A-Z]*=* ]]; do
        settings+=("$1")
        shift
    done
    "$@" "${eager[@]}" "${settings[@]}" "$program" lot >"$work/out" 2>"$work/err"
}
# says FILE PATTERN: one line has it.
says() {
    [ "$(grep -cE "$2" "$work/$1")" -eq 1 ]
}

nothing_is_said_below_the_limit() {
    take ANYDMA_LIMIT=1G && says out '^got=24 reached=24 grown=1 accessible=1$' && [ ! -s "$work/err" ]
}
the_limit_is_told() {
    take ANYDMA_LIMIT=40M && says out '^got=24 reached=[1-9] ' &&
        says err "can't register 0x[0-9a-f]+ .*: eager mode's limit .* are pinned of 40 MiB" &&
        says err 'eager mode left [0-9]+ allocations \([0-9]+ MiB\) unregistered' && [ "$(wc -l <"$work/err")" -eq 2 ]
}
allocations_fail_at_the_limit() {
    take ANYDMA_LIMIT=40M ANYDMA_ON_LIMIT=refuse && says out '^got=([1-9]) reached=\1 grown=0 accessible=0$' &&
        says err "can't register .* fail with ENOMEM" && says err 'eager mode refused [0-9]+ allocations'
}
check_mode_refuses_alike() {
    take ANYDMA_LIMIT=40M ANYDMA_ON_LIMIT=refuse ANYDMA_CHECK=1 &&
        says out '^got=([1-9]) reached=\1 grown=0 accessible=0$'
}
the_systems_heap_is_told() {
    take ANYDMA_LIMIT=1G ANYDMA_HEAP=system && says out '^got=24 reached=0 ' &&
        says err 'registers nothing with ANYDMA_HEAP=system'
}
# Twice, and told once; of private memory nothing is said.
shared_memory_is_told() {
    "${eager[@]}" "$program" shared >"$work/out" 2>"$work/err" && says out '^shared=2$' &&
        says err 'eager mode does not register shared memory \(0x[0-9a-f]+, 2097152 bytes\).*ANYDMA_FOREIGN=trust' &&
        says err 'eager mode left 2 allocations \(4 MiB\) unregistered' && [ "$(wc -l <"$work/err")" -eq 2 ]
}
# share_told WHAT [VARIABLE=VALUE...]: shared memory of that kind; the test's device has some of its own.
share_told() {
    "${eager[@]}" "${@:2}" "$BUILD/tests/preload/routes_shared" "$1" >"$work/out" 2>"$work/err"
}
a_memfd_is_told() {
    share_told memfd && says out '^shared=0$' && says err 'does not register shared memory' && says err 'left 2 allocations'
}
a_shared_file_is_not_told() {
    share_told file && says out '^shared=0$' && says err 'left 1 allocations'
}
trusted_shared_memory_is_not_told() {
    share_told memfd ANYDMA_FOREIGN=trust && says out '^shared=1$' && share_told file ANYDMA_FOREIGN=trust && says out '^shared=1$' &&
        [ ! -s "$work/err" ]
}
trusted_memory_in_the_place_of_private_is_told() {
    share_told place ANYDMA_FOREIGN=trust && says out '^shared=0$' &&
        says err 'does not register shared memory .*in a place that was private memory before'
}
what_the_program_maps_itself_is_not_told() {
    share_told own ANYDMA_MODE=auto ANYDMA_FOREIGN=trust && says out '^shared=0$' && [ ! -s "$work/err" ]
}
what_is_cut_from_a_part_is_told() {
    share_told part ANYDMA_FOREIGN=trust && says out '^shared=1$' &&
        says err "can't register 0x[0-9a-f]+ \(32768 bytes\): it replaces memory .* within a live registration"
}
shared_memory_is_refused_at_the_limit() {
    share_told lots ANYDMA_FOREIGN=trust ANYDMA_LIMIT=20M ANYDMA_ON_LIMIT=refuse && says out '^shared=([1-9]|1[0-9]|20)$' &&
        says err "can't register .* fail with ENOMEM" && says err 'eager mode refused [0-9]+ allocations'
}
# A third of what the program takes is reserve, to a group that has so little.
the_control_groups_limit_is_told() {
    take ANYDMA_ON_LIMIT=warn in_group 200 && says out '^got=24 reached=(1[0-9]|2[0-3]|[5-9]) ' &&
        says err "can't register .* of (6|7|8|9)[0-9] MiB"
}

folder=/sys/fs/cgroup/memory/anydma.$$ limit=memory.limit_in_bytes
[ -d /sys/fs/cgroup/memory ] || { folder=/sys/fs/cgroup/anydma.$$ && limit=memory.max; }
in_group() { # MIB COMMAND...
    (echo $(($1 << 20)) >"$folder/$limit" && echo $BASHPID >"$folder/cgroup.procs" && exec "${@:2}")
}

behaviour nothing_is_said_below_the_limit nothing_is_said_below_the_limit
behaviour the_limit_is_told the_limit_is_told
behaviour allocations_fail_at_the_limit allocations_fail_at_the_limit
behaviour check_mode_refuses_alike check_mode_refuses_alike
behaviour the_systems_heap_is_told the_systems_heap_is_told
behaviour shared_memory_is_told shared_memory_is_told
behaviour a_memfd_is_told a_memfd_is_told
behaviour a_shared_file_is_not_told a_shared_file_is_not_told
behaviour trusted_shared_memory_is_not_told trusted_shared_memory_is_not_told
behaviour trusted_memory_in_the_place_of_private_is_told trusted_memory_in_the_place_of_private_is_told
behaviour what_the_program_maps_itself_is_not_told what_the_program_maps_itself_is_not_told
behaviour what_is_cut_from_a_part_is_told what_is_cut_from_a_part_is_told
behaviour shared_memory_is_refused_at_the_limit shared_memory_is_refused_at_the_limit
if mkdir "$folder" 2>/dev/null && [ -f "$folder/$limit" ]; then
    behaviour the_control_groups_limit_is_told the_control_groups_limit_is_told
else
    echo "the control group's limit: not tried, no group can be made here"
fi
rmdir "$folder" 2>/dev/null
exit $status
