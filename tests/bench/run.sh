#!/bin/bash
# SPDX-License-Identifier: MIT
# Called by `make bench [ONLY=name]`: each figure beside its reference, interleaved in one run. A table on the terminal,
# one JSON object a line in $BUILD/bench.jsonl, and the tables of the parts that ran in tests/bench/RESULTS.md. Parts: lookup,
# threads, doors, registration, populate, scale, malloc, start, preload, children, profile.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD SHIM=$BUILD/libanydma.so.0 ANYDMA=$BUILD/anydma BENCH_JSONL
only=${1:-} bin=$BUILD/tests/bench status=0
shim=(env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=sim)

tests/deps.sh build unit demo bench || exit 1
${MAKE:-make} -s all || exit 1
mkdir -p "$bin"
: >"$BUILD/bench.jsonl"
: >"$bin/table"

# program NAME SOURCE...: and the flags of the packages in $packages.
program() {
    local name=$1
    shift
    # shellcheck disable=SC2046,SC2086 # lists of flags and packages
    gcc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Iinclude -Itests/bench -o "$bin/$name" "$@" tests/bench/bench.c \
        ${packages:+$(pkg-config --cflags --libs $packages)} -lm -pthread || exit 1
}
# wanted PART: whether it is to run. Its figures go to a file of their own.
wanted() {
    case $1 in *"$only"*) echo "== $1" >&2 ;; *) return 1 ;; esac
    part=$1 failed='' BENCH_JSONL=$bin/$1.jsonl
    : >"$BENCH_JSONL"
}
# done_with_part: writes it down; what a part that failed has measured is told, and replaces nothing.
done_with_part() {
    cat "$BENCH_JSONL" >>"$BUILD/bench.jsonl"
    if [ -n "$failed" ]; then
        echo "$part failed: tests/bench/RESULTS.md keeps its last rows of it" | tee -a "$bin/table" >&2
        status=1
    else
        python3 tests/bench/results.py "$part" "$BENCH_JSONL" >>"$bin/table" || status=1
    fi
}

if wanted lookup; then
    packages='libdpdk ucx ucx-ucs' program lookup tests/bench/lookup{,_ops,_dpdk,_ucx}.c tests/bench/peers.c
    "${shim[@]}" "$bin/lookup" || failed=1
    "${shim[@]}" ANYDMA_GRANULE=16K "$bin/lookup" dense || failed=1
    # The common case is what is reached without a jump, up to the first return.
    gcc -O2 -Iinclude -c -o "$bin/hot_path.o" tests/bench/hot_path.c && objdump -d "$bin/hot_path.o" --disassemble=hot_path |
        awk '/^ /{n++} /\tret/ {printf "{\"bench\":\"lookup_hot_instructions\",\"value\":%d,\"unit\":\"instructions\",\"ref\":null,\"ref_value\":null,\"ratio\":null,\"goal\":null,\"spread\":0}\n", n; exit}' \
            >>"$BENCH_JSONL"
    done_with_part
fi
if wanted threads; then
    packages='libdpdk ucx ucx-ucs' program threads tests/bench/lookup_{threads,ops,dpdk,ucx}.c tests/bench/peers.c
    "${shim[@]}" "$bin/threads" || failed=1
    done_with_part
fi
if wanted doors; then
    program doors tests/bench/doors.c
    "${shim[@]}" "$bin/doors" anydma 1.1 || failed=1
    if pkg-config --exists ucx; then
        packages=ucx program doors_ucx -Wl,--no-as-needed tests/bench/doors.c tests/bench/doors_ucx.c
        "$bin/doors_ucx" ucx || failed=1
    fi
    done_with_part
fi
if wanted registration; then
    . tests/bench/registration/run.sh || failed=1
    done_with_part
fi
if wanted populate; then
    program populate tests/bench/populate.c
    BENCH_SHIM=$SHIM "$bin/populate" "${ROUNDS:-5}" || failed=1
    done_with_part
fi
if wanted scale; then
    program scale tests/bench/scale/{scale,crowd}.c -Ishim -rdynamic
    "${shim[@]}" ANYDMA_THP=never "$bin/scale" || failed=1
    python3 tests/bench/scale/plot.py "$BENCH_JSONL" "$BUILD/scale.svg" && echo "curves: $BUILD/scale.svg" >&2
    done_with_part
fi
# Whole programs: the packages' own ones, not what wraps them.
if wanted malloc; then
    PATH=/usr/bin:/bin:$PATH bash tests/bench/malloc/run.sh || failed=1
    done_with_part
fi
if wanted start; then
    program start tests/bench/start.c
    PATH=/usr/bin:/bin:$PATH BENCH_SHIM=$SHIM "$bin/start" || failed=1
    done_with_part
fi
if wanted preload; then
    ${MAKE:-make} -s "$BUILD/tests/preload/plugins/unwinds.so" || exit 1
    program preload tests/bench/preload.c
    BENCH_SHIM=$SHIM BENCH_PLUGIN=$BUILD/tests/preload/plugins/unwinds.so "$bin/preload" || failed=1
    done_with_part
fi
if wanted children; then
    program children -Ishim tests/bench/children.c tests/bench/registration/pinner_uring.c -rdynamic -luring
    BENCH_SHIM=$SHIM "$bin/children" "${ROUNDS:-3}" || failed=1
    done_with_part
fi
if wanted profile; then
    bash tests/bench/profile.sh || failed=1
    bash tests/bench/malloc/run.sh list && python3 tests/bench/profile_workloads.py "$bin/malloc/list" || failed=1
    done_with_part
fi

cat "$bin/table"
exit $status
