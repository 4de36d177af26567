#!/bin/bash
# SPDX-License-Identifier: MIT
# libFuzzer for a minute each: the parsers of outside input, the reader of captures, and the random program whose bytes it
# writes.
# @all
# @limit 600
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" examples/where
export ANYDMA_IOMMU=sim ANYDMA_VERBOSE=0 ANYDMA_FOREIGN=refuse
status=0
export ASAN_OPTIONS=detect_leaks=0 # libdw's, of damaged files
make --no-print-directory BUILD="$BUILD" fuzzers >/dev/null || exit 1
for fuzzer in "$BUILD"/tests/fuzz/*_fuzzer; do
    mkdir -p "$fuzzer.corpus"
    case $fuzzer in
    */capture_fuzzer) # begins with a real one; its paths lead nowhere, since libdw would take the time
        "$BUILD/anydma" run --iommu=sim --sample=1K -o "$fuzzer.seed" -- "$BUILD/examples/where" >/dev/null &&
            { printf '\1' && LC_ALL=C sed 's#/\([a-z]\)#%\1#g' "$fuzzer.seed"; } >"$fuzzer.corpus/where" ;;
    esac
    if out=$("$fuzzer" -max_total_time=60 -max_len=4096 -artifact_prefix="$fuzzer." "$fuzzer.corpus" 2>&1); then
        echo "ok - $(basename "$fuzzer")"
    else
        echo "not ok - $(basename "$fuzzer")"
        tail -n 60 <<<"$out" >&2
        status=1
    fi
done
exit $status
