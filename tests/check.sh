#!/bin/bash
# SPDX-License-Identifier: MIT
# Builds and runs every test: tests/check.sh [--all] [--only PATTERN]. One line each, "ok NAME", "skip NAME: why" or
# "FAIL NAME" with its output; the last line is "N passed, N failed" (", N skipped"), the status 0 when none failed.
#
# Tests are found by wildcard: tests/lint.sh, tests/unit/*_test.c, tests/preload/*.{c,cc,sh}, tests/{cli,programs,fuzz,profile}/*.sh, and what
# the lines "@vm command" of tests/vm/*.{c,sh} and examples/*.c name, where tests/vm/matrix has them: one boot of the VM for each
# of its rows runs them all.
# Lines that begin with @ in a test's header say how it is run:
#   @env NAME=VALUE ...   (preload) instead of ANYDMA_IOMMU=sim
#   @limit SECONDS        instead of 60 (programs: 120)
#   @all                  only in --all
#   @vm [BACKEND/BITS/KERNEL,...:] command    in the VM, by guest.sh; $EDU_BDF and the like are the guest's
#   @vm-COLUMN ...        the same, in that column of tests/vm/matrix
#   @host command         (tests/vm) here; it boots VMs by itself
# A program of tests/vm without such a line that says "BDF-of-edu" (or nvme, e1000e) runs as `anydma run -- NAME $EDU_BDF`.
# Installs what the tests need (tests/deps.sh); where that can't be done, the parts that need it are skipped and say why (under
# CI=true they fail).
# A test may report several results by lines "ok - NAME", "not ok - NAME", "ok - NAME # SKIP why" on its stdout. A status of 77
# skips it. The programs of tests/preload end with "1..N", so many results: one that ends early is not believed. Under CI=true those
# that need io_uring may not be skipped for the want of it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD SHIM=$BUILD/libanydma.so.0 ANYDMA=$BUILD/anydma LC_ALL=C.UTF-8
export TESTS_ARE_BUILT=1 # for tests/setup.bash; no ANYDMA_ variable: the shim would warn of it
unset LD_PRELOAD

all='' only='*'
while [ $# -gt 0 ]; do
    case $1 in
    --all) all=1 ;;
    --only) only="*${2:?--only needs a pattern}*" && shift ;;
    *) echo "usage: tests/check.sh [--all] [--only PATTERN]" >&2 && exit 2 ;;
    esac
    shift
done
export CHECK_ALL=$all # for what is longer then

work=$(mktemp -d)
declare -A pid_of
# shellcheck disable=SC2317 # reached by the trap
cleanup() {
    local pid
    for pid in "${pid_of[@]}"; do
        kill -- "-$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# --- results: each is a line of $results, counted at the end ----------------------------------------------------------
results=$work/results
matrix_results=$work/matrix
: >"$results"
: >"$matrix_results"

passed() {
    echo "ok $1" | tee -a "$results"
}
# failed NAME [FILE with its output]
failed() {
    echo "FAIL $1" | tee -a "$results"
    [ -z "${2:-}" ] || tail -n 200 "$2" | sed 's/^/    /'
}
skipped() {
    echo "skip $1: $2" | tee -a "$results"
}

# --- what is installed ------------------------------------------------------------------------------------------------
declare -A lacking
install_what_is_needed() {
    local group
    tests/deps.sh "$@" && return
    for group in "$@"; do
        tests/deps.sh --check "$group" 2>"$work/deps" || lacking[$group]=$(sed -n '1s/^deps.sh: //p' "$work/deps")
    done
}
# with 'GROUP...' FUNCTION ARGUMENT...: calls it, unless a group is not there.
with() {
    local groups=$1 group
    shift
    for group in $groups; do
        [ -n "${lacking[$group]:-}" ] || continue
        if [ "${CI:-}" = true ]; then
            failed "$*: ${lacking[$group]}"
        else
            skipped "$*" "${lacking[$group]}"
        fi
        return
    done
    "$@"
}

# is_complete OUTPUT NR: whether it says how many results there are, and there are.
is_complete() {
    [ "$(grep -aE '^1\.\.[0-9]+$' "$1" | awk -F'\\.\\.' '{n += $2} END {print n + 0}')" = "$2" ] && [ "$2" -gt 0 ]
}

# run_test NAME SECONDS COMMAND...: its lines "ok - X" and "not ok - X", if it prints any, are results by themselves.
run_test() {
    local name=$1 limit=$2 status out=$work/output line bad=0 any=0
    shift 2
    # shellcheck disable=SC2254 # a pattern
    case $name in $only) ;; *) return ;; esac
    # The outer redirection hides this shell's own remark about a signal.
    { timeout -k 5 "$limit" "$@" >"$out" 2>"$out.err" </dev/null; } 2>/dev/null
    status=$?
    while read -r line; do
        any=$((any + 1))
        case $line in
        'ok - '*' # SKIP '*) skipped "$name: $(sed 's/^ok - //; s/ # SKIP .*//' <<<"$line")" "${line#* # SKIP }" ;;
        'ok - '*) passed "$name: ${line#ok - }" ;;
        *) bad=1 && failed "$name: ${line#not ok - }" ;;
        esac
    done < <(grep -aE '^(not )?ok - ' "$out" | sed -E 's/ +\([0-9.]+s\)$//')
    cat "$out.err" >>"$out"
    case $status in
    0)
        if [ -n "${planned:-}" ] && ! is_complete "$out" $any; then
            failed "$name (it ended before its end: $any results)" "$out"
        elif [ $any = 0 ]; then
            passed "$name"
        fi
        ;;
    77)
        if [ "${CI:-}" = true ] && grep -q 'no io_uring' "$out"; then
            failed "$name: $(tail -n 1 "$out")"
        else
            skipped "$name" "$(tail -n 1 "$out")"
        fi
        ;;
    124 | 137) failed "$name (no end within $limit s)" "$out" ;;
    *)
        if [ $bad = 1 ]; then
            grep -avE '^ok - ' "$out" | tail -n 200 | sed 's/^/    /'
        else
            failed "$name (status $status)" "$out"
        fi
        ;;
    esac
}

# setting FILE WORD DEFAULT: what the line "@WORD ..." in the file's header says.
setting() {
    local value
    value=$(sed -nE "1,20s/^[ *\/#]*@$2 +//p" "$1" | head -n 1)
    echo "${value:-$3}"
}
is_wanted() {
    [ -n "$all" ] || ! head -n 20 "$1" | grep -qE '^[ */#]*@all$'
}

# --- the parts --------------------------------------------------------------------------------------------------------
build_everything() {
    local jobs=() targets=tests
    [ -z "${lacking[unit]:-}" ] || targets=tests-build
    [ -z "$all" ] || targets+=" $BUILD/ranked/libanydma.so.0"
    [[ ${MAKEFLAGS:-} == *-j* ]] || jobs=("-j$(nproc)")
    if make --no-print-directory -k "${jobs[@]}" all $targets BUILD="$BUILD" >"$work/build.log" 2>&1; then
        passed build
    else
        failed build "$work/build.log"
    fi
}

run_units() {
    local source name
    for source in tests/unit/*_test.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        run_test "unit/$name" "$(setting "$source" limit 60)" \
            env LSAN_OPTIONS=suppressions=tests/unit/criterion.supp:print_suppressions=0 "$BUILD/tests/unit/$name" --tap -j2
    done
}

# run_preloads NAME SHIM
run_preloads() {
    local source name env planned=1
    for source in tests/preload/*.c tests/preload/*.cc; do
        [ -e "$source" ] && is_wanted "$source" || continue
        name=$(basename "${source%.*}")
        if [ ! -e "$BUILD/tests/preload/$name" ] && [ -n "${lacking[unit]:-}" ]; then
            skipped "$1/$name" "${lacking[unit]}"
            continue
        fi
        read -ra env <<<"$(setting "$source" env ANYDMA_IOMMU=sim)"
        run_test "$1/$name" "$(setting "$source" limit 60)" env LD_PRELOAD="$2" "${env[@]}" \
            "$BUILD/tests/preload/$name"
    done
}

# run_scripts FOLDER SECONDS
run_scripts() {
    local source
    for source in tests/"$1"/*.sh; do
        [ -e "$source" ] && is_wanted "$source" || continue
        run_test "$1/$(basename "$source" .sh)" "$(setting "$source" limit "$2")" bash "$source"
    done
}

# matrix_rows: the rows of tests/vm/matrix that a boot is for, as BACKEND/BITS/KERNEL.
matrix_rows() {
    awk '$1 ~ /^(type1|iommufd|compat)$/ && $2 != "*" {print $1 "/" $2 "/" $3}' tests/vm/matrix
}

# matrix_columns [ROW]: the columns' names; of those that are wanted in this row.
matrix_columns() {
    awk -v row="${1:-}" -v all="$all" '
        $1 == "backend" {for (i = 4; i <= NF; i++) name[i] = $i; if (row == "") for (i = 4; i <= NF; i++) print name[i]}
        $1 "/" $2 "/" $3 == row {for (i = 4; i <= NF; i++) if ($i == "check" || (all && $i == "all")) print name[i]}' tests/vm/matrix
}

# vm_lines SOURCE: "COLUMN command" for each of its lines "@vm...", or what its description of itself implies.
vm_lines() {
    local device
    if ! sed -nE '1,25s/^[ *\/#]*@vm-([a-z]+) +/\1 /p; 1,25s/^[ *\/#]*@vm +/device /p' "$1" | grep . &&
        ! grep -qE '^[ */#]*@host' "$1"; then
        device=$(sed -nE '1,25s/.*BDF-of-([a-z0-9]+).*/\1/p' "$1" | head -n 1)
        [ -z "$device" ] || echo "device anydma run -- $(basename "$1" .c) \$${device^^}_BDF"
    fi
}

# vm_commands ROW: "COLUMN command" of what runs in one boot.
vm_commands() {
    local source column line columns
    columns=" $(matrix_columns "$1" | tr '\n' ' ')"
    for source in tests/vm/*.c tests/vm/*.sh examples/*.c; do
        is_wanted "$source" || continue
        vm_lines "$source" | while read -r column line; do
            [[ $columns == *" $column "* ]] || continue
            if [[ $line =~ ^([a-z0-9./,-]+/[0-9]+/[a-z0-9./,-]+):\ +(.*)$ ]]; then
                [[ ,${BASH_REMATCH[1]}, == *,$1,* ]] || continue
                line=${BASH_REMATCH[2]}
            fi
            # shellcheck disable=SC2254 # a pattern
            case "vm/$1: $line" in $only) echo "$column $line" ;; esac
        done
    done
}

# One boot; guest.sh's lines become results, and a command of which nothing was heard has failed. Each is noted for the matrix.
boot_and_run() {
    local backend=${1%%/*} aw kernel=${1##*/} out=$work/vm.out column command quoted columns=() commands=() result
    aw=${1#*/} aw=${aw%/*}
    # Those that cause faults come last: the kernel logs ten in five seconds, and a next one's must not go unseen.
    while read -r column command; do
        columns+=("$column")
        commands+=("$command")
    done < <(vm_commands "$1" | awk '$2 ~ /^FAULTS=allow/ {late = late $0 "\n"; next} {print} END {printf "%s", late}')
    [ ${#commands[@]} -gt 0 ] || return
    printf -v quoted ' %q' "${commands[@]}"
    BACKEND=$backend AW=$aw KERNEL=$kernel TIMEOUT=1200 tests/vm/run.sh "export PATH=$BUILD:$BUILD/tests/vm:$BUILD/examples:\$PATH \
        BUILD=$BUILD SHIM=$SHIM EACH=300; tests/vm/guest.sh$quoted" >"$out" 2>"$out.err" </dev/null
    for command in "${commands[@]}"; do
        if grep -qxF "PASS $command" "$out"; then
            result=ok
            passed "vm/$1: $command"
        elif grep -qF "SKIP $command (" "$out"; then
            result=skip
            skipped "vm/$1: $command" "$(grep -F "SKIP $command (" "$out" | sed 's/.*(\(.*\))$/\1/')"
        else
            result=FAIL
            awk -v start="FAIL $command (" 'index($0, start) == 1 {on = 1; print; next} on && /^    / {print; next} {on = 0}' \
                "$out" >"$out.one"
            [ -s "$out.one" ] || cat "$out" "$out.err" >"$out.one"
            failed "vm/$1: $command" "$out.one"
        fi
        echo "$1 ${columns[0]} $result" >>"$matrix_results"
        columns=("${columns[@]:1}")
    done
    sed 's/^/    /' "$out.err" | grep -v 'vm: packets' | head -n 20
}

# The own kernels take some minutes to build, once: beside the boots that need none.
build_kernels() {
    local row
    for row in $(matrix_rows); do
        [ -z "$(vm_commands "$row" | head -n 1)" ] || echo "${row##*/}"
    done | sort -u | grep iommufd | while read -r row; do
        tests/vm/kernel.sh "$row" >"$work/kernel.$row.log" 2>&1 </dev/null
    done
}

# claim WHAT: takes it, unless another lane has.
claimed=$work/claimed
claim() {
    mkdir -p "$claimed" && mkdir "$claimed/${1//\//-}" 2>/dev/null
}

run_boots() {
    local row
    ! claim kernels || build_kernels &
    for row in $(matrix_rows); do
        ! claim "$row" || boot_and_run "$row"
    done
    wait
}

# The matrix as it came out: how many of a cell's tests were right, or why it was not run.
print_matrix() {
    awk -v md="$1" '
        FILENAME == ARGV[1] {n[$1, $2]++; if ($3 == "ok") ok[$1, $2]++; if ($3 == "FAIL") bad[$1, $2]++; next}
        $1 == "backend" || $1 ~ /^(type1|iommufd|compat)$/ {
            line = ""
            for (i = 1; i <= NF; i++) {
                text = $i
                row = $1 "/" $2 "/" $3
                if ($1 == "backend") {column[i] = $i}
                else if (i > 3 && n[row, column[i]]) {
                    good = ok[row, column[i]] + 0
                    text = bad[row, column[i]] ? "FAIL " bad[row, column[i]] "/" n[row, column[i]] : good ? "ok " good : "skip"
                } else if (i > 3 && $i ~ /^(check|all)$/) text = "-"
                if (md) line = line "| " text " "
                else line = line sprintf(i == 1 ? "%-7s " : i == 2 ? "%-4s " : i == 3 ? "%-14s " : "%-10s ", text)
            }
            if (md) line = line "|"
            sub(/ +$/, "", line)
            print line
            if (md && $1 == "backend") {gsub(/[^|]+/, "---", line); print line}
            next
        }
        /^[a-z-]+: / {if (md) {print ""; md = 0}; print}' "$matrix_results" tests/vm/matrix
}

# Scripts that boot VMs by themselves.
run_vm_scripts() {
    local source line
    for source in tests/vm/*.sh; do
        is_wanted "$source" || continue
        while read -r line; do
            run_test "vm: $line" "$(setting "$source" limit 300)" bash -c "$line"
        done < <(sed -nE '1,25s/^[ *\/#]*@host +//p' "$source")
    done
}

# What the scripts no longer need of the machine is a second guest's.
run_scripts_then_boots() {
    with 'vm demo' run_vm_scripts
    [ ! -d "$claimed" ] || run_boots
}

# run_beside LANE FUNCTION ARGUMENT...: in the background; its results are collected at the end.
lanes=()
run_beside() {
    set -m # a process group of its own, to be ended as one
    (
        results=$work/$1/results work=$work/$1
        mkdir -p "$work"
        : >"$results"
        "${@:2}"
    ) >"$work/$1.log" 2>&1 &
    pid_of[$1]=$!
    lanes+=("$1")
    set +m
}

# --- everything -------------------------------------------------------------------------------------------------------
install_what_is_needed build unit vm kernel demo programs ${all:+lint browser exports languages browsers servers workloads}
if [ -n "${lacking[build]:-}" ]; then
    echo "FAIL build: ${lacking[build]}"
    echo '0 passed, 1 failed'
    exit 1
fi
build_everything
# The VMs wait for their devices most of the time: they run beside the rest, and print when it is done.
run_beside boots with 'vm kernel demo' run_boots
run_beside scripts run_scripts_then_boots
with "${all:+lint}" run_test lint 300 tests/lint.sh ${all:+--all}
with unit run_units
run_preloads preload "$SHIM"
[ -z "$all" ] || run_preloads ranked "$BUILD/ranked/libanydma.so.0"
with programs run_scripts preload 60
with programs run_scripts cli 60
with programs run_scripts programs 120
with unit run_scripts fuzz 150
with programs run_scripts profile 120
[ ! -d "$claimed" ] || run_beside boots3 run_boots # a guest waits often, for its devices
for lane in "${lanes[@]}"; do
    wait "${pid_of[$lane]}" 2>/dev/null
    unset "pid_of[$lane]"
    cat "$work/$lane.log"
    cat "$work/$lane/results" >>"$results"
done

if [ -n "$all" ] && [ -s "$matrix_results" ]; then
    echo 'The matrix (a number: so many tests; -: none was chosen):'
    print_matrix ''
    print_matrix 1 >"$BUILD/matrix.md"
fi
count() {
    grep -c "^$1 " "$results"
}
skips=$(count skip)
echo "$(count ok) passed, $(count FAIL) failed$([ "$skips" -eq 0 ] || echo ", $skips skipped")"
[ "$(count FAIL)" -eq 0 ] && [ "$(count ok)" -gt 0 ]
