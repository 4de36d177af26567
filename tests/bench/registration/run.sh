# shellcheck shell=bash disable=SC2154,SC2034 # bin, shim and failed are run.sh's
# SPDX-License-Identifier: MIT
# The part `registration` of tests/bench/run.sh, which sources it: with io_uring as what pins, and with VFIO in the VM,
# where only the ratios count. With huge pages and, on the host, without.
registration_flags=(-Ishim -Iexamples tests/bench/registration/{registration,pages}.c)
program registration "${registration_flags[@]}" tests/bench/registration/pinner_uring.c -rdynamic -luring
program registration_vfio "${registration_flags[@]}" tests/bench/registration/pinner_vfio.c examples/{vfio_device,iommufd}.c
program second -Iexamples tests/bench/registration/second.c examples/{vfio_device,iommufd}.c
"${shim[@]}" "$bin/registration" uring 1024 "${ROUNDS:-3}" || failed=1
"${shim[@]}" ANYDMA_THP=never "$bin/registration" uring_4k 1024 "${ROUNDS:-3}" || failed=1

# In one boot by a type1 container and by an iommufd, and what a second address space of that costs.
KERNEL=iommufd BACKEND=iommufd MEM=3584M TIMEOUT=500 tests/vm/run.sh "unset BENCH_JSONL; cd $bin
    for backend in type1 iommufd; do
        BACKEND=\$backend LD_PRELOAD=$SHIM ./registration_vfio \$backend 512 ${VM_ROUNDS:-3} \$EDU_BDF || exit
    done
    LD_PRELOAD=$SHIM ./second 64 ${VM_ROUNDS:-5} \$EDU_BDF \$NVME_CDEV && ./second 64 ${VM_ROUNDS:-5} \$EDU_BDF \$NVME_CDEV" \
    >"$bin/registration_vfio.out" && grep '^{' "$bin/registration_vfio.out" >>"$BENCH_JSONL"
