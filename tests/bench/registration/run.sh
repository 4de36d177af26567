# shellcheck shell=bash disable=SC2154 # bin and shim are run.sh's
# SPDX-License-Identifier: MIT
# The part `registration` of tests/bench/run.sh, which sources it: with io_uring as what pins, and with VFIO in the VM,
# where only the ratios count. With huge pages and without.
registration_flags=(-Ishim -Iexamples tests/bench/registration/{registration,pages}.c)
program registration "${registration_flags[@]}" tests/bench/registration/pinner_uring.c -rdynamic -luring
program registration_vfio "${registration_flags[@]}" tests/bench/registration/pinner_vfio.c examples/vfio_device.c
"${shim[@]}" "$bin/registration" uring 1024 "${ROUNDS:-5}" || status=1
"${shim[@]}" ANYDMA_THP=never "$bin/registration" uring_4k 1024 "${ROUNDS:-5}" || status=1

# registration_in_vm LABEL [NAME=VALUE]
registration_in_vm() {
    MEM=4608M TIMEOUT=300 tests/vm/run.sh "env -u BENCH_JSONL ${2:-} LD_PRELOAD=$SHIM \
        $bin/registration_vfio $1 1024 ${VM_ROUNDS:-3} \$EDU_BDF" >"$bin/$1.out" || return 1
    grep '^{' "$bin/$1.out" >>"$BENCH_JSONL"
}
registration_in_vm vfio && registration_in_vm vfio_4k ANYDMA_THP=never
