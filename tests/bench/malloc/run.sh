#!/bin/bash
# SPDX-License-Identifier: MIT
# Called by tests/bench/run.sh: builds the malloc workloads and runs each under one allocator after the other.
# ROUNDS rounds, 5 unless told. With the argument "list", builds them and names them only.
set -euo pipefail
here=tests/bench/malloc bin=$BUILD/tests/bench/malloc
mkdir -p "$bin"

list() {
    local name
    for name in larson xmalloc_test mstress cfrac_like glibc_simple glibc_threads; do
        gcc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -fno-builtin -Iinclude -o "$bin/$name" "$here/$name.c" -pthread
        echo "$name 1 $bin/$name"
    done
    g++ -std=c++17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-mismatched-new-delete -Iinclude -o "$bin/cxx_churn" "$here/cxx_churn.cc"
    echo "cxx_churn 1 $bin/cxx_churn"
    echo "python 0 python3 $here/allocate.py"
    echo "gcc 0 gcc -std=c11 -D_GNU_SOURCE -O1 -Ishim -Iinclude -c -o /dev/null shim/dma/registry.c"
    echo "redis 0 bash $here/redis.sh"
}

list >"$bin/list"
[ "${1:-}" != list ] || exit 0
gcc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Itests/bench -o "$bin/versus" tests/bench/versus.c tests/bench/bench.c -lm
BENCH_SHIM=$SHIM "$bin/versus" "${ROUNDS:-5}" <"$bin/list"
