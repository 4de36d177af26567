#!/bin/bash
# SPDX-License-Identifier: MIT
# gcc and g++ under the shim compile this project's own sources: the object files are identical.
. "$(dirname "$0")/compare.inc"
source=$PWD

c_files() {
    local file
    for file in dma/registry.c memory/arena.c interpose/mmap.c; do
        gcc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -I"$source/shim" -I"$source/include" -DANYDMA_BUILDING_SHIM \
            -DANYDMA_VERSION='"0"' -c "$source/shim/$file" -o "$(basename "$file" .c).o" || return
    done
    gcc -std=c11 -D_GNU_SOURCE -O1 -flto=2 -I"$source/include" "$source/examples/where.c" -o where -pthread
}

cxx_files() {
    g++ -std=c++17 -O2 -I"$source/include" -I"$source/tests/preload" -c "$source/tests/preload/cxx_new.cc" -o cxx_new.o
}

compare c_files c_files
compare cxx_files cxx_files
compare_end
