#!/bin/bash
# SPDX-License-Identifier: MIT
# The random program with fixed seeds: through the preloaded doors, and with the shim's modules linked in (ASan, UBSan),
# looked at from inside after each step. "tests/fuzz/seeds.sh forever" (make fuzz) goes on with new seeds and libFuzzer.
# @limit 150
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/fuzz/doors tests/fuzz/insides tests/fuzz/threads_tsan
status=0
export ANYDMA_IOMMU=sim ANYDMA_VERBOSE=0 UBSAN_OPTIONS=print_stacktrace=1

# seeds NAME COMMAND...
seeds() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "ok - $name"
    else
        echo "not ok - $name"
        tail -n 40 <<<"$out" >&2
        status=1
    fi
}
doors() {
    LD_PRELOAD=$BUILD/libanydma.so.0 "$BUILD/tests/fuzz/doors" "$@"
}
once_failed() {
    doors 20005 1 1500 && doors 20049 1 1500
}
with() {
    local variable=$1
    shift
    (export "${variable?}" && "$@")
}

if [ "${1:-}" = forever ]; then
    first=$(date +%s)
    with ANYDMA_FOREIGN=refuse "$BUILD/tests/fuzz/insides" "$first" 0 1500 &
    for fuzzer in "$BUILD"/tests/fuzz/*_fuzzer; do
        (mkdir -p "$fuzzer.corpus" && ANYDMA_FOREIGN=refuse exec "$fuzzer" -artifact_prefix="$fuzzer." "$fuzzer.corpus") &
    done
    doors "$first" 0 3000 &
    trap 'kill $(jobs -p) 2>/dev/null' EXIT
    wait -n # whatever ends first has found something
    exit
fi
seeds 'through the doors' doors 1 24 2000
seeds 'through the doors, granules of 4K, eager' with ANYDMA_MODE=eager with ANYDMA_GRANULE=4K doors 100 6 800
seeds 'through the doors, seeds that once failed' with ANYDMA_MODE=eager with ANYDMA_GRANULE=16K once_failed
seeds 'through the doors, other memory trusted' with ANYDMA_FOREIGN=trust doors 200 8 1500
# A stack that is entered twice and never left is not for ASan: other memory is refused or trusted, not watched.
seeds 'from inside' with ANYDMA_FOREIGN=refuse "$BUILD/tests/fuzz/insides" 300 6 600
seeds 'from inside, granules of 64K, other memory trusted' \
    with ANYDMA_GRANULE=64K with ANYDMA_FOREIGN=trust "$BUILD/tests/fuzz/insides" 400 6 600
for granule in 2M 64K; do
    seeds "from inside, eager, granules $granule" \
        with ANYDMA_GRANULE=$granule with ANYDMA_MODE=eager with ANYDMA_FOREIGN=refuse "$BUILD/tests/fuzz/insides" 500 4 600
done
seeds 'threads, under ThreadSanitizer' "$BUILD/tests/fuzz/threads_tsan"
exit $status
