#!/bin/bash
# SPDX-License-Identifier: MIT
# Called by `make bench [ONLY=name]`: each figure beside its reference, interleaved in one run. A table on the terminal and
# one JSON object a line in $BUILD/bench.jsonl. Parts: lookup, threads, doors, registration, scale, malloc, start, preload,
# profile.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD SHIM=$BUILD/libanydma.so.0 ANYDMA=$BUILD/anydma BENCH_JSONL=$BUILD/bench.jsonl
only=${1:-} bin=$BUILD/tests/bench status=0
shim=(env LD_PRELOAD="$SHIM" ANYDMA_IOMMU=sim)

tests/deps.sh build unit demo bench || exit 1
${MAKE:-make} -s all || exit 1
mkdir -p "$bin"
: >"$BENCH_JSONL"

# program NAME SOURCE...: and the flags of the packages in $packages.
program() {
    local name=$1
    shift
    # shellcheck disable=SC2046,SC2086 # lists of flags and packages
    gcc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Iinclude -Itests/bench -o "$bin/$name" "$@" tests/bench/bench.c \
        ${packages:+$(pkg-config --cflags --libs $packages)} -lm -pthread || exit 1
}
wanted() {
    case $1 in *"$only"*) echo "== $1" >&2 ;; *) return 1 ;; esac
}

if wanted lookup; then
    packages='libdpdk ucx ucx-ucs' program lookup tests/bench/lookup{,_ops,_dpdk,_ucx}.c tests/bench/peers.c
    "${shim[@]}" "$bin/lookup" || status=1
    "${shim[@]}" ANYDMA_GRANULE=16K "$bin/lookup" dense || status=1
    # The common case is what is reached without a jump, up to the first return.
    gcc -O2 -Iinclude -c -o "$bin/hot_path.o" tests/bench/hot_path.c && objdump -d "$bin/hot_path.o" --disassemble=hot_path |
        awk '/^ /{n++} /\tret/ {printf "{\"bench\":\"lookup_hot_instructions\",\"value\":%d,\"unit\":\"instructions\",\"ref\":null,\"ref_value\":null,\"ratio\":null,\"goal\":null,\"spread\":0}\n", n; exit}' \
            >>"$BENCH_JSONL"
fi
if wanted threads; then
    packages='libdpdk ucx ucx-ucs' program threads tests/bench/lookup_{threads,ops,dpdk,ucx}.c tests/bench/peers.c
    "${shim[@]}" "$bin/threads" || status=1
fi
if wanted doors; then
    program doors tests/bench/doors.c
    "${shim[@]}" "$bin/doors" anydma 1.1 || status=1
    if pkg-config --exists ucx; then
        packages=ucx program doors_ucx -Wl,--no-as-needed tests/bench/doors.c tests/bench/doors_ucx.c
        "$bin/doors_ucx" ucx || status=1
    fi
fi
wanted registration && { . tests/bench/registration/run.sh || status=1; }
if wanted scale; then
    program scale tests/bench/scale/{scale,crowd}.c -Ishim -rdynamic
    "${shim[@]}" ANYDMA_THP=never "$bin/scale" || status=1
    python3 tests/bench/scale/plot.py "$BENCH_JSONL" "$BUILD/scale.svg" && echo "curves: $BUILD/scale.svg" >&2
fi
# Whole programs: the packages' own ones, not what wraps them.
if wanted malloc; then
    PATH=/usr/bin:/bin:$PATH bash tests/bench/malloc/run.sh || status=1
fi
if wanted start; then
    program start tests/bench/start.c
    PATH=/usr/bin:/bin:$PATH BENCH_SHIM=$SHIM "$bin/start" || status=1
fi
if wanted preload; then
    ${MAKE:-make} -s "$BUILD/tests/preload/plugins/unwinds.so" || exit 1
    program preload tests/bench/preload.c
    BENCH_SHIM=$SHIM BENCH_PLUGIN=$BUILD/tests/preload/plugins/unwinds.so "$bin/preload" || status=1
fi
if wanted profile; then
    bash tests/bench/profile.sh || status=1
    bash tests/bench/malloc/run.sh list && python3 tests/bench/profile_workloads.py "$bin/malloc/list" || status=1
fi

python3 - "$BENCH_JSONL" <<'END'
import json, sys
print("%-34s %12s %-13s %-22s %12s %7s %6s %s" % ("bench", "value", "unit", "beside", "value", "ratio", "goal", "met"))
for line in open(sys.argv[1]):
    f = json.loads(line)
    met = "" if not f["goal"] or f.get("ratio") is None else "yes" if f["ratio"] <= f["goal"] else "NO"
    print("%-34s %12.4g %-13s %-22s %12.4g %7.3g %6s %s" % (f["bench"], f["value"], f["unit"], f["ref"] or "",
          f["ref_value"] or 0, f["ratio"] or 0, "%.2f" % f["goal"] if f["goal"] else "", met))
END
exit $status
