#!/bin/bash
# SPDX-License-Identifier: MIT
# The main job on real VFIO, in a VM: ordinary malloc'ed buffers through two devices, then an unmodified DPDK program
# before and after. Called by `make demo`, which may install what is missing. Exit status 0 when all of it did what it
# should. Where something can't be installed, what needs it is left out and said (and is a failure under CI=true).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
failed=0

step() {
    printf '\n== %s\n' "$1"
}

tests/deps.sh build || exit 1
${MAKE:-make} -s all || exit 1

step "Without a device: what each kind of allocation maps to (simulated IOMMU)"
"$build/anydma" run --iommu=sim -- "$build/examples/where" || failed=1

in_vm() {
    local aw captures program
    for aw in 48 39; do
        step "malloc'ed buffers through real devices, real VFIO, a $aw-bit IOMMU"
        AW=$aw tests/vm/run.sh "$build/anydma run -- $build/examples/edu_dma \$EDU_BDF &&
            $build/anydma run --stats -- $build/examples/nvme_read \$NVME_BDF" || failed=1
    done

    step "dpdk-testpmd, unmodified: its packets' memory is mapped by nobody; without the shim, and with it"
    captures=$build/demo
    mkdir -p "$captures"
    CAPTURE=$captures/testpmd.capture tests/vm/testpmd.sh || failed=1

    step "A driver written against SPDK's calls (a stand-in), unmodified, with its I/O straight from malloc and mmap"
    ${MAKE:-make} -s "$build/tests/vm/bridges_spdk" || failed=1
    tests/vm/run.sh "set -o pipefail; echo 'without the shim:'; $build/tests/vm/bridges_spdk \$NVME_BDF plainly 2>&1 | uniq -c &&
        echo 'with it:' && $build/anydma run -- $build/tests/vm/bridges_spdk \$NVME_BDF" || failed=1

    step "Who pins what: testpmd's memory, and that of qemu-io, which maps all of it by itself"
    CAPTURE=$captures/qemu-io.capture tests/vm/qemu_io.sh >"$captures/qemu-io.log" || failed=1
    for program in testpmd qemu-io; do
        "$build/anydma" report --top 4 --depth 2 "$captures/$program.capture" && echo || failed=1
        "$build/anydma" report --html "$captures/$program.html" "$captures/$program.capture" || failed=1
    done
    echo "(the same as pages, with a timeline: $captures/*.html)"
}

left_out=
if tests/deps.sh vm demo && tests/vm/kernel.sh 6.12 >/dev/null; then
    in_vm
else
    left_out=', but for all that runs in a VM, which lacks what is named above'
    [ "${CI:-}" != true ] || failed=1
fi

[ $failed -eq 0 ] && printf '\ndemo: passed%s\n' "$left_out" || printf '\ndemo: FAILED%s\n' "$left_out"
exit $failed
